"""Needles: a picture of a screen, and which parts of it must be seen. openQA's files are read as they are.

``name.json`` beside ``name.png``, a picture of the whole screen. Beyond openQA, an area may have a ``metric`` (``openqa``,
``colour``, ``exact``) and a ``worst_tile``, and the ``refstr`` of a text area is compared with what is read there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from qa.errors import UsageError
from qa.screen.picture import PictureError, picture_size, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MATCH_PERCENT = 96.0
"""openQA's default."""
MARGIN = 50
"""Pixels around its place in which an area is looked for; openQA's default."""
MAX_JSON_BYTES = 1_000_000
"""No needle that people make is larger."""


def _whole(value: Any) -> Any:
    """Old needles have numbers as text, and halves of pixels from scaled editors."""
    if isinstance(value, str):
        value = float(value) if value.strip().replace(".", "", 1).lstrip("-").isdigit() else value
    return int(value) if isinstance(value, float) and abs(value) < 1e9 else value


Pixels = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
Percent = Annotated[float, Field(ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class ClickPoint(_Part):
    """Where to click in an area, in pixels from its upper left corner."""

    xpos: Pixels
    ypos: Pixels
    id: str = ""


class Area(_Part):
    """A rectangle of the needle's picture. Pixels."""

    xpos: Pixels = Field(ge=0)
    ypos: Pixels = Field(ge=0)
    width: Pixels = Field(gt=0)
    height: Pixels = Field(gt=0)
    type: Literal["match", "exclude", "ocr"] = "match"
    match: Percent | None = Field(None, description="Percent; 96, or 100 for the metric exact, where it is not given.")
    margin: Pixels = Field(MARGIN, ge=0)
    click_point: Literal["center"] | ClickPoint | None = None
    metric: Literal["openqa", "colour", "exact"] = "openqa"
    worst_tile: Percent | None = Field(None, description="Percent that each tile of 16x16 pixels must reach.")
    refstr: str | None = Field(None, validation_alias=AliasChoices("refstr", "text"))
    id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = Field(None, description="Its name for other tools.")

    @property
    def wanted(self) -> float:
        """The similarity from which on it matches, 0 to 1."""
        return (self.match if self.match is not None else 100.0 if self.metric == "exact" else MATCH_PERCENT) / 100

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.xpos, self.ypos, self.width, self.height

    def overlaps(self, other: Area) -> bool:
        """Whether they have pixels in common."""
        across = self.xpos < other.xpos + other.width and other.xpos < self.xpos + self.width
        return across and self.ypos < other.ypos + other.height and other.ypos < self.ypos + self.height


class Property(_Part):
    """A property that has a value."""

    name: str
    value: str | None = None


class Description(_Part):
    """The JSON file of a needle."""

    area: tuple[Area, ...] = Field(min_length=1)
    tags: tuple[str, ...] = ()
    properties: tuple[str | Property, ...] = ()

    def outside(self, path: Path, size: tuple[int, int]) -> list[str]:
        """The areas that are not inside a picture of ``size``, with their places in the file at ``path``."""
        return [
            f"{path}: area[{number}] ({area.xpos},{area.ypos} {area.width}x{area.height}) is not inside its picture "
            f"of {size[0]}x{size[1]}"
            for number, area in enumerate(self.area)
            if area.xpos + area.width > size[0] or area.ypos + area.height > size[1]
        ]

    @model_validator(mode="after")
    def _is_complete(self) -> Description:
        if all(area.type == "exclude" for area in self.area):
            raise ValueError("no area says what must be seen: at least one of type match or ocr is needed")
        if all(area.type == "exclude" or (area.type == "ocr" and not area.refstr) for area in self.area):
            raise ValueError("nothing can be compared: the text areas have no refstr")
        points = [area.click_point for area in self.area if area.type != "exclude" and area.click_point is not None]
        names = [point.id if isinstance(point, ClickPoint) else "" for point in points]
        if len(points) > 1 and not all(names):
            raise ValueError("of several click points each needs an id")
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"two click points have the id {twice[0]!r}")
        if twice := [name for name, count in Counter(area.id for area in self.area if area.id).items() if count > 1]:
            raise ValueError(f"two areas have the id {twice[0]!r}")
        return self


class NeedleError(UsageError):
    """A needle cannot be used."""


@dataclass(frozen=True)
class Needle:
    """A needle that was read. Its picture is decoded when it is first compared.

    Attributes:
        name: the file's name without ``.json``.
        path: the JSON file.
        size: width and height of the picture.
    """

    name: str
    path: Path
    size: tuple[int, int]
    description: Description

    @property
    def picture(self) -> Path:
        """The PNG file."""
        return self.path.with_suffix(".png")

    @property
    def tags(self) -> tuple[str, ...]:
        """What it can be asked for by, beside its name."""
        return self.description.tags

    @property
    def areas(self) -> tuple[Area, ...]:
        """All areas, in the file's order."""
        return self.description.area

    @property
    def workaround(self) -> str | None:
        """Why it stands for a known defect (empty where that is not said); None where it does not."""
        for one in self.description.properties:
            if isinstance(one, str) and one == "workaround":
                return ""
            if isinstance(one, Property) and one.name == "workaround":
                return one.value or ""
        return None

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture's pixels.

        Raises:
            NeedleError: the picture cannot be read.
        """
        try:
            pixels = read_picture(self.picture)
        except PictureError as error:
            raise NeedleError(f"needle {self.name}: {error.message}", hint=error.hint) from error
        if (pixels.shape[1], pixels.shape[0]) != self.size:
            raise NeedleError(f"needle {self.name}: {self.picture} was changed just now", hint="run it again")
        return pixels

    @cached_property
    def prepared(self) -> dict[int, Any]:
        """What the comparison computes of an area once; by the area's number."""
        return {}


def read_needle(path: Path) -> Needle:
    """Read a needle; of its picture only the size is looked at.

    Raises:
        NeedleError: it cannot be used; the message has the first reason, the evidence all of them.
    """
    needle, problems = read_with_problems(path)
    if needle is None or problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        evidence = {"all that is wrong with it": "\n".join(problems)} if len(problems) > 1 else None
        hint = "anima-qa needle check tells all that is wrong with needles"
        raise NeedleError(f"{problems[0]}{more}", hint=hint, evidence=evidence)
    return needle


def read_with_problems(path: Path) -> tuple[Needle | None, list[str]]:
    """The needle at ``path``, as far as it can be read, and what makes it unusable; each with file and place."""
    try:
        data = read_json(path)
        description = Description.model_validate(data)
    except NeedleError as error:
        return None, [error.message]
    except ValidationError as error:
        return None, describe_problems(path, error)
    picture = path.with_suffix(".png")
    try:
        size = picture_size(picture)
    except PictureError as error:
        missing = not picture.exists()
        return None, [f"{path}: its picture {picture.name} is not there" if missing else f"{path}: {error.message}"]
    return Needle(path.stem, path, size, description), description.outside(path, size)


def describe_problems(path: Path, error: ValidationError) -> list[str]:
    """What pydantic found wrong with the needle at ``path``, in sentences with their places."""
    details = error.errors()
    deeper = {one["loc"][:end] for one in details for end in range(len(one["loc"]))}  # a list of which no item is right is empty
    return list(dict.fromkeys(_said(path, one) for one in details if one["loc"] not in deeper))


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file, whatever is in it.

    Raises:
        NeedleError: it is not there, or no JSON object.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        raise NeedleError(f"there is no needle {path}") from None
    except OSError as error:
        raise NeedleError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_JSON_BYTES:
        raise NeedleError(f"{path}: has more than {MAX_JSON_BYTES:,} bytes: no needle is as large")
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise NeedleError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise NeedleError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise NeedleError(f"{path}: a needle is a JSON object with area and tags")
    return data


def _said(path: Path, detail: Mapping[str, Any]) -> str:
    """A sentence out of what pydantic found."""
    steps = [
        part for part in detail["loc"] if isinstance(part, int) or part in {*Area.model_fields, "area", "tags", "properties"}
    ]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in steps).lstrip(".")
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        place, message = place or str(detail["loc"][-1]), "is missing"
    elif detail["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, and is {detail['input']!r:.80}"
    return f"{path}: {place + ': ' if place else ''}{message}"
