"""Reads the verbs that give structure: those with steps inside, in the script or in another file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qa.errors import ScriptError, UsageError
from qa.places import followed
from qa.scenario.fit import fit, within
from qa.scenario.problems import ScriptRejected
from qa.scenario.schema import (
    BranchesArguments,
    ForkArguments,
    FragmentModel,
    IncludeArguments,
    RecordArguments,
    RepeatArguments,
    SubtestArguments,
)
from qa.scenario.script import Branches, Group, Lane, Record
from qa.scenario.source import KeyPath, read_source
from qa.scenario.variables import FORK, ROUND, as_text, is_variable, read_variables

if TYPE_CHECKING:
    from qa.scenario.step_reader import StepReader


def read_structure(reader: StepReader, parsed: Any, value: Any, path: KeyPath) -> Group | Branches | Record | None:
    """What such a step does, or None where it has mistakes.

    Args:
        reader: for the steps inside it.
        parsed: the arguments, checked.
        value: the same as they stand in the file at ``path``.
    """
    match parsed:
        case SubtestArguments():
            return Group(reader.steps(value["steps"], (*path, "steps")))
        case RepeatArguments():
            return Group(reader.with_sample(ROUND).steps(value["steps"], (*path, "steps")), parsed.count)
        case BranchesArguments():
            return Branches(tuple(Lane(str(name), reader.steps(steps, (*path, name))) for name, steps in value.items()))
        case ForkArguments():
            steps = reader.with_sample(FORK).steps(value["steps"], (*path, "steps"))
            numbers = range(1, parsed.count + 1)
            return Branches(tuple(Lane(f"fork {number}", steps, {FORK: str(number)}) for number in numbers))
        case IncludeArguments():
            return _include(reader, parsed, path, value)
        case RecordArguments():
            return Record(parsed.text, parsed.command)
        case _:
            raise TypeError(f"no structure: {parsed!r}")


def _include(reader: StepReader, arguments: IncludeArguments, path: KeyPath, value: Any) -> Group | None:
    where = (*path, "path") if isinstance(value, dict) else path
    file = reader.source.path.parent / arguments.path
    stack, problems = reader.reading.stack, reader.reading.problems
    try:
        resolved = followed(file)
    except UsageError as error:
        problems.append(reader.source.problem(where, error.message, error.hint))
        return None
    if resolved in stack:
        chain = " -> ".join(one.name for one in (*stack[stack.index(resolved) :], resolved))
        problems.append(reader.source.problem(where, f"the files include each other in a circle: {chain}"))
        return None
    reader.reading.may_read(file)
    try:
        source = read_source(file)
    except ScriptRejected as error:
        problems.extend(error.problems)
        return None
    except ScriptError as error:
        hint = "paths are relative to the file that includes"
        problems.append(reader.source.problem(where, error.message, hint))
        return None
    passed = {
        name: as_text(reader.source, (*path, "vars", name), one)
        for name, one in arguments.vars.items()
        if is_variable(reader.source, (*path, "vars", name), one, problems)
    }
    reading = replace(reader.reading, stack=(*stack, resolved))
    return _fragment(replace(reader, reading=reading, source=source, scope=reader.scope.with_values(passed)))


def _fragment(reader: StepReader) -> Group | None:
    """The steps of the whole file, which is one that another includes; None where they cannot be found in it."""
    source, problems = reader.source, reader.reading.problems
    problems.extend(source.problems)
    if isinstance(source.data, list):
        return Group(reader.steps(source.data, ()))
    if not isinstance(source.data, dict):
        problems.append(source.problem((), "an included file is a list of steps, or a mapping with steps"))
        return None
    if fit(FragmentModel, dict(source.data), source, within(source, ()), problems, of="an included file") is None:
        return None
    known = {name: value for name, value in reader.scope.values.items() if name not in reader.scope.late}
    scope = reader.scope.with_values(read_variables(source, known, problems).values)
    return Group(replace(reader, scope=scope).steps(source.data["steps"], ("steps",)))
