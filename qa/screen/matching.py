"""Looks for the areas of needles in frames: where each is seen best, and how well.

The comparison of the metric ``openqa`` is openQA's, so that needles that were tuned for it mean the same here, with these
differences: excluded parts move with the area that they are in, and a margin or percentage of 0 is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from qa.errors import HostError
from qa.screen.correlation import SLACK, SPARSE, Field, Indexes, Integers, Small, places_within
from qa.screen.frames import Frame
from qa.screen.judging import judged
from qa.screen.metrics import Scene, Window
from qa.screen.needle import ClickPoint, Needle
from qa.screen.sight import AreaMatch, Candidate
from qa.screen.target import Place, Target, targets_of

WIDEST_MARGIN = 1024
"""Pixels around an area's place that a search ratio of 1 looks through: the whole of most screens."""
AT_ONCE = 20_000_000
"""Pixels beside excluded ones that are compared one by one; beyond that, transforms are quicker."""


def scene_of(frame: Frame) -> Scene:
    """The frame, ready to be compared with needles; made once."""
    scene = frame.__dict__.get("scene")
    if scene is None:
        scene = frame.__dict__["scene"] = Scene(frame.rgb)
    assert isinstance(scene, Scene)
    return scene


def find(scene: Scene, target: Target, margin: int, *, only_match: bool = False) -> Place | None:
    """The place within ``margin`` pixels of its own where a target differs least.

    Args:
        only_match: be quick where the target cannot match.

    Returns:
        None where it does not fit; with ``only_match`` also where it does not match.
    """
    x, y, width, height = target.area.box
    screen_height, screen_width, _ = scene.rgb.shape
    left, top = max(0, x - margin), max(0, y - margin)
    right, bottom = min(screen_width, x + width + margin), min(screen_height, y + height + margin)
    if right - left < width or bottom - top < height:
        return None
    if x + width <= right and y + height <= bottom and (place := target.at(scene, x, y)).total <= target.as_good:
        return place  # none can be better by more than what counts as equal, and none is nearer
    window = left, top, right, bottom
    few = _few(scene, target, window)
    if few is not None and not len(few[0]) and only_match:
        return None
    if few is None or not len(few[0]):
        totals = _totals(scene, target, window)
        rows, columns = np.nonzero(totals <= totals.min() + target.as_good)
    else:
        rows, columns = few
    nearest = int(np.argmin((rows + top - y) ** 2 + (columns + left - x) ** 2))
    return target.at(scene, int(columns[nearest]) + left, int(rows[nearest]) + top)


def _few(scene: Scene, target: Target, window: Window) -> tuple[Indexes, Indexes] | None:
    """The best places in ``window``, where the target matches; none where it does not; None where that is not quickly said."""
    left, top, _, _ = window
    if target.area.wanted <= 0:
        return None
    most = target.most + target.as_good
    fields = scene.fields(target.area.metric, window)
    found = places_within(fields, target.smalls, most)
    if found is None:
        return None
    rows, columns, least = found
    order = np.lexsort((columns, rows, least))
    budget = 1 + SPARSE * fields[0].plane.size // target.planes[0].size
    good: list[tuple[int, int, int]] = []
    for tried, index in enumerate(order):
        if least[index] > most + SLACK:
            break
        if tried > budget:
            return None
        row, column = int(rows[index]), int(columns[index])
        total = target.at(scene, column + left, row + top).total
        if total <= most:
            good.append((total, row, column))
            most = min(most, total + target.as_good)
    best = sorted((row, column) for total, row, column in good if total <= most)
    return np.array([row for row, _ in best], np.intp), np.array([column for _, column in best], np.intp)


def _totals(scene: Scene, target: Target, window: Window) -> Integers:
    """The sum of the squared differences at each place in ``window``."""
    fields = scene.fields(target.area.metric, window)
    totals = sum(one.differences(small) for one, small in zip(fields, target.smalls, strict=True))
    assert isinstance(totals, np.ndarray)
    return _with_edges(scene, target, window, totals) if target.edges else totals


