"""Waiting for a screen on which nothing moves any more."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qa.deadline import format_duration
from qa.errors import DeadlineExceeded, UsageError
from qa.machine.base import WAIT_LIMIT, Duration
from qa.machine.looking import Looking
from qa.screen.sight import Mark, Sight
from qa.screen.stillness import TOLD, Area, StillWatch, describe_restless
from qa.screen.watch import SHORTEST_PAUSE

STILL = 2.0
"""Seconds without change after which a screen is still. Carets of desktops blink in 1.2 s and clocks tick in 1 s: what only
pauses between two of their changes must not pass. Longer waits catch no more: what draws nothing for 2 s may do so for 7."""

HINT = "leave out what moves for good with ignore, allow it some pixels with changes, or give it longer with timeout"


class IgnoredArea(BaseModel):
    """An area of the screen whose changes do not count, in pixels from the top left."""

    model_config = ConfigDict(extra="forbid")

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


def _area(value: Any) -> Any:
    """``[x, y, width, height]`` is the short way to write an area."""
    return dict(zip(IgnoredArea.model_fields, value, strict=True)) if isinstance(value, list) and len(value) == 4 else value


_Four = Annotated[list[int], Field(min_length=4, max_length=4)]
Ignored = Annotated[IgnoredArea, BeforeValidator(_area, json_schema_input_type=IgnoredArea | _Four)]


class Stillness(Looking):
    """The verb that waits for stillness."""

    async def wait_for_still_screen(
        self,
        still: Annotated[
            Duration, Field(gt=0, description="For how long nothing may change; as it is, also under emulation.")
        ] = STILL,
        ignore: Annotated[
            list[Ignored], Field(description="Areas whose changes do not count: [x, y, width, height], in pixels.")
        ] = [],  # noqa: B006 -- never changed; the schema shows it
        changes: Annotated[int, Field(ge=0, description="How many pixels may differ from the beginning of that time.")] = 0,
        timeout: Duration = WAIT_LIMIT,
    ) -> Sight:
        """Wait until the screen is still: for some time nothing on it has changed.

        A text cursor that blinks does not count: one small cell that goes from one picture to a second and back. A clock
        does, and so do animations, which ``ignore`` leaves out. When time is up, the message says where it kept changing.
        """
        watch = StillWatch((Area(one.x, one.y, one.width, one.height) for one in ignore), changes)
        wanted = f"a screen that is still for {format_duration(still)}"
        self._on()
        deadline = self._deadline(timeout)
        if still >= deadline.remaining:
            hint = "give it longer with timeout, or ask for less with still"
            raise UsageError(f"no screen is still for {format_duration(still)} within {deadline.describe()}", hint=hint)
        try:
            await self._guarded(self._become_still(watch, still), deadline, wanted, seen=lambda: _moves(watch, still))
        except DeadlineExceeded as error:
            moves = _moves(watch, still)
            failure = DeadlineExceeded(
                f"{error.message}: {moves}" if moves else error.message,
                hint=HINT,
                evidence=error.evidence,
            )
            if watch.frame:
                failure.result = Sight(watch.frame, wanted, marks=_marks(watch, still))  # type: ignore[attr-defined]
            raise failure from None
        assert watch.frame
        seen = f", {watch.frame.note}" if watch.frame.note else ""  # a black screen is still, and seldom what was waited for
        return Sight(watch.frame, f"still for {format_duration(watch.still_for)}{seen}")

    async def _become_still(self, watch: StillWatch, still: float) -> None:
        while True:
            watch.see(await self.grab())
            if watch.sees_nothing:
                raise UsageError(
                    f"{self.name}: the ignored areas cover the whole screen", hint="leave out less than all of it with ignore"
                )
            if watch.still_for >= still:
                return
            await asyncio.sleep(min(SHORTEST_PAUSE, still - watch.still_for))


def _moves(watch: StillWatch, still: float) -> str:
    moves = describe_restless(watch.restless(still))
    if watch.resized and watch.frame:
        times = "once" if watch.resized == 1 else f"{watch.resized} times"
        resized = f"the screen changed its size {times}, and is {watch.frame.width}x{watch.frame.height} now"
        return f"{moves}; {resized}" if moves else resized
    return moves


def _marks(watch: StillWatch, still: float) -> tuple[Mark, ...]:
    found = watch.restless(still)[:TOLD]
    return tuple(Mark(one.how_often, one.area.x, one.area.y, one.area.width, one.area.height) for one in found)
