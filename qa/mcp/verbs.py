"""Verbs of machines by their names in the catalogue: tools are put together out of them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from qa.errors import UsageError
from qa.machine import Machine
from qa.operations import CATALOGUE

M = TypeVar("M", bound=BaseModel)


async def perform(machine: Machine, verb: str, **arguments: Any) -> Any:
    """Do ``verb``; arguments that are None are left out.

    Raises:
        UsageError: the arguments do not fit.
        QaError: it failed.
    """
    operation = CATALOGUE[verb]
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        checked = operation.parse(given)
    except ValidationError as error:
        raise unfit(error, verb) from error
    return await operation(machine, checked)


def checked_as(model: type[M], given: dict[str, Any], what: str) -> M:
    """``given`` as ``model``.

    Raises:
        UsageError: it does not fit.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise unfit(error, what) from error


def unfit(error: ValidationError, what: str) -> UsageError:
    """What is wrong with arguments, all of it in one sentence."""
    wrong = []
    for one in error.errors()[:5]:
        place = ".".join(str(part) for part in one["loc"])
        said = "is not known" if one["type"] == "extra_forbidden" else one["msg"].removeprefix("Value error, ")
        wrong.append(f"{place}: {said}" if place else said)
    return UsageError(f"{what}: {'; '.join(wrong)}")