def _with_edges(scene: Scene, target: Target, window: Window, totals: Integers) -> Integers:
    """``totals`` with what the pixels beside excluded ones add; where it cannot matter, it may be left out.

    Those pixels only add to a sum. So places whose sum is without them above the best that was seen with them are out.
    """
    left, top, _, _ = window
    pixels = sum(len(rows) for _, rows, _ in target.edges)

    def whole(rows: Indexes, columns: Indexes) -> Integers:
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
    rows, columns = np.nonzero(totals <= best + target.as_good)
    if len(rows) * pixels > AT_ONCE:
        return totals + _edges_everywhere(scene, target, window)
    result = np.full_like(totals, np.iinfo(np.int64).max - target.as_good)
    result[rows, columns] = whole(rows, columns)
    return result


def _edges_everywhere(scene: Scene, target: Target, window: Window) -> Integers:
    left, top, right, bottom = window
    added: Integers | None = None
    for pattern, down, across in target.edges:
        counted = np.zeros(target.planes[0].shape, bool)
        counted[down, across] = True
        for green, own in zip(scene.with_green(target.area.metric, pattern), target.planes, strict=True):
            some = Field(green[top:bottom, left:right]).differences(Small(own, counted, keep=False))
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
    targets = targets_of(needle)
    return {number: judged(target, find(scene, target, _margin(target, search_ratio))) for number, target in targets.items()}


def matching_areas(scene: Scene, needle: Needle, search_ratio: float) -> dict[int, AreaMatch] | None:
    """As `compare_areas` where all of them match; None as soon as one does not, which is quicker.

    Raises:
        NeedleError: the needle's picture cannot be read.
    """
    found: dict[int, AreaMatch] = {}
    for number, target in targets_of(needle).items():
        found[number] = judged(target, find(scene, target, _margin(target, search_ratio), only_match=True))
        if not found[number].matched:
            return None
    return found


def _margin(target: Target, search_ratio: float) -> int:
    return int(target.area.margin + search_ratio * (WIDEST_MARGIN - target.area.margin))


def candidate_of(needle: Needle, found: dict[int, AreaMatch], unread: HostError | None = None) -> Candidate:
    """A needle with what was found of its areas; ``found`` has each one's index.

    Args:
        unread: why its texts could not be read.
    """
    areas = tuple(replace(found[index], number=index + 1) for index in sorted(found))
    lacks = [(1 - area.similarity) ** 2 for area in areas if area.similarity is not None]
    return Candidate(
        needle.name,
        needle.picture,
        matched=bool(areas) and all(area.matched for area in areas),
        error=sum(lacks) / len(lacks) if lacks else 1.0,
        areas=(*areas, *_excluded(needle, found)),
        workaround=needle.workaround,
        click_points=_click_points(needle, found),
        unread=unread,
    )


def _excluded(needle: Needle, found: dict[int, AreaMatch]) -> Iterator[AreaMatch]:
    """The excluded areas where they had no say: moved as the areas are that they are in."""
    for index, area in enumerate(needle.areas):
        if area.type == "exclude":
            around = [seen for other, seen in found.items() if seen.kind == "match" and area.overlaps(needle.areas[other])]
            for right, down in dict.fromkeys((seen.x - seen.from_x, seen.y - seen.from_y) for seen in around):
                yield AreaMatch(
                    "exclude", area.xpos + right, area.ypos + down, area.width, area.height, area.xpos, area.ypos,
                    similarity=None, wanted=0.0, matched=True, number=index + 1,
                )  # fmt: skip


def ranked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The best first: those that matched, the smaller error, workarounds, names."""
    return tuple(sorted(candidates, key=lambda one: (not one.matched, one.error, one.workaround is None, one.name)))


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
