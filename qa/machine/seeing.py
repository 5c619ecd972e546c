"""Seeing needles on the machine's screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from qa.deadline import Deadline
from qa.errors import CheckFailed, DeadlineExceeded, MachineError, UsageError
from qa.machine.base import WAIT_LIMIT, Duration
from qa.machine.looking import Looking
from qa.screen.frames import Frame
from qa.screen.sight import Candidate, Sight
from qa.screen.telling import alike, worst
from qa.screen.watch import new_frames

if TYPE_CHECKING:
    from qa.screen.library import Library
    from qa.screen.needle import Needle, NeedleError

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
LAST_LOOK = 10.0
"""Seconds for the last look, when time is up: enough for some hundred needles, which must not keep a step for minutes."""

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
class _Sought:
    """What a step looks for.

    Attributes:
        wanted: for people.
        names: the words that may be names of needles.
        needles: those of which one must be seen; never none.
    """

    wanted: str
    names: Sequence[str]
    needles: Sequence[Needle]


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
        needles = await asyncio.to_thread(self._library.find, names, tags=tags, tell=self._warn)
        wanted = f"needle {' or '.join([*names, *(f'#{one}' for one in tags)])}"
        sought, deadline, watch = _Sought(wanted, names, needles), self._deadline(timeout), _Watch()
        try:
            return await self._guarded(self._seek(sought, search_ratio, watch), deadline, wanted)
        except DeadlineExceeded:
            sight = await self._last_look(await self._newest(watch), sought)
        if sight.match:
            return sight
        raise _not_seen(sight, sought.needles, deadline)

    def _warn(self, text: str) -> None:
        self.bus.notice(text, "warning")

    def _leave_out(self, sought: _Sought, needle: Needle, error: NeedleError) -> None:
        """Go on without a needle whose picture cannot be read.

        Raises:
            NeedleError: it was named, or was the last one.
        """
        others = [one for one in sought.needles if one is not needle]
        if needle.name in sought.names or not others:
            raise error
        sought.needles = others
        self._library.leave_out(needle, error, self._warn)

    async def _seek(self, sought: _Sought, search_ratio: float, watch: _Watch) -> Sight:
        """Look at each new picture near the areas' places, and at the whole screen when it stands still or never does."""
        due = time.monotonic() + STILL
        async for frame, still in _with_rests(new_frames(self.grab)):
            watch.frame = frame
            if not still and (sight := await self._look(frame, sought, search_ratio)).match:
                return sight
            began = time.monotonic()
            if still or began >= due:
                if (sight := await self._look(frame, sought, 1.0)).match:
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

    async def _look(self, frame: Frame, sought: _Sought, search_ratio: float) -> Sight:
        sight = Sight(frame, sought.wanted, await self._candidates(frame, sought, search_ratio, only_match=True))
        _check_readable(sight, sought.needles)
        return sight

    async def _last_look(self, frame: Frame, sought: _Sought) -> Sight:
        """At the whole screen: whether one matches, and else how much they lack."""
        sight = Sight(frame, sought.wanted)
        for only_match in (True, False):  # of many needles the one that matches is found, before time is spent on the others
            candidates = await self._candidates(frame, sought, 1.0, only_match=only_match, limit=LAST_LOOK)
            sight = replace(sight, candidates=candidates)
            if sight.match:
                break
        _check_readable(sight, sought.needles)
        return sight

    async def _candidates(
        self, frame: Frame, sought: _Sought, search_ratio: float, *, only_match: bool, limit: float | None = None
    ) -> tuple[Candidate, ...]:
        from qa.screen.look import look_for  # noqa: PLC0415 -- loads numpy, which takes 0.1 s

        return await look_for(
            frame,
            sought.needles,
            search_ratio,
            language=self.setup.text_language,
            only_match=only_match,
            limit=limit,
            leave_out=partial(self._leave_out, sought),
        )


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


def _check_readable(sight: Sight, needles: Sequence[Needle]) -> None:
    """Raise why no text could be read where all needles have one: none of them will ever be seen."""
    unread = [one.unread for one in sight.candidates if one.unread]
    if len(unread) == len(needles):
        raise unread[0]


def _not_seen(sight: Sight, needles: Sequence[Needle], deadline: Deadline) -> NeedleNotSeen:
    best = sight.candidates[0]
    message = f"{sight.wanted} was not on the screen within {deadline.describe()}"
    if sight.frame.state != "picture":
        message += f"; the screen is {sight.frame.describe()}"
    else:
        message += f"; nearest: {best.name}, {_worst(best)}" if len(needles) > 1 else f": {_worst(best)}"
    made_at, size = next(one.size for one in needles if one.picture == best.picture), (sight.frame.width, sight.frame.height)
    if made_at != size:
        which = "the needle" if len(needles) == 1 else best.name
        message += f"; the screen has {size[0]}x{size[1]} pixels, and {which} was made at {made_at[0]}x{made_at[1]}"
    hint = "the report shows both pictures; anima-qa run --accept takes the screen as the new reference"
    for one in sight.candidates:
        if one.unread:
            message += f"; the text of {one.name} could not be read: {one.unread.message}"
            hint = one.unread.hint or hint
            break
    if len(sight.candidates) < len(needles):
        message += f"; only {len(sight.candidates)} of {len(needles)} needles could be compared in {LAST_LOOK:g} s"
    return NeedleNotSeen(message, evidence={"needles": _table(sight.candidates)}, hint=hint, result=sight)


def _worst(candidate: Candidate) -> str:
    """The area of a needle that lacks most, in words."""
    area = worst([area for area in candidate.areas if not area.matched])
    return alike(area) if area else "its text was not read"


def _table(candidates: Sequence[Candidate]) -> str:
    lines = []
    for one in candidates[:TOLD]:
        lines.append(f"{one.name}{' (workaround)' if one.workaround is not None else ''}")
        for area in one.areas:
            mark = "  " if area.similarity is None else "ok" if area.matched else "no"
            read = f", read {area.text!r}" if area.kind == "text" and area.similarity is not None else ""
            told = f"{alike(area)} ({area.metric})" if area.counts else "left out"
            lines.append(f"  {mark}  {area.width}x{area.height} at {area.x},{area.y}: {told}{read}")
    if len(candidates) > TOLD:
        lines.append(f"and {len(candidates) - TOLD} more")
    return "\n".join(lines)
