"""Looks for the areas of needles in frames: where each is seen best, and how well.

The comparison of the metric ``openqa`` is openQA's, so that needles that were tuned for it mean the same here, with these
differences: excluded parts move with the area that they are in, and a margin or percentage of 0 is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qa.screen.correlation import Field, Integers
from qa.screen.frames import Frame
from qa.screen.metrics import GREEN, TILE, WHOLLY_EXCLUDED, Bytes, Flags, Scene, neighbours, similarity_of
from qa.screen.needle import Area, ClickPoint, Needle
from qa.screen.sight import AreaMatch, Candidate

WIDEST_MARGIN = 1024
"""Pixels around an area's place that a search ratio of 1 looks through: the whole of most screens."""
AS_GOOD = 10
"""Sums of squared differences that are larger than the smallest by no more count as equal; the nearest place wins."""
AT_ONCE = 30_000_000
"""Pixels around excluded parts that are compared one by one; beyond that, transforms are quicker."""


def scene_of(frame: Frame) -> Scene:
    """The frame, ready to be compared with needles; made once."""
    scene = frame.__dict__.get("scene")
    if scene is None:
        scene = frame.__dict__["scene"] = Scene(frame.rgb)
    assert isinstance(scene, Scene)
    return scene


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
    def free(self) -> Flags:
        """The pixels that no excluded one reaches."""
        assert self.patterns is not None
        return np.asarray(self.patterns == 0)

    @cached_property
    def edges(self) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """The pixels that some excluded ones reach: pattern, rows, columns."""
        if self.patterns is None:
            return []
        found = [int(pattern) for pattern in np.unique(self.patterns) if pattern not in {0, WHOLLY_EXCLUDED}]
        places = [(pattern, np.nonzero(self.patterns == pattern)) for pattern in found]
        return [(pattern, rows, columns) for pattern, (rows, columns) in places]

    def seen(self, scene: Scene, x: int, y: int) -> list[Bytes]:
        """The part of ``scene`` at a place that is compared with ``planes``; excluded pixels are taken from there."""
        _, _, width, height = self.area.box
        parts = [plane[y : y + height, x : x + width] for plane in scene.planes(self.area.metric)]
        if self.patterns is None:
            return parts
        parts = [np.where(self.patterns == WHOLLY_EXCLUDED, own, part) for own, part in zip(self.planes, parts, strict=True)]
        for pattern, rows, columns in self.edges:
            greens = scene.with_green(self.area.metric, pattern)
            for part, green in zip(parts, greens, strict=True):
                part[rows, columns] = green[rows + y, columns + x]
        return parts

    def squares(self, scene: Scene, x: int, y: int) -> NDArray[np.int64]:
        """The squared difference of each pixel at a place, added up over the planes."""
        parts = self.seen(scene, x, y)
        return sum(
            (np.square(part.astype(np.int64) - own) for part, own in zip(parts, self.planes, strict=True)),
            start=np.zeros(self.planes[0].shape, np.int64),
        )


def targets_of(needle: Needle) -> dict[int, Target]:
    """Number of the area to its target, for the areas of type match; made once."""
    if not needle.prepared and any(area.type == "match" for area in needle.areas):
        height, width, _ = needle.rgb.shape
        excluded = np.zeros((height, width), bool)
        for area in needle.areas:
            if area.type == "exclude":
                x, y, across, down = area.box
                excluded[y : y + down, x : x + across] = True
        filled = needle.rgb.copy()
        filled[excluded] = GREEN
        scene, around = Scene(filled), neighbours(excluded)
        for number, area in enumerate(needle.areas):
            if area.type == "match":
                needle.prepared[number] = _target(area, scene, excluded, around)
    return needle.prepared


def _target(area: Area, scene: Scene, excluded: Flags, around: NDArray[np.uint16]) -> Target:
    x, y, width, height = area.box
    part = np.s_[y : y + height, x : x + width]
    patterns = np.where(excluded, np.uint16(WHOLLY_EXCLUDED), np.uint16(0)) if area.metric == "exact" else around
    planes = [np.ascontiguousarray(plane[part]) for plane in scene.planes(area.metric)]
    return Target(area, planes, patterns[part].copy() if patterns[part].any() else None)


