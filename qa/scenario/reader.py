"""Reads and checks whole scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qa.errors import ScriptError, UsageError
from qa.operations.operation import Operation
from qa.operations.options import MachineOptions
from qa.places import place
from qa.scenario.fit import fit, within
from qa.scenario.keys import KeyCheck
from qa.scenario.matrix import HARDWARE, Combination, read_matrix
from qa.scenario.needles import NeedleCheck, needle_folders
from qa.scenario.problems import Problem, ScriptRejected, did_you_mean
from qa.scenario.schema import MachineEntry, ScriptModel
from qa.scenario.script import DEFAULT_MACHINE, MachinePlan, Script
from qa.scenario.source import Source, read_source
from qa.scenario.step_reader import Reading, StepReader
from qa.scenario.variables import BUILT_IN, NAME, SAMPLES, Scope, Substitution, read_variables


@dataclass(frozen=True)
class Given:
    """What the caller puts in the place of what scripts say.

    Attributes:
        may_read: asked about each file and folder of this host before it is looked at; it raises where it may not be.
    """

    variables: Mapping[str, str]
    image: str | None = None
    start: str | None = None
    may_read: Callable[[Path], object] = field(default=lambda path: None, compare=False)

    @property
    def axes(self) -> dict[str, str]:
        """What takes the place of a matrix's values."""
        named = {"image": self.image, "start": self.start}
        return {**self.variables, **{name: value for name, value in named.items() if value is not None}}


NOTHING = Given({})


def read_script(path: Path, operations: Mapping[str, Operation], given: Given = NOTHING) -> Script:
    """Read and check a script, with all runs that its matrix asks for; the first of them.

    Raises:
        ScriptRejected: it has mistakes; the error has all of them.
        ScriptError: the file cannot be read.
    """
    return read_runs(path, operations, given)[0]


def read_runs(path: Path, operations: Mapping[str, Operation], given: Given = NOTHING) -> list[Script]:
    """Read and check a script: one for each combination of its matrix, or itself where it has none.

    Raises:
        ScriptRejected: it has mistakes; the error has all of them.
        ScriptError: the file cannot be read.
        PolicyRefused: the file, or one that it includes, may not be read.
    """
    given.may_read(path)
    source = read_source(path)
    if not isinstance(source.data, dict):
        raise ScriptRejected([source.problem((), "a script is a mapping", "it begins with image: and steps:")])
    problems: list[Problem] = list(source.problems)
    matrix = read_matrix(source, given.axes, problems)
    scripts: list[Script] = []
    found: list[tuple[Combination, list[Problem]]] = []
    for combination in matrix.combinations:
        own: list[Problem] = []
        script = _read_run(source, operations, replace(given, variables=combination.over(given.variables)), combination, own)
        found.append((combination, own))
        if script:
            scripts.append(replace(script, names=script.names | matrix.names))
    problems += _told_once(source, found)
    if problems:
        raise ScriptRejected(problems)
    return scripts


def _read_run(
    source: Source, operations: Mapping[str, Operation], given: Given, combination: Combination, problems: list[Problem]
) -> Script | None:
    """The script with one combination of its matrix; None where ``problems`` got any."""
    scope = read_variables(source, given.variables, problems)
    model, names = _read_top(source, scope, given, combination, problems)
    plans = _plan_machines(source, model, given, problems) if model else ()
    image = model.image if model else None
    known = tuple(plan.name for plan in plans) or _machine_names(source.data)
    folders = needle_folders(source, model, problems, given.may_read)
    reading = Reading(
        operations,
        known,
        problems,
        (source.path.resolve(),),
        names,
        needles=NeedleCheck(folders),
        keys=KeyCheck({plan.name: plan.options.keyboard for plan in plans}),
        may_read=given.may_read,
    )
    in_steps = scope.with_values({"image": image or ""}).with_samples(SAMPLES)
    steps = StepReader(reading, source, in_steps, known[0]).whole(source.data.get("steps"))
    if model:
        _check_effect(source, model, combination, names, problems)
    if problems or model is None:
        return None
    declared = source.data.get("vars") or {}
    title = model.name or source.path.stem
    return Script(
        source.path,
        combination.named(title),
        given.start or model.start,
        plans,
        scope.values,
        steps,
        frozenset(names | set(declared)),
        title,
        combination.values,
        given.variables,
        given.image or combination.values.get("image"),
        folders,
    )


def _check_effect(
    source: Source, model: ScriptModel, combination: Combination, names: AbstractSet[str], problems: list[Problem]
) -> None:
    """Tell the axes that stand for an option which every machine sets for itself."""
    machines = model.machines.values() if model.machines else ()
    for name in combination.cells:
        idle = machines and name not in names and all(name in entry.model_fields_set for entry in machines)
        if idle and name in ("image", *HARDWARE):
            hint = f"leave it out there, or write {name}: ${{{name}}}"
            message = f"{name!r} of the matrix changes nothing: every machine of this script has its own"
            problems.append(source.problem(("matrix", name), message, hint, key=True))


