"""What was looked for on the screen, and what was found: the same for success and failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qa.screen.frames import Frame


@dataclass(frozen=True)
class AreaMatch:
    """An area of a needle, where it was found in a frame, and how well. Pixels; the place with the best similarity counts.

    Attributes:
        x, y: in the frame.
        from_x, from_y: in the needle's picture.
        similarity: 0 to 1.
        wanted: the similarity from which on it matches.
        text: for text areas, what was read there.
    """

    kind: Literal["match", "exclude", "text"]
    x: int
    y: int
    width: int
    height: int
    from_x: int
    from_y: int
    similarity: float
    wanted: float
    matched: bool
    metric: str = "openqa"
    text: str = ""


@dataclass(frozen=True)
class Candidate:
    """A needle that was compared with a frame.

    Attributes:
        picture: the needle's PNG file.
        error: mean of the squares of what the areas lack: the smaller the better.
        workaround: why the needle stands for a known defect; None where it does not.
        click_points: name to a place in the frame; the unnamed one is called "".
    """

    name: str
    picture: Path
    matched: bool
    error: float
    areas: tuple[AreaMatch, ...]
    workaround: str | None = None
    click_points: Mapping[str, tuple[int, int]] = field(default_factory=dict)


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
