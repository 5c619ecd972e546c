"""``${name}`` in scripts.

Only ``${name}`` with a plain name is ours; ``$x``, ``$(...)``, ``$$`` and ``${x:-y}`` belong to the guest's shell and pass
through.
``$${name}`` gives the shell a literal ``${name}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from qa.scenario.problems import Problem, did_you_mean
from qa.scenario.source import KeyPath, Source

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"(?P<escaped>\$)?\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")

SAMPLES: Mapping[str, str] = MappingProxyType({"accel": "kvm", "run_dir": "/run"})
"""Variables that are known only once a run has begun, with values to check a script with: the accelerator that the machine got
and the results folder."""
ROUND = "round"
"""The number of the round inside ``repeat``, from 1."""
FORK = "fork"
"""The number of the fork inside ``fork``, from 1."""
INSIDE: Mapping[str, str] = MappingProxyType({ROUND: "repeat", FORK: "fork"})
"""Variables that are known only inside a verb, and that verb."""
BUILT_IN = {
    "image": "the script's image",
    "accel": "kvm or tcg",
    "run_dir": "the results folder",
    ROUND: "the round of a repeat",
    FORK: "the number of a fork",
}


@dataclass(frozen=True)
class Scope:
    """The variables at one place of a script. ``late`` names those whose value is a sample until the run has begun."""

    values: Mapping[str, str] = field(default_factory=dict)
    late: frozenset[str] = frozenset()

    def with_values(self, values: Mapping[str, str]) -> Scope:
        """This scope with values that are known for good."""
        return replace(self, values={**self.values, **values}, late=self.late - values.keys())

    def with_samples(self, samples: Mapping[str, str]) -> Scope:
        """This scope with variables whose values will be known later."""
        return replace(self, values={**self.values, **samples}, late=self.late | samples.keys())


@dataclass
class Substitution:
    """Replaces references in data from a script, and notes which names were used and which were wrong."""

    source: Source
    scope: Scope
    used: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_late(self) -> bool:
        """Whether a value was used that is known only once the run has begun."""
        return not self.scope.late.isdisjoint(self.used)

    def data(self, value: Any, path: KeyPath) -> Any:
        """``value`` with the references in all its strings replaced; keys are left alone."""
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, dict):
            return {key: self.data(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self.data(child, (*path, index)) for index, child in enumerate(value)]
        return value

    def text(self, text: str, path: KeyPath) -> str:
        """``text`` with its references replaced."""
        if "${" not in text:
            return text
        return _REFERENCE.sub(lambda match: self._value(match, path), text)

    def _value(self, match: re.Match[str], path: KeyPath) -> str:
        name = match["name"]
        if match["escaped"]:
            return "${" + name + "}"
        self.used.add(name)
        if name in self.scope.values:
            return self.scope.values[name]
        place = self.source.place_of_text(path, "${" + name + "}")
        hint = f"define it under vars or with --var {name}=..., or write $${{{name}}} where the guest's shell shall see it"
        if near := did_you_mean(name, self.scope.values):
            hint = f"{near} Or define it, under vars or with --var {name}=..."
        if name in INSIDE:
            hint = f"it is known only inside a {INSIDE[name]}"
        elif name in BUILT_IN:
            hint = "it is known only in steps, when the machine runs"
        self.problems.append(self.source.problem_at(place, f"there is no variable {name!r}", hint))
        return match[0]


def read_variables(source: Source, given: Mapping[str, str], problems: list[Problem]) -> Scope:
    """The variables of a file's ``vars``, with those that were ``given`` from outside in their place.

    A value may refer to those above it. Mistakes are added to ``problems``.
    """
    values = dict(given)
    declared = source.data.get("vars") if isinstance(source.data, dict) else None
    if not isinstance(declared, dict):  # what else it may be is told where the whole file is checked
        return Scope(values)
    for name, value in declared.items():
        path: KeyPath = ("vars", name)
        if is_variable(source, path, value, problems) and name not in given:
            substitution = Substitution(source, Scope(values))
            values[name] = substitution.text(as_text(source, path, value), path)
            problems.extend(substitution.problems)
    return Scope(values)


def is_variable(source: Source, path: KeyPath, value: Any, problems: list[Problem]) -> bool:
    """Whether the key and the value at ``path`` can be a variable; if not, ``problems`` says why."""
    name = str(path[-1])
    if not NAME.fullmatch(name):
        hint = f"names are made of letters, digits and _, for example {re.sub(r'[^A-Za-z0-9_]', '_', name)!r}"
        problems.append(source.problem(path, f"{name!r} cannot be the name of a variable", hint, key=True))
    elif name in BUILT_IN:
        problems.append(source.problem(path, f"{name!r} is built in ({BUILT_IN[name]})", "take another name", key=True))
    elif isinstance(value, dict | list):
        problems.append(source.problem(path, f"the variable {name!r} must be text or a number"))
    else:
        return True
    return False


def as_text(source: Source, path: KeyPath, value: Any) -> str:
    """A scalar's text as it was written; nothing is the empty text."""
    return "" if value is None else str(source.raw.get(path, value)) if not isinstance(value, str) else value
