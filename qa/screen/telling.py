"""How alike an area was, in words: the same for whoever tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Rated(Protocol):
    """Something with a similarity, and the one that is wanted."""

    @property
    def wanted(self) -> float:
        """The similarity from which on it matches."""


class RatedTile(Rated, Protocol):
    """The tile of an area that differs most."""

    @property
    def similarity(self) -> float:
        """0 to 1."""


class RatedArea(Rated, Protocol):
    """An area of a needle."""

    @property
    def similarity(self) -> float | None:
        """0 to 1; None where nothing was compared."""

    @property
    def worst_tile(self) -> RatedTile | None:
        """None where tiles do not count."""


OneArea = TypeVar("OneArea", bound=RatedArea)


def percent(similarity: float) -> str:
    """``82.3 %``, rounded down: what does not match never looks as if it did."""
    return f"{math.floor(similarity * 1000 + 1e-9) / 10:g} %"


def percent_wanted(rated: Rated) -> str:
    """``96 %``, as the needle says it."""
    return f"{100 * rated.wanted:.10g} %"


def alike(area: RatedArea) -> str:
    """``82.3 % alike, 96 % wanted``; with the worst tile where it counts; that a text was not read."""
    if area.similarity is None:
        return "not read"
    told = f"{percent(area.similarity)} alike, {percent_wanted(area)} wanted"
    return f"{told}; {tile(area.worst_tile)}" if area.worst_tile else told


def tile(rated: RatedTile) -> str:
    """``its worst tile 41 %, 80 % wanted``."""
    return f"its worst tile {percent(rated.similarity)}, {percent_wanted(rated)} wanted"


def lack(area: RatedArea) -> float:
    """How much an area that was compared lacks of what is wanted, in the mean or in its worst tile; 0 or less where nothing."""
    assert area.similarity is not None
    in_tile = area.worst_tile.wanted - area.worst_tile.similarity if area.worst_tile else -1.0
    return max(area.wanted - area.similarity, in_tile)


def lowest(area: RatedArea) -> float:
    """The similarity of that of both which lacks more."""
    assert area.similarity is not None
    if area.worst_tile and area.worst_tile.wanted - area.worst_tile.similarity > area.wanted - area.similarity:
        return area.worst_tile.similarity
    return area.similarity


def worst(areas: Sequence[OneArea]) -> OneArea | None:
    """The area that lacks most; of those that were compared, which excluded ones and texts that were not read are not."""
    return max((area for area in areas if area.similarity is not None), key=lack, default=None)
