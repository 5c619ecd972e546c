"""Places on the screen, as people name them: coordinates, a needle, or a text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from qa.machine.base import Pattern
from qa.screen.sight import Candidate

Point = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]],
    Field(description="x and y in pixels of a screenshot, from the top left."),
]
At = Annotated[Point | None, Field(description="[x, y] in pixels of a screenshot, from the top left.")]
NeedleThere = Annotated[
    str | list[str] | None, Field(description="Name or tag of a needle that is waited for, or several; its click point counts.")
]
TextThere = Annotated[Pattern | None, Field(description="A text that is waited for, as a regular expression; its middle counts.")]
PointOfNeedle = Annotated[str, Field(description="Which click point of the needle, where it has several with ids.")]


class Place(BaseModel):
    """A place on the screen: one of ``at``, ``needle`` and ``text``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: At = None
    needle: NeedleThere = None
    text: TextThere = None
    point: PointOfNeedle = ""

    @model_validator(mode="after")
    def _one(self) -> Place:
        one_place(self)
        return self


def _place(value: Any) -> Any:
    """``[x, y]`` and the name of a needle are the short ways to write a place."""
    if isinstance(value, list | tuple):
        return {"at": value}
    return {"needle": value} if isinstance(value, str) else value


AnyPlace = Annotated[Place, BeforeValidator(_place, json_schema_input_type=Place | Point | str)]


def one_place(arguments: Any) -> None:
    """The rule of verbs that need a place.

    Raises:
        ValueError: there is none, or more than one.
    """
    if _named(arguments) != 1:
        raise ValueError("exactly one of at, needle and text must be given")
    _point_of_needle(arguments)


def at_most_one_place(arguments: Any) -> None:
    """The rule of verbs that have a place of their own where none is given.

    Raises:
        ValueError: there is more than one.
    """
    if _named(arguments) > 1:
        raise ValueError("only one of at, needle and text can be given")
    _point_of_needle(arguments)


def _named(arguments: Any) -> int:
    return sum(one is not None for one in (arguments.at, arguments.needle, arguments.text))


def _point_of_needle(arguments: Any) -> None:
    if arguments.point and arguments.needle is None:
        raise ValueError("point belongs to a needle")


def click_point(match: Candidate, point: str) -> tuple[int, int]:
    """Where to click on a needle that was seen.

    Raises:
        KeyError: it has no click point of that name; with the names that there are.
    """
    if point not in match.click_points:
        raise KeyError(", ".join(filter(None, match.click_points)))
    return match.click_points[point]
