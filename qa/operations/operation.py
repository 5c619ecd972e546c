"""An operation: a method of a machine, with the schema and the help that every surface shows for it."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model, model_validator


class Arguments(BaseModel):
    """Base of all argument models: unknown names are errors."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Operation:
    """One operation.

    ``bare`` names the argument that a lone value stands for: ``succeed: true`` is ``succeed: {command: "true"}``. Without
    it the operation takes either a mapping or nothing at all. ``arguments`` is the pydantic model of the arguments, made
    from the method's signature; ``run`` takes the machine and the validated arguments as keywords.
    """

    name: str
    group: str
    summary: str
    description: str
    arguments: type[Arguments]
    run: Callable[..., Awaitable[Any]]
    bare: str | None = None

    def parse(self, value: Any) -> Arguments:
        """The arguments out of what a script has behind the verb: nothing, a lone value, or a mapping.

        Raises:
            pydantic.ValidationError: they do not fit.
        """
        return self.arguments.model_validate(self.as_mapping(value))

    def as_mapping(self, value: Any) -> dict[str, Any]:
        """``value`` with a lone value put under its name."""
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return dict(value)
        return {self.bare or "value": value}

    async def __call__(self, machine: Any, arguments: Arguments) -> Any:
        """Do it."""
        return await self.run(machine, **{_parameter(name): value for name, value in by_name(arguments).items()})


def by_name(arguments: Arguments) -> dict[str, Any]:
    """The arguments by their names. ``dict()`` would take a field that is called ``keys`` for a method."""
    return {name: getattr(arguments, name) for name in type(arguments).model_fields}


def _parameter(name: str) -> str:
    """The parameter for an argument: ``from`` is a word of Python's, so its parameter is ``from_``."""
    return f"{name}_" if keyword.iskeyword(name) else name


def operation_of(
    method: Callable[..., Awaitable[Any]], *, group: str, bare: str | None = None, tags: tuple[str, ...] = ()
) -> Operation:
    """The operation that ``method`` of a machine class is: name, arguments and help are taken from it."""
    hints = get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        argument = parameter.name.removesuffix("_")
        fields[argument] = (hints[parameter.name], default)
    name = method.__name__
    if bare is not None and bare not in fields:
        raise ValueError(f"{name} has no argument {bare!r}")
    description = inspect.cleandoc(method.__doc__ or "")
    title = f"{name.title().replace('_', '')}Arguments"
    model = create_model(title, __base__=Arguments, __doc__=description, __validators__=_rules(method), **fields)
    return Operation(name, group, description.partition("\n")[0], description, model, method, bare)


def _rules(method: Callable[..., Awaitable[Any]]) -> dict[str, Any]:
    """What checks the arguments together, see `qa.machine.rules`."""
    rule = getattr(method, "rule", None)
    if rule is None:
        return {}

    def check(arguments: Arguments) -> Arguments:
        rule(arguments)
        return arguments

    return {"rule": model_validator(mode="after")(check)}


class Catalogue(Mapping[str, Operation]):
    """Operations by name, in the order in which they are taught."""

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = {operation.name: operation for operation in operations}

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)
