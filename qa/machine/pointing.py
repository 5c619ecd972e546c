"""Hands on the machine's mouse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from qa.errors import CheckFailed, UsageError
from qa.machine.base import WAIT_LIMIT, Duration
from qa.machine.hands import Hands
from qa.machine.place import (
    AnyPlace,
    At,
    NeedleThere,
    Place,
    PointOfNeedle,
    TextThere,
    at_most_one_place,
    click_point,
    one_place,
)
from qa.machine.reading import Reading
from qa.machine.rules import checked_by
from qa.machine.seeing import Seeing
from qa.screen.keyboard_keys import parse_combination
from qa.screen.layouts import Stroke, load_layout
from qa.screen.mouse import Mouse, MouseButton, Spot, Turn
from qa.screen.sight import Mark, Sight

GESTURE_LIMIT = 30.0
"""Seconds for a gesture; a drag takes 1."""

NOTCH_LIMIT = 0.1
"""Seconds more for each notch of the wheel, which takes 0.03."""

LOOKS = 3
"""Looks at what is pointed at: the screen's size can change behind the first, and the place would be another one then."""

NOTCHES = 3
"""Of the wheel: about ten lines of text."""

MARK = 8
"""Pixels on each side of a place that the report points out."""

Direction = Literal["up", "down", "left", "right"]

ButtonName = Annotated[MouseButton, Field(description="The button.")]
Stay = Annotated[
    bool, Field(description="Leave the pointer there; else it goes into the lower right corner, where it hides nothing.")
]
Holding = Annotated[str | None, Field(description="Keys that are held down meanwhile: ctrl, shift-alt.")]


