"""What is wrong with needles, and what looks like a slip."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from qa.screen.needle import Area, Needle, NeedleError, read_json, read_with_problems

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
    found = []
    data = read_json(needle.path)
    if not needle.tags:
        found.append(f"{needle.path}: it has no tags, so it is found by its name only")
    for number, (raw, area) in enumerate(zip(data["area"], needle.areas, strict=True)):
        place = f"{needle.path}: area[{number}]"
        for key in sorted(raw.keys() - _KNOWN):
            near = get_close_matches(key, Area.model_fields, n=1)
            found.append(f"{place}: the key {key!r} means nothing{f', is {near[0]!r} meant?' if near else ''}")
        if area.type == "ocr" and not area.refstr:
            found.append(f"{place}: no refstr says which text must be read there, so it is not compared")
        if area.type == "match" and area.metric != "exact" and _is_flat(needle, area):
            found.append(
                f"{place}: it is of one colour only, so it is seen on any surface of about that; metric exact is stricter"
            )
        if area.type == "exclude" and not any(area.overlaps(other) for other in needle.areas if other.type == "match"):
            found.append(f"{place}: it excludes nothing, as no area of type match is there")
    return found


def _is_flat(needle: Needle, area: Area) -> bool:
    x, y, width, height = area.box
    part = needle.rgb[y : y + height, x : x + width]
    return bool((part == part[0, 0]).all())
