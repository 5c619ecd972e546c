"""Seeing needles on the machine's screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from qa.deadline import Deadline
from qa.errors import CheckFailed, DeadlineExceeded, MachineError, UsageError
from qa.machine.base import WAIT_LIMIT, Duration
from qa.machine.looking import Looking
from qa.screen.frames import Frame
from qa.screen.sight import AreaMatch, Candidate, Sight
from qa.screen.watch import new_frames

if TYPE_CHECKING:
    from qa.screen.library import Library
    from qa.screen.needle import Needle

ASSERT_LIMIT = 30.0
"""Seconds in which a screen that should be there has been drawn; openQA's default."""
SEARCH_RATIO = 0.02
"""openQA's, for each new picture of the screen."""
STILL = 0.5
"""Seconds without a change after which the whole screen is looked through."""
SHARE = 10
"""While a screen never stands still, a look through the whole of it takes at most one part in so many of the time."""
TOLD = 5
"""Needles that are told of when none was seen."""

Words = str | list[str]
WantedNeedle = Annotated[Words | None, Field(description="Name or tag of a needle, or several of which one must be seen.")]
WantedTag = Annotated[Words | None, Field(description="Only tags: all needles that have it, or one of several.")]
SearchRatio = Annotated[
    float,
    Field(ge=0, le=1, description="How far beyond their margins areas are looked for in each new picture; 1 is everywhere."),
]


class NeedleNotSeen(CheckFailed):
    """No needle was on the screen. ``result`` is the last look at it."""

    def __init__(self, message: str, *, evidence: dict[str, str], hint: str, result: Sight) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.result = result


@dataclass
class _Watch:
    """What was seen last."""

    frame: Frame | None = None


class Seeing(Looking):
    """Verbs that look for needles."""

    @cached_property
    def _library(self) -> Library:
        from qa.screen.library import Library  # noqa: PLC0415 -- most runs have no needles

        return Library(self.setup.needles)

    async def assert_screen(
        self,
        needle: WantedNeedle = None,
        tag: WantedTag = None,
        timeout: Duration = ASSERT_LIMIT,
        search_ratio: SearchRatio = SEARCH_RATIO,
    ) -> Sight:
        """The screen must show a needle: a picture of a screen with the areas of it that count, as openQA has them.

        It passes as soon as one of those that are named is seen. The step fails when none is seen in time; the report then
        shows the most alike of them beside the screen. A needle with the property workaround passes, and the report says so.
        """
        return await self._see(needle, tag, timeout, search_ratio)

    async def wait_for_screen(
        self,
        needle: WantedNeedle = None,
        tag: WantedTag = None,
        timeout: Duration = WAIT_LIMIT,
        search_ratio: SearchRatio = SEARCH_RATIO,
    ) -> Sight:
        """Wait until the screen shows a needle. As assert_screen, for what may take longer."""
        return await self._see(needle, tag, timeout, search_ratio)

    async def _find_needle(self, needle: Words, timeout: float) -> Sight:
        """Wait until one of the needles with that name or tag is seen.

        Raises:
            UsageError: there is no such needle, or it cannot be used.
            NeedleNotSeen: none was seen in time; its ``result`` is the last look.
        """
        return await self._see(needle, None, timeout, SEARCH_RATIO)

    async def _see(self, needle: Words | None, tag: Words | None, timeout: float, search_ratio: float) -> Sight:
        names, tags = _words(needle), _words(tag)
        if not names and not tags:
            raise UsageError("no needle was named", hint="give the name or the tag of one")
        self._on()
        needles = await asyncio.to_thread(
            self._library.find, names, tags=tags, tell=lambda text: self.bus.notice(text, "warning")
        )
        wanted = f"needle {' or '.join([*names, *(f'#{one}' for one in tags)])}"
        deadline, watch = self._deadline(timeout), _Watch()
        try:
            return await self._guarded(self._seek(needles, wanted, search_ratio, watch), deadline, wanted)
        except DeadlineExceeded:
            sight = await self._look(await self._newest(watch), needles, wanted, 1.0, only_match=False)
        if sight.match:
            return sight
        raise _not_seen(sight, needles, deadline)

    async def _seek(self, needles: Sequence[Needle], wanted: str, search_ratio: float, watch: _Watch) -> Sight:
        """Look at each new picture near the areas' places, and at the whole screen when it stands still or never does."""
        due = time.monotonic() + STILL
        async for frame, still in _with_rests(new_frames(self.grab)):
            watch.frame = frame
            if not still and (sight := await self._look(frame, needles, wanted, search_ratio)).match:
                return sight
            began = time.monotonic()
            if still or began >= due:
                if (sight := await self._look(frame, needles, wanted, 1.0)).match:
                    return sight
                ended = time.monotonic()
                due = ended + max(STILL, SHARE * (ended - began))
        raise AssertionError("the screen has no end")

    async def _newest(self, watch: _Watch) -> Frame:
        try:
            return await self.grab()
        except MachineError:
            if watch.frame is None:
                raise
            return watch.frame

    async def _look(
        self, frame: Frame, needles: Sequence[Needle], wanted: str, search_ratio: float, *, only_match: bool = True
    ) -> Sight:
        from qa.screen.look import look_for  # noqa: PLC0415 -- loads numpy, which takes 0.1 s

        return Sight(frame, wanted, await look_for(frame, needles, search_ratio, only_match=only_match))


