"""A script's ``matrix``: the combinations that it asks for, one run for each.

``include`` and ``exclude`` mean what they mean in the workflows of GitHub Actions: first combinations are left out, then each
entry of ``include`` goes to all combinations whose own values it leaves alone, and where there is none it is a combination of
its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qa.scenario.problems import Problem, did_you_mean
from qa.scenario.source import KeyPath, Source
from qa.scenario.variables import BUILT_IN, as_text, is_variable

MAX_COMBINATIONS = 256
"""Each is a run with a machine and a results folder of its own; more are a mistake rather than a wish."""
MAX_PRODUCT = 100_000
"""Combinations before any is left out: a few long axes can stand for billions."""

TOP = ("image", "start")
"""Axes that stand for keys at the top of the script."""
HARDWARE = ("memory", "cpus", "disk", "network", "channel")
"""Axes that stand for options under ``machine``."""
_LISTS = ("include", "exclude")


@dataclass(frozen=True)
class Cell:
    """One value of an axis: as YAML has it, as it was written, and where."""

    value: Any
    text: str
    path: KeyPath


@dataclass(frozen=True)
class Combination:
    """One value of each axis. Without any it stands for a script without a matrix."""

    cells: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, str]:
        """Name to text."""
        return {name: cell.text for name, cell in self.cells.items()}

    @property
    def label(self) -> str:
        """``image=builtin, cpus=2``."""
        return ", ".join(f"{name}={cell.text}" for name, cell in self.cells.items())

    def over(self, given: Mapping[str, str]) -> dict[str, str]:
        """``given`` variables, and this combination's in their place; what is built in stays so."""
        return {**given, **{name: text for name, text in self.values.items() if name not in BUILT_IN}}

    def named(self, name: str) -> str:
        """The name of the script's run with this combination."""
        return f"{name} ({self.label})" if self.cells else name

    def applied(self, top: Mapping[str, Any]) -> dict[str, Any]:
        """The script's keys with what the combination puts in their place."""
        machine = top.get("machine")
        options = {name: self.cells[name].value for name in HARDWARE if name in self.cells}
        changed = {name: self.cells[name].value for name in TOP if name in self.cells}
        if options and (machine is None or isinstance(machine, dict)):  # what else it may be is told where it is checked
            changed["machine"] = {**(machine or {}), **options}
        return {**top, **changed}

    def place(self, loc: KeyPath) -> KeyPath | None:
        """Where in the matrix the value at ``loc`` of `applied` comes from; None where it is the script's own."""
        name = loc[1] if len(loc) > 1 and loc[0] == "machine" and loc[1] in HARDWARE else loc[0] if loc else None
        if len(loc) == 1 and name not in TOP:
            return None
        return self.cells[str(name)].path if name in self.cells else None


@dataclass(frozen=True)
class Matrix:
    """All combinations, at least one. ``names`` has all variables that any of them may have."""

    combinations: tuple[Combination, ...] = (Combination(),)
    names: frozenset[str] = frozenset()


def read_matrix(source: Source, given: Mapping[str, str], problems: list[Problem]) -> Matrix:
    """The matrix of a script.

    Args:
        given: values from the command line. One for an axis is its only value, and takes entries of ``include`` with other
            values away.
        problems: gets what is wrong. With mistakes the matrix is made of what is right, so that the rest can be checked.
    """
    matrix = source.data.get("matrix")
    if not isinstance(matrix, dict):  # what else it may be is told where the whole file is checked
        return Matrix()
    reader = _Reader(source, problems)
    before = len(problems)
    axes = {name: reader.axis(name, values) for name, values in matrix.items() if name not in _LISTS}
    excluded = [entry for entry in reader.entries("exclude", matrix) if reader.can_exclude(entry, axes)]
    included = reader.entries("include", matrix)
    names = frozenset([*axes, *(name for entry in included for name in entry)])
    narrowed = {name: _narrowed(name, cells, given) for name, cells in axes.items() if cells}
    count = math.prod(len(cells) for cells in narrowed.values())
    if count <= MAX_PRODUCT:
        kept = [one for one in _product(narrowed) if not any(_matches(one, entry) for entry in excluded)]
        combinations = _included(kept, [entry for one in included if (entry := _chosen(one, axes, given)) is not None])
        count = len(combinations)
    if count > MAX_COMBINATIONS:
        hint = "shorten its lists, or leave some out with exclude"
        message = f"the matrix has {count:,} combinations, and at most {MAX_COMBINATIONS} are run"
        problems.append(source.problem(("matrix",), message, hint, key=True))
        combinations = list(itertools.islice(_product(narrowed), 1))
    elif count == 0 and len(problems) == before:
        hint = "let exclude leave out less" if excluded else "give it values, for example matrix: {cpus: [1, 2]}"
        problems.append(source.problem(("matrix",), "the matrix has no combination", hint, key=True))
    distinct = {tuple((name, cell.text) for name, cell in cells.items()): cells for cells in combinations}
    return Matrix(tuple(Combination(cells) for cells in distinct.values()) or (Combination(),), names)


