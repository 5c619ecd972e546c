"""Is the screen still? What moves is told by place; a blinking text cursor and what is to be ignored do not count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from qa.screen.frames import Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILE = 16
"""Pixels of a tile's side: changes are gathered in tiles to say where they are. A cell of a text console is 8x16 to 16x32."""

CURSOR_WIDTH, CURSOR_HEIGHT = 16, 40
"""The largest text cursor: a block in the largest font of a text console is 16x32, a caret on a desktop 2 or 3 by up to 40."""

TOLD = 3
"""Areas that are named when the screen does not become still: what moves more often says more."""


@dataclass(frozen=True)
class Area:
    """A rectangle of the screen, in pixels from the top left."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.x},{self.y}"


@dataclass(frozen=True)
class Restless:
    """An area that changed, and how often it did."""

    area: Area
    times: int

    @property
    def how_often(self) -> str:
        """``changed 14 times``."""
        return "changed once" if self.times == 1 else f"changed {self.times} times"


@dataclass(frozen=True)
class _Cursor:
    """A cell that shows one of two pictures in turn."""

    area: Area
    pictures: frozenset[bytes]

    def is_in(self, frame: Frame) -> bool:
        return _cut(frame, self.area) in self.pictures


@dataclass(frozen=True)
class _Period:
    """A time without change: the frame that it began with, and when that was."""

    frame: Frame
    since: float


class StillWatch:
    """Watches frames of one screen and knows for how long it has been still.

    A screen is still as long as it looks as it did at the beginning of that time: slow changes add up. One cell that
    goes from one picture to a second and back to the first is a text cursor, and is then left out while it shows one of the two.

    Args:
        ignore: areas whose changes do not count.
        changes: how many pixels elsewhere may differ.

    Attributes:
        frame: the last one; None before the first.
        resized: how often the screen changed its size.
    """

    def __init__(self, ignore: Iterable[Area] = (), changes: int = 0) -> None:
        self._ignore = tuple(ignore)
        self._allowed = changes
        self.frame: Frame | None = None
        self.resized = 0
        self._now: _Period | None = None
        self._before: _Period | None = None
        self._cursor: _Cursor | None = None
        self._tiles: _Tiles | None = None

    @property
    def still_for(self) -> float:
        """Seconds from the beginning of stillness to the last frame."""
        return self.frame.taken - self._now.since if self.frame and self._now else 0.0

    @property
    def sees_nothing(self) -> bool:
        """Whether the ignored areas cover the whole screen."""
        return self.frame is not None and bool(self._ignore) and not self._counting(self.frame).any()

    def see(self, frame: Frame) -> None:
        """Take the next frame."""
        last, self.frame = self.frame, frame
        if last is None or self._now is None or (last.width, last.height) != (frame.width, frame.height):
            self.resized += last is not None
            self._now, self._before, self._cursor = _Period(frame, frame.taken), None, None
            self._tiles = _Tiles.of(frame)
        elif frame.digest != last.digest:
            self._compare(self._now, frame)

    def restless(self, within: float) -> list[Restless]:
        """What changed in the last ``within`` seconds, what changed most often first; joined where tiles touch."""
        return self._tiles.restless(self.frame.taken - within) if self._tiles and self.frame else []

    def _compare(self, now: _Period, frame: Frame) -> None:
        changed = self._changed(now.frame, frame)
        if self._cursor and self._cursor.is_in(frame):
            _clear(changed, self._cursor.area)
        if int(changed.sum()) <= self._allowed:
            return
        assert self._tiles
        area = _bounds(changed)
        before, is_cell = self._before, area.width <= CURSOR_WIDTH and area.height <= CURSOR_HEIGHT
        if before and is_cell and int(self._changed(before.frame, frame).sum()) <= self._allowed:
            self._cursor = _Cursor(area, frozenset({_cut(before.frame, area), _cut(now.frame, area)}))
            self._tiles.forget(changed)
            self._now, self._before = before, None
            return
        if self._cursor and not self._cursor.is_in(frame):
            self._cursor = None
        self._tiles.note(changed, frame.taken)
        self._now, self._before = _Period(frame, frame.taken), now if is_cell else None

    def _changed(self, one: Frame, other: Frame) -> NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415 -- costs 0.1 s; only who waits for stillness needs it

        differs = one.rgb != other.rgb
        changed: NDArray[np.bool_] = np.zeros((one.height, one.width), np.bool_)
        for colour in range(3):
            np.logical_or(changed, differs[:, :, colour], out=changed)
        for area in self._ignore:
            _clear(changed, area)
        return changed

    def _counting(self, frame: Frame) -> NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415 -- see above

        counting = np.ones((frame.height, frame.width), np.bool_)
        for area in self._ignore:
            _clear(counting, area)
        return counting


class _Tiles:
    """How often each tile of a screen changed, and when last."""

    def __init__(self, frame: Frame, counts: NDArray[np.int64], last: NDArray[np.float64]) -> None:
        self._frame, self._counts, self._last = frame, counts, last

    @classmethod
    def of(cls, frame: Frame) -> Self:
        import numpy as np  # noqa: PLC0415 -- see above

        shape = (-(-frame.height // TILE), -(-frame.width // TILE))
        return cls(frame, np.zeros(shape, np.int64), np.full(shape, -np.inf))

    def note(self, changed: NDArray[np.bool_], at: float) -> None:
        tiles = self._of(changed)
        self._counts[tiles] += 1
        self._last[tiles] = at

    def forget(self, changed: NDArray[np.bool_]) -> None:
        """Of a change that was noted once, and turned out to be none."""
        self._counts[self._of(changed)] -= 1

    def _of(self, changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415 -- see above

        rows, columns = self._counts.shape
        padded = np.zeros((rows * TILE, columns * TILE), np.bool_)
        padded[: changed.shape[0], : changed.shape[1]] = changed
        tiles: NDArray[np.bool_] = np.logical_or.reduce(padded.reshape(rows, TILE, columns, TILE), axis=(1, 3))
        return tiles

    def restless(self, since: float) -> list[Restless]:
        import numpy as np  # noqa: PLC0415 -- see above

        rows, columns = np.nonzero((self._last >= since) & (self._counts > 0))
        left: set[tuple[int, int]] = set(zip(rows.tolist(), columns.tolist(), strict=True))
        found = []
        while left:
            group, edge = set[tuple[int, int]](), {left.pop()}
            while edge:
                row, column = edge.pop()
                group.add((row, column))
                near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
                left -= near
                edge |= near
            found.append(Restless(self._around(group), max(int(self._counts[tile]) for tile in group)))
        return sorted(found, key=lambda one: (-one.times, one.area.y, one.area.x))

    def _around(self, tiles: Iterable[tuple[int, int]]) -> Area:
        rows, columns = zip(*tiles, strict=True)
        x, y = min(columns) * TILE, min(rows) * TILE
        right, bottom = min((max(columns) + 1) * TILE, self._frame.width), min((max(rows) + 1) * TILE, self._frame.height)
        return Area(x, y, right - x, bottom - y)


def describe_restless(found: list[Restless]) -> str:
    """What moves, in words: ``16x16 at 1184,0 changed 14 times, 640x16 at 0,784 changed 3 times``."""
    parts = [f"{one.area} {one.how_often}" for one in found[:TOLD]]
    return ", ".join(parts) + (f", and {len(found) - TOLD} other areas" if len(found) > TOLD else "")


def _cut(frame: Frame, area: Area) -> bytes:
    return frame.rgb[area.y : area.y + area.height, area.x : area.x + area.width].tobytes()


def _clear(marked: NDArray[np.bool_], area: Area) -> None:
    marked[area.y : area.y + area.height, area.x : area.x + area.width] = False


def _bounds(marked: NDArray[np.bool_]) -> Area:
    import numpy as np  # noqa: PLC0415 -- see above

    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return Area(x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)