async def _with_rests(frames: AsyncGenerator[Frame]) -> AsyncGenerator[tuple[Frame, bool]]:
    """Each new frame with False; once more with True when no other has come for a moment."""
    upcoming: asyncio.Task[Frame] | None = None
    frame: Frame | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(frames))
            await asyncio.wait({upcoming}, timeout=STILL if frame else None)
            if upcoming.done():
                frame, upcoming = upcoming.result(), None
                yield frame, False
            elif frame:
                yield frame, True
                frame = None
    finally:
        if upcoming:
            upcoming.cancel()
            await asyncio.wait({upcoming})
        await frames.aclose()


def _words(given: Words | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _not_seen(sight: Sight, needles: Sequence[Needle], deadline: Deadline) -> NeedleNotSeen:
    best = sight.candidates[0]
    message = f"{sight.wanted} was not on the screen within {deadline.describe()}"
    if sight.frame.state != "picture":
        message += f"; the screen is {sight.frame.describe()}"
    else:
        several = len(sight.candidates) > 1
        message += f"; nearest: {best.name}, {_worst(best)}" if several else f": {_worst(best)}"
    sizes = {one.name: one.size for one in needles}
    size = (sight.frame.width, sight.frame.height)
    hint = "the report shows both pictures; anima-qa run --accept takes the screen as the new reference"
    if all(one != size for one in sizes.values()):
        width, height = sizes[best.name]
        message += f"; the screen has {size[0]}x{size[1]} pixels, and the needle was made at {width}x{height}"
    return NeedleNotSeen(message, evidence={"needles": _table(sight.candidates)}, hint=hint, result=sight)


def _worst(candidate: Candidate) -> str:
    """The area of a needle that lacks most, in words."""
    missed = [area for area in candidate.areas if not area.matched]
    return _percent(min(missed, key=lambda area: area.similarity - area.wanted))


def _percent(area: AreaMatch) -> str:
    return f"{_rounded_down(area.similarity)} % alike, {100 * area.wanted:g} % wanted"


def _rounded_down(similarity: float) -> str:
    """Percent with one digit; 95.96 is not yet 96."""
    return f"{int(similarity * 1000 + 1e-9) / 10:g}"


def _table(candidates: Sequence[Candidate]) -> str:
    lines = []
    for one in candidates[:TOLD]:
        lines.append(f"{one.name}{' (workaround)' if one.workaround is not None else ''}")
        for area in one.areas:
            mark = "ok" if area.matched else "no"
            read = f", read {area.text!r}" if area.kind == "text" else ""
            lines.append(f"  {mark}  {area.width}x{area.height} at {area.x},{area.y}: {_percent(area)} ({area.metric}){read}")
    if len(candidates) > TOLD:
        lines.append(f"and {len(candidates) - TOLD} more")
    return "\n".join(lines)
