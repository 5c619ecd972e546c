"""Pictures as the comparison of needles sees them: planes of 8 bit, with excluded parts, blurred.

All of it is integer arithmetic: equal pictures give equal numbers on every computer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qa.screen.correlation import Field

Metric = Literal["openqa", "colour", "exact"]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Window = tuple[int, int, int, int]
"""Left, top, right, bottom; the latter two are not inside."""

GREEN = (0, 255, 0)
"""The colour of excluded parts, in both pictures."""
KERNEL = ((1, 2, 1), (2, 4, 2), (1, 2, 1))
"""Sixteenths: the binomial blur."""
_LUMINANCE = np.array([9798, 19235, 3735], np.float32)
WHOLLY_EXCLUDED = 0b111111111
BAND = 64
"""Rows of a picture that are prepared at once."""
TILE = 16
"""Pixels along the side of a tile for ``worst_tile``: two letters of a console."""
HALF = TILE // 2
"""Pixels from one tile to the next."""


def grey_of(rgb: Bytes) -> Bytes:
    """Luminance: (9798 R + 19235 G + 3735 B + 2^14) >> 15.

    All of its sums are whole numbers below 2^23, which single precision holds exactly, in whichever order they are added.
    """
    grey = np.empty(rgb.shape[:2], np.uint8)
    for top in range(0, len(rgb), 16):  # what is worked on stays in the processor's cache
        total = rgb[top : top + 16].astype(np.float32) @ _LUMINANCE
        total += np.float32(1 << 14)
        total *= np.float32(1 / (1 << 15))
        grey[top : top + 16] = total
    return grey


def blurred(plane: Bytes) -> Bytes:
    """The binomial blur, rounded; at borders the picture is reflected without repeating its edge."""
    wide = _reflected(plane).astype(np.uint16)
    rows = wide[:-2] + wide[2:]
    rows += 2 * wide[1:-1]
    both = rows[:, :-2] + rows[:, 2:]
    both += 2 * rows[:, 1:-1]
    both += 8
    both >>= 4
    return both.astype(np.uint8)


def _reflected(plane: NDArray[np.generic]) -> NDArray[np.generic]:
    """One pixel more on each side. A picture that is one pixel wide or high has nothing to reflect but itself."""
    for axis in (0, 1):
        width = ((1, 1), (0, 0)) if axis == 0 else ((0, 0), (1, 1))
        plane = np.pad(plane, width, mode="reflect" if plane.shape[axis] > 1 else "edge")
    return plane


def planes_of(rgb: Bytes, metric: Metric) -> list[Bytes]:
    """What a metric looks at, not blurred yet."""
    return [grey_of(rgb)] if metric == "openqa" else [np.ascontiguousarray(rgb[..., channel]) for channel in range(3)]


def green_of(metric: Metric) -> list[int]:
    """What excluded pixels are in each plane."""
    return [int(grey_of(np.array([[GREEN]], np.uint8))[0, 0])] if metric == "openqa" else list(GREEN)


def neighbours(excluded: Flags) -> NDArray[np.uint16]:
    """For each pixel a number whose bits tell which of the nine pixels around it are excluded, row by row."""
    wide = _reflected(excluded)
    height, width = excluded.shape
    pattern = np.zeros(excluded.shape, np.uint16)
    for bit, (dy, dx, _) in enumerate(_weights()):
        pattern |= wide[dy : dy + height, dx : dx + width].astype(np.uint16) << bit
    return pattern


def _weights() -> Iterator[tuple[int, int, int]]:
    return ((dy, dx, KERNEL[dy][dx]) for dy in range(3) for dx in range(3))


class _Band:
    """A plane of a picture that is made in bands of rows, when they are first needed: most looks are at a part of the screen."""

    def __init__(self, shape: tuple[int, int], make: Callable[[int, int], Bytes]) -> None:
        self._plane = np.empty(shape, np.uint8)
        self._missing = set(range(0, shape[0], BAND))
        self._make = make

    def rows(self, top: int, bottom: int) -> Bytes:
        """The plane, of which the rows from ``top`` up to ``bottom`` are there."""
        first = top // BAND * BAND
        for start in range(first, bottom, BAND):
            if start in self._missing:
                end = min(start + BAND, self._plane.shape[0])
                self._plane[start:end] = self._make(start, end)
                self._missing.discard(start)
        return self._plane


@dataclass(frozen=True)
class Scene:
    """A picture that needles are compared with; what is computed for one of them is kept for the others."""

    rgb: Bytes

    def planes(self, metric: Metric, top: int = 0, bottom: int | None = None) -> list[Bytes]:
        """The planes of ``metric``, blurred where it blurs, of which the rows from ``top`` up to ``bottom`` are there."""
        bottom = len(self.rgb) if bottom is None else bottom
        return [band.rows(top, bottom) for band in self._bands[metric]]

    @cached_property
    def _bands(self) -> dict[Metric, list[_Band]]:
        height, width, _ = self.rgb.shape

        def blurred_rows(metric: Metric, channel: int) -> Callable[[int, int], Bytes]:
            def make(top: int, bottom: int) -> Bytes:
                above, below = max(0, top - 1), min(height, bottom + 1)
                rows = self.rgb[above:below]
                plane = grey_of(rows) if metric == "openqa" else rows[..., channel]
                if height == 1 or (above == top and below == bottom):
                    return blurred(plane)
                return blurred(plane)[top - above : bottom - above]

            return make

        def raw_rows(channel: int) -> Callable[[int, int], Bytes]:
            return lambda top, bottom: self.rgb[top:bottom, :, channel]

        return {
            "openqa": [_Band((height, width), blurred_rows("openqa", 0))],
            "colour": [_Band((height, width), blurred_rows("colour", channel)) for channel in range(3)],
            "exact": [_Band((height, width), raw_rows(channel)) for channel in range(3)],
        }

    def raw(self, metric: Metric) -> list[Bytes]:
        """The planes of ``metric``, not blurred."""
        if metric not in self._raw:
            self._raw[metric] = planes_of(self.rgb, metric)
        return self._raw[metric]

    @cached_property
    def _raw(self) -> dict[Metric, list[Bytes]]:
        return {}

    def fields(self, metric: Metric, window: Window) -> list[Field]:
        """The planes within ``window`` to look for others in; those of the whole picture are kept."""
        left, top, right, bottom = window
        key = (metric, window)
        if key not in self._fields:
            fields = [Field(plane[top:bottom, left:right]) for plane in self.planes(metric, top, bottom)]
            if (right - left, bottom - top) != (self.rgb.shape[1], self.rgb.shape[0]):
                return fields
            self._fields[key] = fields
        return self._fields[key]

    @cached_property
    def _fields(self) -> dict[tuple[Metric, Window], list[Field]]:
        return {}

    @cached_property
    def _with_green(self) -> dict[tuple[Metric, int], list[Bytes]]:
        return {}

    def with_green(self, metric: Metric, pattern: int) -> list[Bytes]:
        """The planes, blurred as if of the nine pixels around each one those of ``pattern`` were excluded."""
        key = (metric, pattern)
        if key not in self._with_green:
            pairs = zip(self.raw(metric), green_of(metric), strict=True)
            self._with_green[key] = [_blurred_with(plane, pattern, green) for plane, green in pairs]
        return self._with_green[key]


def _blurred_with(plane: Bytes, pattern: int, green: int) -> Bytes:
    wide = _reflected(plane).astype(np.uint16)
    height, width = plane.shape
    total = np.full(plane.shape, 8, np.uint16)
    for bit, (dy, dx, weight) in enumerate(_weights()):
        total += weight * (np.uint16(green) if pattern >> bit & 1 else wide[dy : dy + height, dx : dx + width])
    total >>= 4
    return total.astype(np.uint8)


def similarity_of(mean_square: float) -> float:
    """0 to 1, from the mean of the squared differences: 0.96 is 17.2, and 382 or more is 0."""
    return min(1.0, max(0.0, 0.9 + (40 - mean_square) / 380))


def mean_square_of(similarity: float) -> float:
    """The mean of the squared differences that has this similarity, which must be more than 0."""
    return 40 - (similarity - 0.9) * 380
