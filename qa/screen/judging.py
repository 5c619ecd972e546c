"""How alike an area of a needle and its best place in a frame are, and whether that is enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qa.screen.metrics import HALF, TILE, similarity_of
from qa.screen.needle import Area
from qa.screen.sight import AreaMatch, Tile
from qa.screen.target import Place, Target


def judged(target: Target, place: Place | None) -> AreaMatch:
    """A target at its best place; None where it does not fit into the picture."""
    area = target.area
    if place is None:
        return _match(area, area.box[:2], 0.0, area.wanted)
    found = _match(area, (place.x, place.y), _similarity(target, place), area.wanted)
    if area.worst_tile is None:
        return found
    tile = _worst_tile(target, place, area.worst_tile / 100)
    return replace(found, worst_tile=tile, matched=found.matched and tile.similarity >= tile.wanted)


def _match(area: Area, place: tuple[int, int], similarity: float, wanted: float) -> AreaMatch:
    return AreaMatch(
        "match", *place, area.width, area.height, area.xpos, area.ypos,
        similarity, wanted, similarity >= wanted, area.metric,
    )  # fmt: skip


def _similarity(target: Target, place: Place) -> float:
    if target.area.metric != "exact":
        return similarity_of(place.total / (place.squares.size * len(target.planes)))
    return 1 - int(np.count_nonzero(place.squares)) / target.counted if target.counted else 1.0


def _worst_tile(target: Target, place: Place, wanted: float) -> Tile:
    """The tile that differs most, by the pixels of it that count. Tiles overlap by halves, so that none cuts a letter in four.

    What is left over at the right and at the bottom belongs to the last ones.
    """
    height, width = place.squares.shape
    rows, columns = (np.arange(max(1, size // HALF)) * HALF for size in (height, width))

    def in_tiles(values: NDArray[np.bool_] | NDArray[np.int32]) -> NDArray[np.int64]:
        halves = np.add.reduceat(np.add.reduceat(values.astype(np.int64), rows, axis=0), columns, axis=1)
        for axis, size in enumerate(halves.shape):
            if size > 1:
                halves = np.take(halves, range(size - 1), axis) + np.take(halves, range(1, size), axis)
        return np.asarray(halves)

    sizes = np.maximum(in_tiles(target.counting), 1)  # where nothing counts, nothing differs
    exact = target.area.metric == "exact"
    lacks = in_tiles(place.squares > 0 if exact else place.squares) / (sizes if exact else sizes * len(target.planes))
    row, column = (int(index) for index in np.unravel_index(int(lacks.argmax()), lacks.shape))
    bottom, right = (
        size if number == most - 1 else HALF * number + TILE
        for size, number, most in ((height, row, lacks.shape[0]), (width, column, lacks.shape[1]))
    )
    y, x = HALF * row, HALF * column
    similarity = 1 - float(lacks.max()) if exact else similarity_of(float(lacks.max()))
    return Tile(place.x + x, place.y + y, right - x, bottom - y, similarity, wanted)
