"""How alike an area of a needle and its best place in a frame are, and whether that is enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qa.screen.metrics import TILE, similarity_of
from qa.screen.needle import Area
from qa.screen.sight import AreaMatch
from qa.screen.target import Place, Target


def judged(target: Target, place: Place | None) -> AreaMatch:
    """A target at its best place; None where it does not fit into the picture."""
    area = target.area
    if place is None:
        return _match(area, area.box[:2], 0.0, area.wanted)
    similarity = _similarity(target, place)
    if similarity >= area.wanted and area.worst_tile is not None:
        worst = _worst_tile(target, place.squares)
        if worst < area.worst_tile / 100:
            found = _match(area, (place.x, place.y), worst, area.worst_tile / 100)
            return replace(found, metric=f"{area.metric}, worst tile")
    return _match(area, (place.x, place.y), similarity, area.wanted)


def _match(area: Area, place: tuple[int, int], similarity: float, wanted: float) -> AreaMatch:
    return AreaMatch(
        "match", *place, area.width, area.height, area.xpos, area.ypos,
        similarity, wanted, similarity >= wanted, area.metric,
    )  # fmt: skip


def _similarity(target: Target, place: Place) -> float:
    if target.area.metric != "exact":
        return similarity_of(place.total / (place.squares.size * len(target.planes)))
    return 1 - int(np.count_nonzero(place.squares)) / target.counted if target.counted else 1.0


def _worst_tile(target: Target, squares: NDArray[np.int32]) -> float:
    """The similarity of the tile that differs most. What is left over at the right and at the bottom belongs to the last one."""
    height, width = squares.shape
    rows, columns = (np.arange(max(1, size // TILE)) * TILE for size in (height, width))

    def in_tiles(values: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1))

    sizes = in_tiles(np.ones(squares.shape, np.int64))
    if target.area.metric == "exact":
        return 1 - float((in_tiles((squares > 0).astype(np.int64)) / sizes).max())
    return similarity_of(float((in_tiles(squares.astype(np.int64)) / (sizes * len(target.planes))).max()))