class Pointing(Seeing, Reading, Hands):
    """Verbs that use the mouse. The guest must drive a USB tablet, as all desktops do."""

    @checked_by(one_place)
    async def click(
        self,
        needle: NeedleThere = None,
        text: TextThere = None,
        at: At = None,
        *,
        point: PointOfNeedle = "",
        button: ButtonName = "left",
        double: Annotated[bool, Field(description="Click twice.")] = False,
        holding: Holding = None,
        stay: Stay = False,
        timeout: Duration = WAIT_LIMIT,
    ) -> Sight:
        """Click on what is on the screen: a needle, a text, or a pixel.

        A needle and a text are waited for. The report shows the screen and where the click went.
        """
        held = self._held(holding)
        place = Place(at=at, needle=needle, text=text, point=point)
        ((spot, sight),) = await self._locate((place, "clicked here"), timeout=timeout)
        await self._gesture(held, lambda mouse: mouse.click(spot, button, times=2 if double else 1, stay=stay))
        return sight

    async def drag(
        self,
        from_: Annotated[
            AnyPlace, Field(description="Where to press: a needle, [x, y], {text: ...} or {needle: ..., point: ...}.")
        ],
        to: Annotated[AnyPlace, Field(description="Where to release, named in the same ways.")],
        *,
        button: ButtonName = "left",
        holding: Holding = None,
        stay: Stay = False,
        timeout: Duration = WAIT_LIMIT,
    ) -> Sight:
        """Press a button of the mouse on one place of the screen, move, and release it on another. Both are looked for first."""
        held = self._held(holding)
        (start, sight), (end, there) = await self._locate((from_, "from here"), (to, "to here"), timeout=timeout)
        await self._gesture(held, lambda mouse: mouse.drag(start, end, button, stay=stay))
        return replace(there, wanted=f"{sight.wanted} dragged to {there.wanted}", marks=(*sight.marks, *there.marks))

    @checked_by(at_most_one_place)
    async def scroll(
        self,
        direction: Annotated[Direction, Field(description="Where to.")] = "down",
        amount: Annotated[int, Field(ge=1, le=1000, description="Notches of the mouse's wheel.")] = NOTCHES,
        *,
        needle: NeedleThere = None,
        text: TextThere = None,
        at: At = None,
        point: PointOfNeedle = "",
        holding: Holding = None,
        stay: Stay = False,
        timeout: Duration = WAIT_LIMIT,
    ) -> Sight:
        """Turn the mouse's wheel over a place on the screen: its middle where none is given.

        The wheel of QEMU's tablet goes up and down only. Left and right are the Shift key with it, which most programs with
        sideways scrolling take for that.
        """
        sideways = direction in ("left", "right")
        held = self._held("-".join(filter(None, ("shift" if sideways else "", holding))))
        turn: Turn = "up" if direction in ("up", "left") else "down"
        given = at is not None or needle is not None or text is not None
        place = Place(at=at, needle=needle, text=text, point=point) if given else None
        ((spot, sight),) = await self._locate((place, f"scrolled {direction} here"), timeout=timeout)
        await self._gesture(held, lambda mouse: mouse.scroll(spot, turn, amount, stay=stay), notches=amount)
        return sight

    @checked_by(one_place)
    async def move_mouse(
        self,
        at: At = None,
        needle: NeedleThere = None,
        text: TextThere = None,
        point: PointOfNeedle = "",
        timeout: Duration = WAIT_LIMIT,
    ) -> Sight:
        """Put the mouse's pointer on a place on the screen, and leave it there."""
        place = Place(at=at, needle=needle, text=text, point=point)
        ((spot, sight),) = await self._locate((place, "moved here"), timeout=timeout)
        await self._gesture((), lambda mouse: mouse.move(spot))
        return sight

    def _held(self, holding: str | None) -> Stroke:
        return parse_combination(holding, load_layout(self.setup.keyboard)) if holding else ()

    async def _gesture(self, held: Stroke, gesture: Callable[[Mouse], Awaitable[None]], *, notches: int = 0) -> None:
        """Make a gesture of the mouse while keys are held down.

        Raises:
            MachineError: the guest or QEMU failed meanwhile.
            DeadlineExceeded: the guest does not look at its pointer.
        """
        power = self._running()

        async def work() -> None:
            async with AsyncExitStack() as stack:
                if held:
                    await stack.enter_async_context(power.keyboard.turn)
                    await stack.enter_async_context(power.keyboard.holding(held))
                await gesture(power.mouse)

        await self._guarded(work(), self._deadline(GESTURE_LIMIT + NOTCH_LIMIT * notches), "the mouse to be used")

    async def _locate(self, *places: tuple[Place | None, str], timeout: float) -> list[tuple[Spot, Sight]]:
        """Where places are, each with its label, as `_look_at` tells it: all of them on a screen of one size, which it still has.

        Raises:
            CheckFailed: it changes its size again and again.
            UsageError, CheckFailed, DeadlineExceeded: see `_look_at`.
        """
        sizes: list[tuple[int, int]] = []
        for _ in range(LOOKS):
            found = [await self._look_at(place, timeout, label) for place, label in places]
            now = await self.grab()
            sizes = [*((spot.width, spot.height) for spot, _ in found), (now.width, now.height)]
            if len(set(sizes)) == 1:
                return found
        told = ", then ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))
        raise CheckFailed(
            f"{self.name}: the screen changed its size while it was pointed at: {told}",
            hint="wait for what should be there once it has its size, or with wait_for_still_screen",
        )

    async def _look_at(self, place: Place | None, timeout: float, label: str) -> tuple[Spot, Sight]:
        """Where ``place`` is on the screen, and the look at it, with a mark there; the middle for None.

        Raises:
            UsageError: it is outside of the screen, or the needle is not there.
            CheckFailed, DeadlineExceeded: it is not on the screen in time; with the last look as ``result``.
        """
        self._running()
        if place is not None and place.needle is not None:
            sight = await self._find_needle(place.needle, timeout)
            x, y = self._point_of(sight, place.point)
            what = f"needle {sight.match.name}" if sight.match else sight.wanted
        elif place is not None and place.text is not None:
            frame, box = await self._find_text(place.text, timeout)
            (x, y), what = box.center, f"text /{place.text}/"
            sight = Sight(frame, what, marks=(Mark(what, box.x, box.y, box.width, box.height),))
        else:
            frame = await self.grab()
            if frame.state in {"off", "uninitialised"}:
                hint = "wait for what should be there"
                raise CheckFailed(f"{self.name}: there is nothing to point at: {frame.note}", hint=hint)
            x, y = place.at if place is not None and place.at is not None else (frame.width // 2, frame.height // 2)
            sight, what = Sight(frame, ""), ""
        spot = Spot(x, y, sight.frame.width, sight.frame.height)
        spot.check()
        mark = Mark(label, max(x - MARK, 0), max(y - MARK, 0), 2 * MARK + 1, 2 * MARK + 1)
        where = f"{what} at {x},{y}" if what else f"{x},{y}"
        return spot, replace(sight, wanted=where, marks=(*sight.marks, mark))

    def _point_of(self, sight: Sight, point: str) -> tuple[int, int]:
        match = sight.match
        assert match is not None  # a look without one is an error
        try:
            return click_point(match, point)
        except KeyError as error:
            wanted = f"no click point {point!r}" if point else "several click points"
            hint = f"name one with point: {error.args[0]}" if error.args[0] else "leave point out, or give it that click point"
            raise UsageError(f"needle {match.name} has {wanted}", hint=hint) from None
