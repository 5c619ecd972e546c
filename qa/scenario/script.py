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
class Lane:
    """One of the ways on from a state. ``values`` has the variables that are known only inside it."""

    name: str
    steps: tuple[Step, ...]
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Branches:
    """Go on from the same state in several ways, each in forks of its own; afterwards the machines are as before."""

    lanes: tuple[Lane, ...]


@dataclass(frozen=True)
class Record:
    """Put a note or a command's output into the results."""

    text: str | None
    command: str | None


Action = Call | Group | Branches | Record
"""What a step does."""


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
    action: Action
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
    """A whole script.

    Attributes:
        names: all variables that it declares or uses.
        title: its name without the combination.
        combination: the values of its matrix that this run of it has; empty where it has no matrix.
        given_variables: those that the command line or the matrix have set.
        given_image: the image that the command line or the matrix have put in the place of its own.
        needles: the folders in which needles are looked for, the nearest first.
    """

    path: Path
    name: str
    start: str
    machines: tuple[MachinePlan, ...]
    variables: Mapping[str, str]
    steps: tuple[Step, ...]
    names: frozenset[str] = frozenset()
    title: str = ""
    combination: Mapping[str, str] = field(default_factory=dict)
    given_variables: Mapping[str, str] = field(default_factory=dict)
    given_image: str | None = None
    needles: tuple[Path, ...] = ()
