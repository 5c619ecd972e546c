"""What a tool is: a name, what its arguments are, what it does to the world, and how it is done."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from qa.errors import UsageError
from qa.operations.calls import Effect, Facts

if TYPE_CHECKING:
    from qa.mcp.call import Call

REASON = "reason"


class ToolArguments(BaseModel):
    """Base of the arguments of tools: unknown names are errors; a list or a mapping may come as JSON in a text, as some models
    write it. ``reason`` may be given to every tool and is written into the audit log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read_json_in_texts(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        read = {name: value for name, value in given.items() if value is not None and name != REASON}
        for name, value in read.items():
            known = cls.model_fields.get(name)
            if known and isinstance(value, str) and value[:1] in {"[", "{"} and not _takes_text(known.annotation):
                try:
                    read[name] = json.loads(value)
                except (ValueError, RecursionError):
                    continue
        return read


def _takes_text(annotation: Any) -> bool:
    return annotation is str or str in get_args(annotation)


A = TypeVar("A", bound=ToolArguments)


@dataclass(frozen=True)
class Reply:
    """What a tool gives.

    Attributes:
        data: complete on its own: whoever reads it needs no other result beside it.
        text: what is read instead of ``data``, where pictures come with it.
        pictures: PNG files.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    pictures: tuple[bytes, ...] = ()


class Tool(ABC, Generic[A]):
    """A tool. It is stateless; what it works on is in the call.

    Attributes:
        effect: the least that it does; it is offered where that is granted.
        worst: the most that it can do, for the client's own questions to its user.
        needs: arguments, and values of arguments (``action.restore``), that do more than ``effect``: what they do. Where that
            is not granted they are left out of the schema.
        idempotent: calling it twice is as good as once.
        open_world: it may reach what is outside of the machines, such as the network.
        core: it is in the small profile.
        verbs: the operations that it is put together of. Who denies the tool denies them; where all are denied it is not
            offered. Its own name is among them where it does more than they do.
    """

    name: str
    title: str
    toolset: str = "machines"
    effect: Effect = "change"
    worst: Effect = "change"
    needs: Mapping[str, Effect] = MappingProxyType({})
    idempotent: bool = False
    open_world: bool = False
    core: bool = True
    verbs: tuple[str, ...] = ()
    description: str
    arguments: type[ToolArguments]

    @abstractmethod
    def facts(self, call: Call, arguments: A) -> Facts:
        """What this call does, for the gate.

        Raises:
            UsageError: the arguments do not fit together, or name what is not there.
        """

    @abstractmethod
    async def run(self, call: Call, arguments: A) -> Reply:
        """Do it.

        Raises:
            QaError: it cannot be done; the hint says what to do next.
        """

    def parse(self, given: Mapping[str, Any]) -> A:
        """The arguments as they were given, checked.

        Raises:
            UsageError: they do not fit; all that is wrong is told at once.
        """
        try:
            return self.arguments.model_validate(given)  # type: ignore[return-value]
        except ValidationError as error:
            known = list(self.arguments.model_fields)
            wrong = "; ".join(_complaint(one, known) for one in error.errors()[:5])
            required = [name for name, one in self.arguments.model_fields.items() if one.is_required()]
            named = ", ".join(f"{name} (required)" if name in required else name for name in known) or "none"
            raise UsageError(f"{self.name}: {wrong}", hint=f"its arguments are: {named}") from error


def _complaint(error: Any, known: list[str]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = get_close_matches(place, known, n=1)
        return f"there is no argument {place!r}" + (f", did you mean {near[0]!r}?" if near else "")
    if error["type"] == "missing":
        return f"{place} is missing"
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{place} {said}" if place else said