@dataclass(frozen=True)
class Place:
    """Where a target is seen best."""

    x: int
    y: int


def find(scene: Scene, target: Target, margin: int) -> Place | None:
    """The place within ``margin`` pixels of its own where a target differs least; None where it does not fit there."""
    x, y, width, height = target.area.box
    screen_height, screen_width, _ = scene.rgb.shape
    left, top = max(0, x - margin), max(0, y - margin)
    right, bottom = min(screen_width, x + width + margin), min(screen_height, y + height + margin)
    if right - left < width or bottom - top < height:
        return None
    if x + width <= right and y + height <= bottom and int(target.squares(scene, x, y).sum()) <= AS_GOOD:
        return Place(x, y)  # none can be better by more than what counts as equal, and none is nearer
    totals = _totals(scene, target, (left, top, right, bottom))
    rows, columns = np.nonzero(totals <= totals.min() + AS_GOOD)
    nearest = int(np.argmin((rows + top - y) ** 2 + (columns + left - x) ** 2))
    return Place(int(columns[nearest]) + left, int(rows[nearest]) + top)


def _totals(scene: Scene, target: Target, window: tuple[int, int, int, int]) -> Integers:
    """The sum of the squared differences at each place in ``window`` (left, top, right, bottom)."""
    fields = scene.fields(target.area.metric, window)
    counted = None if target.patterns is None else target.free
    totals = sum(one.differences(own, counted) for one, own in zip(fields, target.planes, strict=True))
    assert isinstance(totals, np.ndarray)
    return _with_edges(scene, target, window, totals) if target.edges else totals


