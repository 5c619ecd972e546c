"""A look at a frame for needles: their areas, and what can be read where text is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from qa.errors import ToolMissing
from qa.screen.frames import Frame
from qa.screen.matching import candidate_of, compare_areas, matching_areas, ranked, scene_of
from qa.screen.needle import Area, Needle
from qa.screen.sight import AreaMatch, Candidate


async def look_for(
    frame: Frame, needles: Sequence[Needle], search_ratio: float, *, only_match: bool = False
) -> tuple[Candidate, ...]:
    """Compare ``frame`` with each of the needles, the best first; beside the event loop, since it takes milliseconds.

    Args:
        search_ratio: 0 looks within each area's margin; 1 in the whole screen.
        only_match: leave out needles that do not match, which is quicker than to tell how much they lack.

    Raises:
        NeedleError: a needle's picture cannot be read.
        ToolMissing: a needle has a text, and what reads texts is not installed.
    """
    compare = matching_areas if only_match else compare_areas
    found = await asyncio.to_thread(lambda: [compare(scene_of(frame), one, search_ratio) for one in needles])
    candidates = []
    for needle, areas in zip(needles, found, strict=True):
        if areas is not None:
            candidate = candidate_of(needle, areas | await _texts(frame, needle, areas))
            if candidate.matched or not only_match:
                candidates.append(candidate)
    return ranked(candidates)


async def _texts(frame: Frame, needle: Needle, areas: Mapping[int, AreaMatch]) -> dict[int, AreaMatch]:
    """What became of the text areas. Reading is slow, so that is done only where it can still decide."""
    decides = all(one.matched for one in areas.values())
    texts = {number: area for number, area in enumerate(needle.areas) if area.type == "ocr" and area.refstr}
    return {number: await _read(frame, area) if decides else _text_match(area, "", 0.0) for number, area in texts.items()}


async def _read(frame: Frame, area: Area) -> AreaMatch:
    from qa.screen.text import Box, read_frame  # noqa: PLC0415 -- most needles have no text

    x, y, width, height = area.box
    width, height = min(width, frame.width - x), min(height, frame.height - y)
    if width <= 0 or height <= 0:
        return _text_match(area, "", 0.0)
    read = await read_frame(frame, region=Box(x, y, width, height))
    if read.hint:
        raise ToolMissing(read.note, hint=read.hint)
    return _text_match(area, read.text, likeness(area.refstr or "", read.text))


def likeness(wanted: str, read: str) -> float:
    """How alike two texts are, 0 to 1; how they are broken into lines and spaced does not matter."""
    one, other = ("".join(text.split()) for text in (wanted, read))
    return SequenceMatcher(None, one, other, autojunk=False).ratio() if one or other else 1.0


def _text_match(area: Area, text: str, similarity: float) -> AreaMatch:
    return AreaMatch(
        "text", area.xpos, area.ypos, area.width, area.height, area.xpos, area.ypos,
        similarity, area.wanted, similarity >= area.wanted, "text", text,
    )  # fmt: skip
