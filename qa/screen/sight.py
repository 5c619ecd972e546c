"""What was looked for on the screen, and what was found: the same for success and failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qa.errors import HostError
from qa.screen.frames import Frame


@dataclass(frozen=True)
class Tile:
    """The part of an area that differs most, in a frame. Pixels."""

    x: int
    y: int
    width: int
    height: int
    similarity: float
    wanted: float


@dataclass(frozen=True)
class AreaMatch:
    """An area of a needle, where it was found in a frame, and how well. Pixels; the place with the best similarity counts.

    Attributes:
        x, y: in the frame. An excluded area is where the area around it was found.
        from_x, from_y: in the needle's picture.
        similarity: 0 to 1; None where nothing was compared: the area is excluded, or its text was not read.
        wanted: the similarity from which on it matches.
        text: for text areas, what was read there.
        worst_tile: where each tile must be alike too, the one that is least so.
        number: which of the needle's areas it is, from 1.
    """

    kind: Literal["match", "exclude", "text"]
    x: int
    y: int
    width: int
    height: int
    from_x: int
    from_y: int
    similarity: float | None
    wanted: float
    matched: bool
    metric: str = "openqa"
    text: str = ""
    worst_tile: Tile | None = None
    number: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is looked for: an excluded one is not."""
        return self.kind != "exclude"


@dataclass(frozen=True)
class Candidate:
    """A needle that was compared with a frame.

    Attributes:
        picture: the needle's PNG file.
        error: mean of the squares of what the areas lack that were compared: the smaller the better.
        areas: those that are looked for, in the needle's order, and then the excluded ones.
        workaround: why the needle stands for a known defect; None where it does not.
        click_points: name to a place in the frame; the unnamed one is called "", and is there unless several have names.
        unread: why its texts could not be read; None where they could, or need not.
    """

    name: str
    picture: Path
    matched: bool
    error: float
    areas: tuple[AreaMatch, ...]
    workaround: str | None = None
    click_points: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    unread: HostError | None = None


@dataclass(frozen=True)
class Mark:
    """A place in a frame that is pointed out, and what is said of it. Pixels."""

    label: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Sight:
    """A look at the screen for something.

    Attributes:
        wanted: what was looked for, for people: ``needle login-prompt``.
        candidates: needles, the best first; empty where something else was looked for.
        marks: what is pointed out in the frame, where it was no needle: a text that was found, an area that moved.
    """

    frame: Frame
    wanted: str
    candidates: tuple[Candidate, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def match(self) -> Candidate | None:
        """The needle that matched."""
        return next((one for one in self.candidates if one.matched), None)
