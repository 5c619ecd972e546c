"""Needles: one area looked for in one frame, beside OpenCV doing the same job with the same answers, both in one thread.

OpenCV is no dependency of ours. It is put into a folder of the cache, and is found only by this measurement.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, Subject, take_turns
from qa.machine import Machine
from qa.machine.seeing import NeedleNotSeen
from qa.paths import Paths, data_folder
from qa.screen.look import look_for
from qa.screen.matching import WIDEST_MARGIN, compare_areas, matching_areas
from qa.screen.metrics import Scene
from qa.screen.needle import Description, Needle, read_needle
from qa.screen.picture import read_picture
from qa.screen.target import AS_GOOD

TOP = Path(__file__).resolve().parent.parent
OPENCV = "opencv-python-headless==5.0.0.93"
PICTURES = {"a console": TOP / "screenshots/builtin-welcome.png", "a page": TOP / "docs/images/report.png"}
AREAS = {"a console": (24, 8, 200, 100), "a page": (60, 120, 200, 100)}
"""x, y, width, height."""
NARROW = 0.02


def load_opencv() -> Any:
    """OpenCV in one thread."""
    folder = Paths.from_environment().cache / "benchmarks" / OPENCV
    if not folder.exists():
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, OPENCV], check=True)
    sys.path.append(str(folder))
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    return cv2


class Theirs:
    """The area looked for with OpenCV: grey, blur, ``matchTemplate``, the nearest of the best places."""

    def __init__(self, cv2: Any, picture: Any, box: tuple[int, int, int, int]) -> None:
        self.cv2 = cv2
        self.x, self.y, self.width, self.height = box
        self.template = self.prepared(picture)[self.y : self.y + self.height, self.x : self.x + self.width].copy()

    def prepared(self, rgb: Any) -> Any:
        return self.cv2.GaussianBlur(self.cv2.cvtColor(rgb, self.cv2.COLOR_RGB2GRAY), (3, 3), 0)

    def __call__(self, screen: Any, margin: int) -> tuple[int, int, float]:
        """Where, and how alike."""
        scene = self.prepared(screen)
        left, top = max(0, self.x - margin), max(0, self.y - margin)
        window = scene[top : self.y + self.height + margin, left : self.x + self.width + margin]
        found = self.cv2.matchTemplate(window, self.template, self.cv2.TM_SQDIFF)
        smallest = self.cv2.minMaxLoc(found)[0]
        rows, columns = np.nonzero(found <= smallest + AS_GOOD)
        nearest = int(np.argmin((rows + top - self.y) ** 2 + (columns + left - self.x) ** 2))
        row, column = int(rows[nearest]), int(columns[nearest])
        mean = float(found[row, column]) / self.template.size
        return column + left, row + top, min(1.0, max(0.0, 0.9 + (40 - mean) / 380))


def ours(needle: Needle, screen: Any, ratio: float) -> tuple[int, int, float]:
    """The same with our own means; nothing of the frame is kept from before."""
    area = compare_areas(Scene(screen), needle, ratio)[0]
    assert area.similarity is not None
    return area.x, area.y, area.similarity


async def measure(rounds: int) -> list[Row]:
    cv2 = load_opencv()
    rows: list[Row] = []
    for name, path in PICTURES.items():
        picture, box = read_picture(path), AREAS[name]
        theirs = Theirs(cv2, picture, box)
        needle = _needle(picture, box)
        noise = np.random.default_rng(1).integers(-3, 4, picture.shape)
        screens = {
            "in place": picture,
            "moved by 12 pixels, and a little different": np.clip(np.roll(picture, 12, 1) + noise, 0, 255).astype(np.uint8),
            "far away": np.roll(picture, (230, 310), (0, 1)),
            "not there": picture[::-1, ::-1].copy(),
        }
        for what, screen in screens.items():
            for reach, ratio in (("near its place", NARROW), ("in the whole screen", 1.0)):
                if what == "far away" and ratio < 1:
                    continue
                margin = int(50 + ratio * (WIDEST_MARGIN - 50))
                _same(theirs(screen, margin), ours(needle, screen, ratio))
                subjects: dict[str, Subject] = {
                    "OpenCV": _subject(theirs, screen, margin),
                    "ours": _subject(ours, needle, screen, ratio),
                }
                if what == "not there":
                    subjects["ours, that it is not there"] = _subject(_decide, needle, screen, ratio)
                rows += await take_turns(f"needle on {name}, {what}: {reach}", subjects, rounds)
    return rows


def _needle(picture: Any, box: tuple[int, int, int, int]) -> Needle:
    area = dict(zip(("xpos", "ypos", "width", "height"), box, strict=True))
    description = Description.model_validate({"area": [area], "tags": []})
    needle = Needle("needle", Path("needle.json"), (picture.shape[1], picture.shape[0]), description)
    needle.__dict__["rgb"] = picture  # as if it had been read
    return needle


def _decide(needle: Needle, screen: Any, ratio: float) -> None:
    if matching_areas(Scene(screen), needle, ratio) is not None:
        raise RuntimeError("it is not there")


def _same(one: tuple[int, int, float], other: tuple[int, int, float]) -> None:
    """OpenCV counts in single precision, so places may differ where the best ones differ by less than that can tell."""
    if abs(one[2] - other[2]) > 1e-3 or (other[2] > 0 and one[:2] != other[:2]):
        raise RuntimeError(f"OpenCV and we find different things: {one} and {other}")


def _subject(function: Any, *arguments: Any) -> Subject:
    async def run() -> None:
        function(*arguments)

    return run


async def waiting(running: Machine, rounds: int, limit: float) -> list[Row]:
    """What a wait costs on a live machine: from frame to decision, and of the processor."""
    folder = data_folder("screenshots")
    needles = [read_needle(folder / "builtin-cleared.json")]
    running.setup = replace(running.setup, needles=(folder,))

    async def decide() -> None:
        await look_for(await running.grab(), needles, NARROW, language="eng", only_match=True)

    group = "waiting for a needle"
    rows = await take_turns(group, {"a frame": running.grab, "a frame, and whether it is there": decide}, rounds)
    began, used = time.perf_counter(), time.process_time()
    with suppress(NeedleNotSeen):
        await running.wait_for_screen("builtin-cleared", timeout=limit)
    share = (time.process_time() - used) / (time.perf_counter() - began)
    return [*rows, Row(group, "a processor, while nothing changes", 100 * share, "%")]


if __name__ == "__main__":
    for row in asyncio.run(measure(5)):
        print(f"{row.group:70} {row.subject:30} {row.value:8.2f} {row.unit} {row.ratio or 0:5.2f}")
