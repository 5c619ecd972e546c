"""Looking at screens for agents: pictures, what changed since the last one, and when a screen has settled."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from qa.deadline import Deadline, format_duration
from qa.machine import Machine
from qa.mcp.call import Looked
from qa.mcp.pictures import Box, View, changed, draw
from qa.operations.vm import Vm
from qa.screen.frames import Frame
from qa.screen.watch import new_frames

SETTLE_S = 0.6
"""Seconds without a change after which a screen has answered to keys: blinking cursors blink slower, and count as no change."""
LONGEST_SETTLING_S = 4.0
"""Seconds after which a screen that goes on changing is shown as it is."""
_LETTER = 16 * 32
"""Pixels of a change that is worth words and no picture."""
_CURSOR = 32 * 40
"""Pixels: a change in so small a box is a cursor that blinks, or a clock."""


@dataclass(frozen=True)
class Glance:
    """A look at a screen, for a client that has seen it before or not."""

    looked: Looked
    png: bytes | None
    words: str


async def glance(vm: Vm, frame: Frame, view: View, *, again: bool = False, since: Frame | None = None) -> Glance:
    """Show ``frame`` to the client: as a picture, or in words where it has seen just this before. Remembers what it saw.

    Args:
        again: the picture in any case.
        since: tell what changed since this frame, instead of since the last picture.
    """
    before = vm.last_frame if isinstance(vm.last_frame, Looked) else None
    same_place = before is not None and before.view.box == view.box and before.view.fits(frame)
    if before is not None and same_place and not again and _shows_no_more(view, before):
        boxes = await asyncio.to_thread(changed, before.frame, frame)
        if sum(width * height for _, _, width, height in boxes) <= _LETTER:
            words = f"the screen is unchanged since the last picture, {format_duration(time.monotonic() - before.at)} ago"
            small = f" but for {_places(boxes, before.view)}, as large as a letter or a cursor" if boxes else ""
            return Glance(before, None, words + small)
    png, drawn = await asyncio.to_thread(draw, frame, view)
    looked = Looked(frame, drawn, view.scale)
    words = describe(frame, drawn)
    if since is not None and drawn.fits(since):
        words = f"{say_changes(await asyncio.to_thread(changed, since, frame), drawn)}; {words}"
    elif before is not None:
        words += f"; {await difference(before, frame, drawn)} since the last picture"
    vm.last_frame = looked
    return Glance(looked, png, words)


def _shows_no_more(view: View, before: Looked) -> bool:
    """Whether a picture of the same would have no more detail than the one before."""
    return view.scale <= before.view.scale or view.scale == before.wished


def describe(frame: Frame, view: View) -> str:
    """What a picture shows, and what its pixels are."""
    width, height = view.size
    words = f"screen {frame.describe()}"
    if not view.is_whole:
        x, y, wide, high = view.box
        words += f", of it the part x {x}, y {y}, {wide}x{high}"
    scaled = f", scaled by {view.scale:.3g}" if view.scale != 1 else ""
    return f"{words}; picture {width}x{height}{scaled}"


async def difference(before: Looked, frame: Frame, view: View) -> str:
    """What changed since the client looked last, in pixels of the picture it gets now."""
    if not before.view.fits(frame):
        return f"changed from {before.view.screen[0]}x{before.view.screen[1]}"
    boxes = await asyncio.to_thread(changed, before.frame, frame)
    return say_changes(boxes, view)


def say_changes(boxes: list[Box], view: View) -> str:
    """Changes in words."""
    if not boxes:
        return "nothing changed"
    seen = [place for box in boxes if (place := view.in_picture(box))]
    outside = len(boxes) - len(seen)
    said = f"changed: {_places(boxes, view)}" if seen else "nothing changed in this part"
    return said + (f"; {outside} more outside of it" if outside else "")


def _places(boxes: list[Box], view: View) -> str:
    seen = [place for box in boxes if (place := view.in_picture(box))]
    return ", ".join(f"[{x}, {y}, {width}, {height}]" for x, y, width, height in seen)


async def settled(machine: Machine, before: Frame, limit_s: float = LONGEST_SETTLING_S) -> tuple[Frame, bool]:
    """The screen once it has answered and stands still, and whether it does: it is awaited at most ``limit_s`` seconds. One that
    does not answer at all is given ``SETTLE_S`` to do it, times the factor for software emulation."""
    quiet = SETTLE_S * min(machine.setup.factor, 2.0)
    deadline = Deadline.after(limit_s)
    last, changed_at = before, time.monotonic()
    frames = new_frames(machine.grab)
    coming = asyncio.ensure_future(anext(frames))
    try:
        while not deadline.expired:
            left = min(deadline.remaining, changed_at + quiet - time.monotonic())
            done, _ = await asyncio.wait({coming}, timeout=max(0.0, left))
            if not done:
                return last, not deadline.expired
            frame = coming.result()
            if _matters(last, frame):
                changed_at = time.monotonic()
            last = frame
            coming = asyncio.ensure_future(anext(frames))
        return last, False
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        await frames.aclose()


def _matters(before: Frame, after: Frame) -> bool:
    if (before.width, before.height) != (after.width, after.height):
        return True
    return any(width * height > _CURSOR for _, _, width, height in changed(before, after))
