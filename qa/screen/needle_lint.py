"""What is wrong with needles, and what looks like a slip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qa.screen.needle import Area, ClickPoint, Needle, NeedleError, read_json, read_with_problems

_KNOWN = {*Area.model_fields, "text", "id", "name", "max_offset", "offset", "processing_flags", "match_start", "found"}
"""Keys of areas that mean something here, or that old needles have."""


def lint_needle(path: Path) -> tuple[list[str], list[str]]:
    """What makes a needle unusable, and what is suspicious about one that can be used; each with file and place."""
    needle, problems = read_with_problems(path)
    if needle is None or problems:
        return problems, []
    try:
        _ = needle.rgb
    except NeedleError as error:
        return [f"{path}: {error.message}"], []
    return [], _suspicious(needle)


def _suspicious(needle: Needle) -> list[str]:
    data = read_json(needle.path)
    found = [] if needle.tags else ["it has no tags, so it is found by its name only"]
    for number, raw in enumerate(data["area"]):
        found += [f"area[{number}]: {text}" for text in (*_keys_without_meaning(raw), *_slips(needle, number))]
    return [f"{needle.path}: {text}" for text in found]


def _keys_without_meaning(raw: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(raw.keys() - _KNOWN):
        near = get_close_matches(key, Area.model_fields, n=1)
        yield f"the key {key!r} means nothing{f', is {near[0]!r} meant?' if near else ''}"


def _slips(needle: Needle, number: int) -> Iterator[str]:
    area = needle.areas[number]
    twins = (index for index in range(number) if _look_for_the_same(needle.areas[index], area))
    if (twin := next(twins, None)) is not None:
        yield f"it is the same as area[{twin}]"
    if area.type == "exclude":
        if not any(area.overlaps(other) for other in needle.areas if other.type == "match"):
            yield "it excludes nothing, as no area of type match is there"
        return
    if area.wanted <= 0:
        yield "with match 0 it matches whatever is there"
    point = area.click_point
    if isinstance(point, ClickPoint) and not (0 <= point.xpos < area.width and 0 <= point.ypos < area.height):
        yield f"its click point {point.xpos},{point.ypos} is outside of it: it is counted from the area's upper left corner"
    if area.type == "ocr" and not area.refstr:
        yield "no refstr says which text must be read there, so it is not compared"
    elif area.type == "match" and _is_excluded(needle, area):
        yield "all of it is excluded, so that it matches whatever is there"
    elif area.type == "match" and area.metric != "exact" and _is_flat(needle, area):
        yield "it is of one colour only, so it is seen on any surface of about that; metric exact is stricter"


def _look_for_the_same(one: Area, other: Area) -> bool:
    return (one.box, one.type, one.metric, one.refstr) == (other.box, other.type, other.metric, other.refstr)


def _is_excluded(needle: Needle, area: Area) -> bool:
    import numpy as np  # noqa: PLC0415 -- costs 0.1 s

    counting = np.ones((area.height, area.width), bool)
    for other in needle.areas:
        if other.type == "exclude" and other.overlaps(area):
            x, y = other.xpos - area.xpos, other.ypos - area.ypos
            counting[max(y, 0) : y + other.height, max(x, 0) : x + other.width] = False
    return not counting.any()


def _is_flat(needle: Needle, area: Area) -> bool:
    x, y, width, height = area.box
    part = needle.rgb[y : y + height, x : x + width]
    return bool((part == part[0, 0]).all())
