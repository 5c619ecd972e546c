"""Pictures as the comparison of needles sees them: planes of 8 bit, with excluded parts, blurred.

All of it is integer arithmetic: equal pictures give equal numbers on every computer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qa.screen.correlation import Field

Metric = Literal["openqa", "colour", "exact"]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

GREEN = (0, 255, 0)
"""The colour of excluded parts, in both pictures."""
KERNEL = ((1, 2, 1), (2, 4, 2), (1, 2, 1))
"""Sixteenths: the binomial blur."""
WHOLLY_EXCLUDED = 0b111111111
TILE = 16
"""Pixels along the side of a tile for ``worst_tile``: two letters of a console."""


def grey_of(rgb: Bytes) -> Bytes:
    """Luminance: (9798 R + 19235 G + 3735 B + 2^14) >> 15.

    The sum stays below 2^23, which single precision holds exactly.
    """
    total = rgb[..., 0] * np.float32(9798)
    total += rgb[..., 1] * np.float32(19235)
    total += rgb[..., 2] * np.float32(3735)
    total += np.float32(1 << 14)
    total *= np.float32(1 / (1 << 15))
    return total.astype(np.uint8)


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


@dataclass(frozen=True)
class Scene:
    """A picture that needles are compared with; what is computed for one of them is kept for the others."""

    rgb: Bytes

    def planes(self, metric: Metric) -> list[Bytes]:
        """The planes of ``metric``, blurred where it blurs."""
        return {"openqa": self._smooth_grey, "colour": self._smooth_colours, "exact": self._colours}[metric]

    def raw(self, metric: Metric) -> list[Bytes]:
        """The planes of ``metric``, not blurred."""
        return self._grey if metric == "openqa" else self._colours

    @cached_property
    def _grey(self) -> list[Bytes]:
        return planes_of(self.rgb, "openqa")

    @cached_property
    def _smooth_grey(self) -> list[Bytes]:
        return [blurred(plane) for plane in self._grey]

    @cached_property
    def _colours(self) -> list[Bytes]:
        return planes_of(self.rgb, "colour")

    @cached_property
    def _smooth_colours(self) -> list[Bytes]:
        return [blurred(plane) for plane in self._colours]

    @cached_property
    def _whole(self) -> dict[Metric, list[Field]]:
        return {}

    def fields(self, metric: Metric, window: tuple[int, int, int, int]) -> list[Field]:
        """The planes within ``window`` (left, top, right, bottom) to look for others in; for the whole picture they are kept."""
        left, top, right, bottom = window
        if (bottom, right) != self.rgb.shape[:2] or left or top:
            return [Field(plane[top:bottom, left:right]) for plane in self.planes(metric)]
        if metric not in self._whole:
            self._whole[metric] = [Field(plane) for plane in self.planes(metric)]
        return self._whole[metric]

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
