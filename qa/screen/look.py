"""A look at a frame for needles: their areas, and what can be read where text is asked for."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher

from qa.errors import HostError
from qa.screen.frames import Frame
from qa.screen.matching import candidate_of, compare_areas, matching_areas, ranked, scene_of
from qa.screen.metrics import Scene
from qa.screen.needle import Area, Needle, NeedleError
from qa.screen.sight import AreaMatch, Candidate


async def look_for(
    frame: Frame,
    needles: Sequence[Needle],
    search_ratio: float,
    *,
    language: str,
    only_match: bool = False,
    limit: float | None = None,
    leave_out: Callable[[Needle, NeedleError], object] | None = None,
) -> tuple[Candidate, ...]:
    """Compare ``frame`` with each of the needles, the best first; beside the event loop, since it takes milliseconds.

    Args:
        search_ratio: 0 looks within each area's margin; 1 in the whole screen.
        language: what texts are written in, in tesseract's words.
        only_match: leave out needles that do not match, which is quicker than to tell how much they lack. Those whose texts
            could not be read stay, since they might.
        limit: seconds after which no further needle is compared, and no further text is read; one is always compared.
        leave_out: is told of each needle whose picture cannot be read; without it that is an error.

    Raises:
        NeedleError: a needle's picture cannot be read, or what ``leave_out`` raises.
    """
    end = time.monotonic() + limit if limit is not None else math.inf
    given_up = threading.Event()
    try:
        found = await asyncio.to_thread(
            _compared, scene_of(frame), needles, search_ratio, only_match, lambda: given_up.is_set() or time.monotonic() > end
        )
    finally:
        given_up.set()  # a thread cannot be cancelled
    candidates = []
    for needle, areas in found:
        if isinstance(areas, NeedleError):
            if leave_out is None:
                raise areas
            leave_out(needle, areas)
            continue
        texts, unread = await _texts(frame, needle, areas, end, language)
        candidate = candidate_of(needle, areas | texts, unread)
        if candidate.matched or unread or not only_match:
            candidates.append(candidate)
    return ranked(candidates)


def _compared(
    scene: Scene, needles: Sequence[Needle], search_ratio: float, only_match: bool, is_over: Callable[[], bool]
) -> list[tuple[Needle, dict[int, AreaMatch] | NeedleError]]:
    """What became of the needles' areas; of those that match only, where no more is wanted. Or why one cannot be compared."""
    compare = matching_areas if only_match else compare_areas
    found: list[tuple[Needle, dict[int, AreaMatch] | NeedleError]] = []
    compared = 0
    for needle in needles:
        if compared and is_over():
            break
        try:
            areas = compare(scene, needle, search_ratio)
        except NeedleError as error:
            found.append((needle, error))
            continue
        compared += 1
        if areas is not None:
            found.append((needle, areas))
    return found


async def _texts(
    frame: Frame, needle: Needle, areas: Mapping[int, AreaMatch], end: float, language: str
) -> tuple[dict[int, AreaMatch], HostError | None]:
    """What became of the text areas, and why they could not be read. Reading is slow: it is done only where it can decide."""
    decides = all(one.matched for one in areas.values())
    found, unread = {}, None
    for number, area in enumerate(needle.areas):
        if area.type == "ocr" and area.refstr:
            found[number] = _text_match(area, "", None)
            if decides and not unread:
                try:
                    async with asyncio.timeout(None if end == math.inf else max(end - time.monotonic(), 0)):
                        found[number] = await _read(frame, area, language)
                except TimeoutError:
                    decides = False
                except HostError as error:
                    unread = error
    return found, unread


async def _read(frame: Frame, area: Area, language: str) -> AreaMatch:
    """What is read in an area.

    Raises:
        HostError: what reads texts is not installed, or failed.
    """
    from qa.screen.text import Box, read_frame  # noqa: PLC0415 -- most needles have no text

    x, y, width, height = area.box
    width, height = min(width, frame.width - x), min(height, frame.height - y)
    if width <= 0 or height <= 0:
        return _text_match(area, "", 0.0)
    read = await read_frame(frame, region=Box(x, y, width, height), language=language)
    if read.failed:
        raise HostError(read.note, hint=read.hint or None)
    return _text_match(area, read.text, likeness(area.refstr or "", read.text))


def likeness(wanted: str, read: str) -> float:
    """How alike two texts are, 0 to 1; how they are broken into lines and spaced does not matter."""
    one, other = ("".join(text.split()) for text in (wanted, read))
    return SequenceMatcher(None, one, other, autojunk=False).ratio() if one or other else 1.0


def _text_match(area: Area, text: str, similarity: float | None) -> AreaMatch:
    return AreaMatch(
        "text", area.xpos, area.ypos, area.width, area.height, area.xpos, area.ypos,
        similarity, area.wanted, similarity is not None and similarity >= area.wanted, "text", text,
    )  # fmt: skip
