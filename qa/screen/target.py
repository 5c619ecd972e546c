"""The areas of needles, ready to be looked for, and how they look at a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qa.screen.correlation import Indexes, Small
from qa.screen.metrics import GREEN, WHOLLY_EXCLUDED, Bytes, Flags, Scene, mean_square_of, neighbours
from qa.screen.needle import Area, Needle

AS_GOOD = 10
"""openQA's: sums of squared differences that are larger than the smallest by no more count as equal; the nearest place wins."""


@dataclass(frozen=True)
class Target:
    """An area of a needle, ready to be looked for.

    Attributes:
        planes: its pixels as its metric sees them.
        patterns: which of the nine pixels around each one are excluded, as bits; None where none is.
    """

    area: Area
    planes: Sequence[Bytes]
    patterns: NDArray[np.uint16] | None

    @cached_property
    def free(self) -> Flags | None:
        """The pixels that no excluded one reaches; None where that is all."""
        return None if self.patterns is None else np.asarray(self.patterns == 0)

    @cached_property
    def smalls(self) -> list[Small]:
        """The planes, ready to be looked for."""
        return [Small(plane, self.free) for plane in self.planes]

    @cached_property
    def edges(self) -> list[tuple[int, Indexes, Indexes]]:
        """The pixels that some excluded ones reach: pattern, rows, columns."""
        if self.patterns is None:
            return []
        found = [int(pattern) for pattern in np.unique(self.patterns) if pattern not in {0, WHOLLY_EXCLUDED}]
        places = [(pattern, np.nonzero(self.patterns == pattern)) for pattern in found]
        return [(pattern, rows, columns) for pattern, (rows, columns) in places]

    @cached_property
    def counting(self) -> Flags:
        """The pixels that are not excluded."""
        if self.patterns is None:
            return np.ones(self.planes[0].shape, bool)
        return np.asarray(self.patterns != WHOLLY_EXCLUDED)

    @cached_property
    def counted(self) -> int:
        """How many pixels count."""
        return int(self.counting.sum())

    @property
    def as_good(self) -> int:
        """By how much a sum may be larger than the smallest and count as equal."""
        return 0 if self.area.metric == "exact" else AS_GOOD

    @property
    def most(self) -> float:
        """The largest sum of squared differences with which it can match."""
        if self.area.metric == "exact":
            return (1 - self.area.wanted) * self.counted * len(self.planes) * 255**2
        return mean_square_of(self.area.wanted) * self.planes[0].size * len(self.planes)

    def seen(self, scene: Scene, x: int, y: int) -> list[Bytes]:
        """The part of ``scene`` at a place that is compared with ``planes``; excluded pixels are taken from there."""
        _, _, width, height = self.area.box
        parts = [plane[y : y + height, x : x + width] for plane in scene.planes(self.area.metric, y, y + height)]
        if self.patterns is None:
            return parts
        parts = [np.where(self.patterns == WHOLLY_EXCLUDED, own, part) for own, part in zip(self.planes, parts, strict=True)]
        for pattern, rows, columns in self.edges:
            greens = scene.with_green(self.area.metric, pattern)
            for part, green in zip(parts, greens, strict=True):
                part[rows, columns] = green[rows + y, columns + x]
        return parts

    def at(self, scene: Scene, x: int, y: int) -> Place:
        """How it looks at a place."""
        total = np.zeros(self.planes[0].shape, np.int32)
        for part, own in zip(self.seen(scene, x, y), self.planes, strict=True):
            difference = np.subtract(part, own, dtype=np.int32)
            difference *= difference
            total += difference
        return Place(x, y, total)


@dataclass(frozen=True)
class Place:
    """A place in a picture, and the squared difference from a target of each pixel there, added up over the planes."""

    x: int
    y: int
    squares: NDArray[np.int32]

    @cached_property
    def total(self) -> int:
        """The sum of all."""
        return int(self.squares.sum(dtype=np.int64))


def targets_of(needle: Needle) -> dict[int, Target]:
    """Number of the area to its target, for the areas of type match; made once."""
    if not needle.prepared and any(area.type == "match" for area in needle.areas):
        needle.__dict__["prepared"] = _made(needle)  # in one go: a look in another thread finds all of them or none
        needle.__dict__.pop("rgb", None)  # megabytes that nothing needs any more
    return needle.prepared


def _made(needle: Needle) -> dict[int, Target]:
    rgb = needle.rgb
    excluded = np.zeros(rgb.shape[:2], bool)
    for area in needle.areas:
        if area.type == "exclude":
            x, y, across, down = area.box
            excluded[y : y + down, x : x + across] = True
    filled = np.where(excluded[..., None], np.array(GREEN, np.uint8), rgb) if excluded.any() else rgb
    scene, around = Scene(filled), neighbours(excluded)
    matching = ((number, area) for number, area in enumerate(needle.areas) if area.type == "match")
    return {number: _target(area, scene, excluded, around) for number, area in matching}


def _target(area: Area, scene: Scene, excluded: Flags, around: NDArray[np.uint16]) -> Target:
    x, y, width, height = area.box
    part = np.s_[y : y + height, x : x + width]
    patterns = np.where(excluded, np.uint16(WHOLLY_EXCLUDED), np.uint16(0)) if area.metric == "exact" else around
    planes = [plane[part].copy() for plane in scene.planes(area.metric, y, y + height)]
    return Target(area, planes, patterns[part].copy() if patterns[part].any() else None)