def _told_once(source: Source, found: Sequence[tuple[Combination, Sequence[Problem]]]) -> list[Problem]:
    """What is wrong with the runs of a script; what only some of them have wrong says with which combination."""
    first: dict[Problem, Combination] = {}
    counts: Counter[Problem] = Counter()
    for combination, problems in found:
        counts.update(set(problems))
        for problem in problems:
            first.setdefault(problem, combination)
    told = []
    for problem, combination in first.items():
        in_matrix = any(source.place(cell.path) == problem.place for cell in combination.cells.values())
        everywhere = counts[problem] == len(found) or in_matrix
        told.append(problem if everywhere else replace(problem, message=f"{problem.message} (with {combination.label})"))
    return told


def read_scripts(
    paths: Iterable[Path], operations: Mapping[str, Operation], given: Given = NOTHING
) -> tuple[list[Script], list[Problem], list[ScriptError]]:
    """Read several scripts: the runs of those that are right, and everything that is wrong with the others.

    Raises:
        UsageError: a variable was given that no script knows.
        PolicyRefused: one of the files may not be read.
    """
    scripts: list[Script] = []
    problems: list[Problem] = []
    errors: list[ScriptError] = []
    for path in paths:
        try:
            scripts.extend(read_runs(path, operations, given))
        except ScriptRejected as error:
            problems.extend(error.problems)
        except ScriptError as error:
            errors.append(error)
    if not problems and not errors:
        _check_given(scripts, given)
    return scripts, problems, errors


def parse_variables(pairs: Iterable[str]) -> dict[str, str]:
    """Variables out of ``name=value`` texts of the command line.

    Raises:
        UsageError: one is not of that form, or its name is built in.
    """
    variables: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not NAME.fullmatch(name):
            raise UsageError(f"{pair!r} does not set a variable", hint="write --var name=value")
        if name in BUILT_IN:
            raise UsageError(f"the variable {name!r} is built in ({BUILT_IN[name]})", hint="take another name")
        variables[name] = value
    return variables


def _check_given(scripts: list[Script], given: Given) -> None:
    known = frozenset[str]().union(*(script.names for script in scripts))
    for name in given.variables:
        if name not in known:
            there = (
                f"there are: {', '.join(sorted(known - BUILT_IN.keys()))}"
                if known - BUILT_IN.keys()
                else "the scripts use no variables"
            )
            raise UsageError(f"no script uses the variable {name!r}", hint=did_you_mean(name, known) or there)


def _read_top(
    source: Source, scope: Scope, given: Given, combination: Combination, problems: list[Problem]
) -> tuple[ScriptModel | None, set[str]]:
    """Everything but the steps, and the names of the variables that it uses."""
    data = source.data
    image = combination.values.get("image")
    substitution = Substitution(source, scope.with_values({"image": image}) if image else scope)
    top = {key: value if key in {"steps", "vars", "matrix"} else substitution.data(value, (key,)) for key, value in data.items()}
    top = combination.applied(top)
    image = image or top.get("image")
    if isinstance(image, str):
        substitution.scope = scope.with_values({"image": given.image or image})
        if isinstance(data.get("name"), str):
            substitution.problems = [one for one in substitution.problems if one.place.line != source.place(("name",)).line]
            top["name"] = substitution.text(data["name"], ("name",))
    problems.extend(substitution.problems)
    written = within(source, ())
    model = fit(ScriptModel, top, source, lambda loc: combination.place(loc) or written(loc), problems, of="a script")
    if model and given.image:
        model = model.model_copy(update={"image": given.image})
    return model, set(substitution.used)


def _machine_names(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The machines' names where the rest of the script is not right."""
    machines = data.get("machines")
    return tuple(machines) if isinstance(machines, dict) and machines else (DEFAULT_MACHINE,)


def _plan_machines(source: Source, model: ScriptModel, given: Given, problems: list[Problem]) -> tuple[MachinePlan, ...]:
    entries = model.machines if model.machines is not None else {DEFAULT_MACHINE: MachineEntry(image=None, cloud_init=None)}
    plans: list[MachinePlan] = []
    for name, entry in entries.items():
        image = entry.image or model.image
        if image is None:
            where = ("machines", name) if model.machines is not None else ()
            hint = "for example image: builtin, or image: debian-13"
            problems.append(
                source.problem(where, f"there is no image{f' for machine {name!r}' if where else ''}", hint, key=True)
            )
            continue
        own = entry.model_dump(exclude_unset=True, exclude={"image", "cloud_init"})
        options = MachineOptions.model_validate({**model.machine.model_dump(exclude_unset=True), **own})
        try:
            options = _from_folder(options, source.path.parent.absolute())
        except UsageError as error:
            at = ("machines", name, "disks") if "disks" in own else ("machine", "disks")
            problems.append(source.problem(at, error.message, error.hint))
        plans.append(MachinePlan(name, image, options, model.cloud_init if entry.cloud_init is None else entry.cloud_init))
    if given.image and model.machines and all(entry.image for entry in model.machines.values()):
        message = "--image has nothing to replace: every machine of this script has an image of its own"
        problems.append(source.problem(("machines",), message, key=True))
    return tuple(plans)


def _from_folder(options: MachineOptions, folder: Path) -> MachineOptions:
    """Paths of disks are meant from the script's folder."""
    disks = tuple(disk.model_copy(update={"path": place(folder, disk.path)}) if disk.path else disk for disk in options.disks)
    return options.model_copy(update={"disks": disks})
