"""One call reads a frame, whatever it shows, and says which way it went."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from qa.errors import HostError, UsageError
from qa.host.packages import install_hint
from qa.screen.frames import Frame
from qa.screen.text.found import Box, Grid, ScreenText
from qa.screen.text.grid import read_console_grid
from qa.screen.text.tesseract import LANGUAGE, WAYS, find_tesseract, recognise

REMEMBERED = 32
"""Frames whose text is remembered: a blinking cursor shows the same few frames again and again."""


async def read_frame(frame: Frame, *, region: Box | None = None, language: str = LANGUAGE) -> ScreenText:
    """What a frame, or a part of it, says. A frame that was read before is not read again.

    A text console is read exactly, glyph by glyph. Else tesseract recognises what it can, in several ways, and what each of them
    found is put together.

    Args:
        region: the part that counts; all of it where it is None.
        language: what it is written in, for tesseract: ``eng``, ``deu+eng``.

    Raises:
        UsageError: the region is not on the screen.
    """
    return together([text async for text in readings(frame, region=region, language=language)])


def together(texts: list[ScreenText]) -> ScreenText:
    """One text out of several readings of the same: the best, and what others found where it found nothing.

    Where none found anything, one that failed tells more than one that saw nothing.
    """
    best, *others = sorted(texts, key=lambda text: (_worth(text), text.failed), reverse=True)
    lines = list(best.lines)
    for other in others:
        taken = [word.box for line in lines for word in line]
        new = (tuple(word for word in line if not any(map(word.box.overlaps, taken))) for line in other.lines)
        lines += [line for line in new if line]
    if len(lines) == len(best.lines):
        return best
    ordered = sorted(lines, key=lambda line: (line[0].box.y, line[0].box.x))
    return ScreenText(tuple(ordered), "tesseract", "recognised by tesseract")


def _worth(text: ScreenText) -> float:
    """How much was recognised, and how surely."""
    return sum(len(word.text) * word.confidence for line in text.lines for word in line)


async def readings(frame: Frame, *, region: Box | None = None, language: str = LANGUAGE) -> AsyncGenerator[ScreenText]:
    """What a frame says, read in one way after the other. Each suits other pictures; whoever looks for a text stops where it is.

    At least one. Those that were done before cost nothing.

    Raises:
        UsageError: the region is not on the screen.
    """
    area = _on_screen(frame, region)
    memory = _MEMORY.of(frame, area, language)
    done = 0
    while True:
        while done < len(memory.texts):
            yield memory.texts[done]
            done += 1
        if memory.complete:
            return
        async with memory.lock():
            if done == len(memory.texts) and not memory.complete:  # else another reader has meanwhile read further
                await _read_further(memory, frame, area, language)


@dataclass
class _Memory:
    """What is known of one frame's text.

    Attributes:
        texts: what was read so far.
        tried: how many of tesseract's ways are done.
        complete: no other way is left.
    """

    texts: list[ScreenText] = field(default_factory=list)
    tried: int = 0
    complete: bool = False
    _locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = field(default_factory=WeakKeyDictionary)

    def lock(self) -> asyncio.Lock:
        """Held by the one who reads further, while others wait for what he finds. A lock belongs to one event loop."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


class _Memories:
    """The last frames that were read, by what they show: what one says never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, Box, str], _Memory] = OrderedDict()

    def of(self, frame: Frame, area: Box, language: str) -> _Memory:
        """That of a frame, made where it is new."""
        key = (frame.digest, area, language)
        memory = self._kept.setdefault(key, _Memory())
        self._kept.move_to_end(key)
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return memory


_MEMORY = _Memories()


async def _read_further(memory: _Memory, frame: Frame, area: Box, language: str) -> None:
    """Read in the next way that is left."""
    if not memory.texts:
        first = await asyncio.to_thread(_without_tesseract, frame, area)
        if first:
            memory.texts.append(first)
            memory.complete = True
            return
    way = WAYS[memory.tried]
    try:
        lines = await recognise(frame, area, way, language)
    except HostError as error:
        memory.texts.append(ScreenText((), "none", error.message, failed=True, hint=error.hint or ""))
        memory.complete = True
        return
    memory.tried += 1
    memory.complete = memory.tried == len(WAYS)
    if lines is not None:
        memory.texts.append(ScreenText(lines, "tesseract", f"recognised by tesseract in the picture {way}"))
    elif not memory.texts:
        note = f"a picture of {area.width}x{area.height} is too large to recognise text in"
        memory.texts.append(ScreenText((), "none", note, failed=True, hint="read a region of it"))
        memory.complete = True


def _without_tesseract(frame: Frame, area: Box) -> ScreenText | None:
    """What can be said without it: a console's text, that there is nothing, or that it is missing. None where it is needed."""
    part = frame.rgb[area.y : area.y + area.height, area.x : area.x + area.width]
    if (part == part[0, 0]).all():
        red, green, blue = part[0, 0].tolist()
        return ScreenText((), "none", f"nothing is to be seen but the colour #{red:02x}{green:02x}{blue:02x}")
    grid = read_console_grid(frame)
    if grid:
        return _of_grid(grid.inside(area))
    if find_tesseract() is None:
        note = "the screen shows no text console, and tesseract, which reads everything else, is not installed"
        return ScreenText((), "none", note, failed=True, hint=install_hint("tesseract"))
    return None


def _of_grid(grid: Grid) -> ScreenText:
    note = f"read exactly: {grid.columns}x{len(grid.rows)} characters in the font {grid.font}"
    if grid.unknown:
        note += f"; {grid.unknown} of them are not in it"
    return ScreenText(grid.words(), "glyphs", note, grid)


def _on_screen(frame: Frame, region: Box | None) -> Box:
    """The region as far as it is on the screen.

    Raises:
        UsageError: it is not.
    """
    if region is None:
        return Box(0, 0, frame.width, frame.height)
    left, top = max(region.x, 0), max(region.y, 0)
    right, bottom = min(region.x + region.width, frame.width), min(region.y + region.height, frame.height)
    if left >= right or top >= bottom:
        where = f"x {region.x}, y {region.y}, {region.width}x{region.height}"
        raise UsageError(f"the region ({where}) is not on the screen, which is {frame.width}x{frame.height}")
    return Box(left, top, right - left, bottom - top)
