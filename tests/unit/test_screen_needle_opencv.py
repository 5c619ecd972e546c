"""The comparison gives what OpenCV gives, which is what openQA compares with.

The values in ``data/opencv_needles.json`` were made once with opencv-python-headless 5.0.0: excluded areas filled with green in
both pictures, ``cvtColor`` to grey, ``GaussianBlur`` of 3x3, ``matchTemplate`` with TM_SQDIFF over the area and its margin; of
the places within +10 of the smallest sum the nearest, and there ``norm`` with NORM_L2SQR, by the number of pixels. An area that
has excluded ones in it stays in place, since openQA's do not move.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa.screen.matching import compare_areas
from qa.screen.metrics import Scene
from qa.screen.needle import Description, Needle

CASES = json.loads((Path(__file__).parent / "data" / "opencv_needles.json").read_text())


def drawn(seed: int, height: int = 150, width: int = 200) -> Any:
    """A picture by arithmetic alone: stripes of colours with grain."""
    y, x, channel = np.indices((height, width, 3))
    coarse = (x // 7 * 37 + y // 5 * 59 + channel * 83 + seed * 101) % 200
    grain = (x * 31 + y * 17 + x * y * 7 + channel * 13 + seed * 29) % 56
    return (coarse + grain).astype(np.uint8)


def shown(picture: Any, case: dict[str, Any]) -> Any:
    """The screen of a case: the picture, moved, with grain of its own and something else in a part of it."""
    screen = np.roll(picture, tuple(case["moved"]), (0, 1)).astype(int)
    y, x, channel = np.indices(screen.shape)
    grain = (x * x * 5 + y * y * 11 + x * y * 3 + channel) % (2 * case["grain"] + 1) - case["grain"]
    screen = np.clip(screen + grain, 0, 255).astype(np.uint8)
    if "patch" in case:
        left, top, width, height = case["patch"]
        screen[top : top + height, left : left + width] = drawn(99)[:height, :width]
    width, height = case.get("size", (200, 150))
    return screen[:height, :width]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_area_is_found_where_opencv_finds_it_and_is_as_alike(case: dict[str, Any]) -> None:
    picture = drawn(1)
    keys = ("xpos", "ypos", "width", "height")
    areas = [dict(zip(keys, case["area"], strict=True)) | {"margin": case["margin"]}]
    areas += [dict(zip(keys, hole, strict=True)) | {"type": "exclude"} for hole in case["exclude"]]
    needle = Needle("made", Path("made.json"), (200, 150), Description.model_validate({"area": areas}))
    needle.__dict__["rgb"] = picture  # as if it had been read
    screen = shown(drawn(case["other"]) if "other" in case else picture, case)
    seen = compare_areas(Scene(screen), needle, case["ratio"])[0]
    if case["found"] is None:
        assert (seen.matched, seen.similarity) == (False, 0.0)
    else:
        assert (seen.x, seen.y) == (case["found"]["x"], case["found"]["y"])
        assert seen.similarity == pytest.approx(case["found"]["similarity"], abs=1e-9)
