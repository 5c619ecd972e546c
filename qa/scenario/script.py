"""A script that was checked: everything in it is known to fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa.operations.operation import Arguments, Operation
from qa.operations.options import MachineOptions
from qa.scenario.schema import Modifiers

DEFAULT_MACHINE = "machine"
"""Name of the machine of a script that has only one."""


@dataclass(frozen=True)
class Call:
    """Do an operation with a machine."""

    operation: Operation
    arguments: Arguments


@dataclass(frozen=True)
class Group:
    """Do steps one after the other, ``rounds`` times (more than once: each round is a group of its own in the results)."""

    steps: tuple[Step, ...]
    rounds: int | None = None


@dataclass(frozen=True)
class Record:
    """Put a note or a command's output into the results."""

    text: str | None
    command: str | None


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        place: file:line:column in the script.
        machine: the machine it is for.
        applies: whether its condition (``when``) is true.
        late: makes the step anew with the values of variables that are known only once the run has begun; None where it
            uses no such variable. Raises ScriptRejected where it does not fit with these values.
    """

    verb: str
    name: str
    place: str
    machine: str
    action: Call | Group | Record
    modifiers: Modifiers
    applies: bool = True
    late: Callable[[Mapping[str, str]], Step] | None = None


@dataclass(frozen=True)
class MachinePlan:
    """A machine to boot."""

    name: str
    image: str
    options: MachineOptions
    cloud_init: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """A whole script. ``names`` has all variables that it declares or uses."""

    path: Path
    name: str
    start: str
    machines: tuple[MachinePlan, ...]
    variables: Mapping[str, str]
    steps: tuple[Step, ...]
    names: frozenset[str] = frozenset()