_Cells = dict[str, Cell]


def _product(axes: Mapping[str, list[Cell]]) -> Iterator[_Cells]:
    """Each value of each axis with each of the others; nothing without axes."""
    if axes:
        for cells in itertools.product(*axes.values()):
            yield dict(zip(axes, cells, strict=True))


def _narrowed(name: str, cells: list[Cell], given: Mapping[str, str]) -> list[Cell]:
    return [Cell(given[name], given[name], ("matrix", name))] if name in given else cells


def _chosen(entry: _Cells, axes: Mapping[str, list[Cell]], given: Mapping[str, str]) -> _Cells | None:
    """An entry of ``include`` with what was given; None where it is about another value of an axis than the given one."""
    if any(name in axes and name in given and cell.text != given[name] for name, cell in entry.items()):
        return None
    return {name: Cell(given[name], given[name], cell.path) if name in given else cell for name, cell in entry.items()}


def _matches(combination: _Cells, entry: _Cells) -> bool:
    return all(name in combination and combination[name].text == cell.text for name, cell in entry.items())


def _included(originals: list[_Cells], entries: list[_Cells]) -> list[_Cells]:
    extended = [dict(one) for one in originals]
    alone = []
    for entry in entries:
        fitting = [
            changed
            for own, changed in zip(originals, extended, strict=True)
            if all(name not in own or own[name].text == cell.text for name, cell in entry.items())
        ]
        for changed in fitting:
            changed.update(entry)
        if not fitting:
            alone.append(entry)
    return extended + alone


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of a matrix and tells their mistakes."""

    source: Source
    problems: list[Problem]

    def axis(self, name: str, values: Any) -> list[Cell]:
        """The values of an axis that are right."""
        path: KeyPath = ("matrix", name)
        if not self._is_name(path):
            return []
        if not isinstance(values, list):
            self._problem(path, f"{name!r} must be a list of values", f"write {name}: [{as_text(self.source, path, values)}]")
            values, paths = [values], [path]
        else:
            paths = [(*path, index) for index in range(len(values))]
            if not values:
                self._problem(path, f"{name!r} must not be empty")
        cells = [cell for value, one in zip(values, paths, strict=True) if (cell := self._cell(value, one)) is not None]
        for number, cell in enumerate(cells):
            if any(cell.text == other.text for other in cells[:number]):
                self._problem(cell.path, f"{cell.text!r} is given twice")
        return cells

    def entries(self, key: str, matrix: Mapping[str, Any]) -> list[_Cells]:
        """Those of ``include`` or ``exclude`` that are right."""
        if key not in matrix:
            return []
        items = matrix[key]
        if not isinstance(items, list) or not items:
            self._problem(("matrix", key), f"{key!r} must be a list of combinations", f"write {key}: [{{cpus: 1}}]")
            return []
        entries = []
        for index, item in enumerate(items):
            path: KeyPath = ("matrix", key, index)
            if not isinstance(item, dict) or not item:
                self._problem(path, "a combination is a mapping of names to values", "for example {image: builtin, cpus: 1}")
                continue
            cells = {name: self._cell(value, (*path, name)) for name, value in item.items() if self._is_name((*path, name))}
            if len(cells) == len(item) and all(cells.values()):
                entries.append({name: cell for name, cell in cells.items() if cell is not None})
        return entries

    def can_exclude(self, entry: _Cells, axes: Mapping[str, list[Cell]]) -> bool:
        """Whether all that ``entry`` names is there to be left out; ``problems`` says what is not."""
        before = len(self.problems)
        for name, cell in entry.items():
            if name not in axes:
                hint = did_you_mean(name, axes) or (f"there are: {', '.join(axes)}" if axes else None)
                self.problems.append(self.source.problem(cell.path, f"the matrix has no {name!r} to exclude", hint, key=True))
            elif axes[name] and cell.text not in (known := [one.text for one in axes[name]]):
                hint = did_you_mean(cell.text, known) or f"there are: {', '.join(known)}"
                self._problem(cell.path, f"{name!r} never is {cell.text!r} in this matrix", hint)
        return len(self.problems) == before

    def _is_name(self, path: KeyPath) -> bool:
        return path[-1] in TOP or is_variable(self.source, path, None, self.problems)

    def _cell(self, value: Any, path: KeyPath) -> Cell | None:
        if value is None or isinstance(value, dict | list):
            self._problem(path, "a value of the matrix must be text or a number")
            return None
        text = as_text(self.source, path, value)
        if "${" in text:
            hint = "write the value itself; vars may be made of it, for example vars: {url: http://${name}}"
            self._problem(path, "a value of the matrix cannot use variables", hint)
            return None
        return Cell(value, text, path)

    def _problem(self, path: KeyPath, message: str, hint: str | None = None) -> None:
        self.problems.append(self.source.problem(path, message, hint))