def _with_edges(scene: Scene, target: Target, window: tuple[int, int, int, int], totals: Integers) -> Integers:
    """``totals`` with what the pixels beside excluded ones add; where it cannot matter, it may be left out.

    Those pixels only add to a sum. So places whose sum is without them above the best that was seen with them are out.
    """
    left, top, _, _ = window
    pixels = sum(len(rows) for _, rows, _ in target.edges)

    def whole(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Integers:
        added = np.zeros(len(rows), np.int64)
        for pattern, down, across in target.edges:
            for green, own in zip(scene.with_green(target.area.metric, pattern), target.planes, strict=True):
                wanted = own[down, across].astype(np.int32)
                for some in _portions(len(rows), len(down)):
                    seen = green[rows[some, None] + (down + top), columns[some, None] + (across + left)]
                    added[some] += np.square(seen - wanted).sum(axis=1)
        return np.asarray(totals[rows, columns] + added)

    lowest = np.unravel_index(int(totals.argmin()), totals.shape)
    best = int(whole(*(np.array([index]) for index in lowest))[0])
    rows, columns = np.nonzero(totals <= best + AS_GOOD)
    if len(rows) * pixels > AT_ONCE:
        return totals + _edges_everywhere(scene, target, window)
    result = np.full_like(totals, np.iinfo(np.int64).max - AS_GOOD)
    result[rows, columns] = whole(rows, columns)
    return result


def _edges_everywhere(scene: Scene, target: Target, window: tuple[int, int, int, int]) -> Integers:
    left, top, right, bottom = window
    added: Integers | None = None
    for pattern, down, across in target.edges:
        counted = np.zeros(target.planes[0].shape, bool)
        counted[down, across] = True
        for green, own in zip(scene.with_green(target.area.metric, pattern), target.planes, strict=True):
            some = Field(green[top:bottom, left:right]).differences(own, counted)
            added = some if added is None else added + some
    assert added is not None
    return added


def _portions(length: int, each: int) -> Iterator[slice]:
    """Slices of ``range(length)`` that keep arrays of ``each`` numbers for every index small."""
    step = max(1, 1_000_000 // each)
    return (slice(start, start + step) for start in range(0, length, step))


def compare_areas(scene: Scene, needle: Needle, search_ratio: float) -> dict[int, AreaMatch]:
    """The needle's areas of type match by their numbers, each at its best place in ``scene``.

    Args:
        search_ratio: 0 looks within each area's margin; 1 in the whole screen, or 1024 pixels around.

    Raises:
        NeedleError: the needle's picture cannot be read.
    """
    return {number: _seen(scene, target, search_ratio) for number, target in targets_of(needle).items()}


def candidate_of(needle: Needle, found: dict[int, AreaMatch]) -> Candidate:
    """A needle with what was found of its areas; ``found`` has each one's number."""
    areas = tuple(found[number] for number in sorted(found))
    lacks = [(1 - area.similarity) ** 2 for area in areas]
    return Candidate(
        needle.name,
        needle.picture,
        matched=bool(areas) and all(area.matched for area in areas),
        error=sum(lacks) / len(lacks) if lacks else 0.0,
        areas=areas,
        workaround=needle.workaround,
        click_points=_click_points(needle, found),
    )


def ranked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The best first: those that matched, the smaller error, workarounds, names."""
    return tuple(sorted(candidates, key=lambda one: (not one.matched, one.error, one.workaround is None, one.name)))


def _seen(scene: Scene, target: Target, search_ratio: float) -> AreaMatch:
    area = target.area
    place = find(scene, target, int(area.margin + search_ratio * (WIDEST_MARGIN - area.margin)))
    if place is None:
        return _match(area, Place(area.xpos, area.ypos), 0.0, area.wanted)
    squares = target.squares(scene, place.x, place.y)
    similarity = _similarity(target, squares)
    if similarity >= area.wanted and area.worst_tile is not None:
        worst = _worst_tile(target, squares)
        if worst < area.worst_tile / 100:
            found = _match(area, place, worst, area.worst_tile / 100)
            return replace(found, metric=f"{area.metric}, worst tile")
    return _match(area, place, similarity, area.wanted)


def _match(area: Area, place: Place, similarity: float, wanted: float) -> AreaMatch:
    return AreaMatch(
        "match", place.x, place.y, area.width, area.height, area.xpos, area.ypos,
        similarity, wanted, similarity >= wanted, area.metric,
    )  # fmt: skip


def _similarity(target: Target, squares: NDArray[np.int64]) -> float:
    if target.area.metric != "exact":
        return similarity_of(int(squares.sum()) / (squares.size * len(target.planes)))
    counted = squares.size if target.patterns is None else int(target.free.sum())
    return 1 - int(np.count_nonzero(squares)) / counted if counted else 1.0


def _worst_tile(target: Target, squares: NDArray[np.int64]) -> float:
    """The similarity of the tile that differs most. What is left over at the right and at the bottom belongs to the last one."""
    height, width = squares.shape
    rows, columns = (np.arange(max(1, size // TILE)) * TILE for size in (height, width))

    def in_tiles(values: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1))

    sizes = in_tiles(np.ones(squares.shape, np.int64))
    if target.area.metric == "exact":
        return 1 - float((in_tiles((squares > 0).astype(np.int64)) / sizes).max())
    return similarity_of(float((in_tiles(squares) / (sizes * len(target.planes))).max()))


def _click_points(needle: Needle, found: dict[int, AreaMatch]) -> dict[str, tuple[int, int]]:
    """Where to click, in the frame: the middle of the last area where the needle says nothing."""
    points: dict[str, tuple[int, int]] = {}
    for number, seen in sorted(found.items()):
        point = needle.areas[number].click_point
        if isinstance(point, ClickPoint):
            points[point.id] = (seen.x + point.xpos, seen.y + point.ypos)
        elif point == "center":
            points[""] = _middle(seen)
    if not points and found:
        points[""] = _middle(found[max(found)])
    if len(points) == 1:
        points[""] = next(iter(points.values()))
    return points


def _middle(seen: AreaMatch) -> tuple[int, int]:
    return seen.x + seen.width // 2, seen.y + seen.height // 2
