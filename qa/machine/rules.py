"""Rules for the arguments of verbs that say more than the arguments' types can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])
Rule = Callable[[Any], None]
"""Takes an object with the arguments as attributes, and raises ValueError where they do not fit together."""


def checked_by(rule: Rule) -> Callable[[Method], Method]:
    """Have the arguments of a verb checked by ``rule`` before it runs; scripts are told when they are read."""

    def mark(method: Method) -> Method:
        vars(method)["rule"] = rule
        return method

    return mark
