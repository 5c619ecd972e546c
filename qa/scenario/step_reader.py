"""Makes steps out of what stands under ``steps``, and finds everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qa.errors import UsageError
from qa.guest.channel import in_one_line
from qa.operations.operation import Operation
from qa.places import place
from qa.scenario.conditions import ConditionError, parse_condition
from qa.scenario.fit import fit, keys_of, within
from qa.scenario.keys import KeyCheck
from qa.scenario.needles import NeedleCheck
from qa.scenario.problems import Problem, ScriptRejected, did_you_mean
from qa.scenario.schema import MODIFIERS, STRUCTURE, WHOLE, Modifiers, RecordArguments
from qa.scenario.script import Action, Call, Step
from qa.scenario.source import KeyPath, Source
from qa.scenario.structure import read_structure
from qa.scenario.suggestions import unknown_key, unknown_verb
from qa.scenario.variables import Scope, Substitution, as_text

MAX_STEPS = 20_000
"""Steps of a script after its includes: a handful of files that include each other many times can stand for billions."""
TITLE_LENGTH = 72
"""A step without a name is shown with this much of its argument."""


@dataclass
class Reading:
    """What the reading of one script shares over all its files.

    ``stack`` has the files that are being read, outermost first; ``names`` collects the variables that are used; ``snapshots``
    and ``restores`` the names of restore points, None where they are known only later, and the places of the latter;
    ``needles`` knows which needles there are, and ``keys`` which keys; ``may_read`` is asked before a file is read.
    """

    operations: Mapping[str, Operation]
    machines: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    stack: tuple[Path, ...] = ()
    names: set[str] = field(default_factory=set)
    budget: list[int] = field(default_factory=lambda: [MAX_STEPS])
    snapshots: list[str | None] = field(default_factory=list)
    restores: list[tuple[str | None, Source, KeyPath]] = field(default_factory=list)
    needles: NeedleCheck = field(default_factory=NeedleCheck)
    keys: KeyCheck = field(default_factory=KeyCheck)
    may_read: Callable[[Path], object] = lambda path: None

    @property
    def verbs(self) -> tuple[str, ...]:
        """All verbs that there are."""
        return (*self.operations, *STRUCTURE)

    def check_restores(self) -> None:
        """Tell the restore points that no step makes. With other mistakes around nobody knows all that are made."""
        if self.problems or None in self.snapshots:
            return
        names = [name for name in self.snapshots if name]
        for name, source, path in self.restores:
            if name is not None and name not in names:
                there = f"there are: {', '.join(dict.fromkeys(names))}" if names else f"write snapshot: {name} before it"
                message = f"no step makes a snapshot {name!r}"
                self.problems.append(source.problem(path, message, did_you_mean(name, names) or there))


@dataclass(frozen=True)
class StepReader:
    """Reads the steps of one file.

    ``machine`` is the one for steps that do not say ``on``.
    """

    reading: Reading
    source: Source
    scope: Scope
    machine: str

    def steps(self, items: Any, path: KeyPath) -> tuple[Step, ...]:
        """The steps in the list at ``path``; those with mistakes are left out."""
        if not isinstance(items, list):
            return ()
        steps = [self.step(item, (*path, index)) for index, item in enumerate(items)]
        return tuple(step for step in steps if step is not None)

    def whole(self, items: Any) -> tuple[Step, ...]:
        """The steps of a whole script, with what can be said only when all of them are known."""
        steps = self.steps(items, ("steps",))
        self.reading.check_restores()
        return steps

    def with_sample(self, name: str) -> StepReader:
        """A reader of steps for which the variable ``name``, a number, will be known later."""
        return replace(self, scope=self.scope.with_samples({name: "1"}))

    def step(self, item: Any, path: KeyPath) -> Step | None:
        """The step at ``path``, or None where it has mistakes."""
        self.reading.budget[0] -= 1
        if self.reading.budget[0] == 0:
            self._problem(path, f"the script has more than {MAX_STEPS:,} steps once its includes are followed")
        if self.reading.budget[0] <= 0:
            return None
        if not isinstance(item, dict):
            return self._bare(item, path)
        verb = self._verb(item, path)
        return self._read(verb, item, path) if verb else None

    def _problem(self, path: KeyPath, message: str, hint: str | None = None, *, key: bool = False) -> None:
        self.reading.problems.append(self.source.problem(path, message, hint, key=key))

    def _bare(self, item: Any, path: KeyPath) -> Step | None:
        word = self.source.raw.get(path) or item
        if not isinstance(word, str) or not word:
            self._problem(path, "a step is a verb with its argument, or the name of a verb", "for example - succeed: uname -r")
        elif word in self.reading.verbs:
            return self._read(word, {word: None}, path)
        elif word.split()[0].rstrip(":") in self.reading.verbs:
            verb, _, rest = word.partition(" ")
            self._problem(path, "a colon is missing behind the verb", f"write {verb}: {rest.strip()}")
        else:
            self._problem(path, *unknown_verb(word, self.reading.verbs, ()))
        return None

    def _verb(self, item: Mapping[str, Any], path: KeyPath) -> str | None:
        """The one verb of a step; with mistakes about its keys told, None."""
        verbs = [key for key in item if key in self.reading.verbs]
        others = [key for key in item if key not in self.reading.verbs and key not in MODIFIERS]
        if not verbs:
            for key in others:
                self._problem((*path, key), *unknown_verb(key, self.reading.verbs, MODIFIERS), key=True)
            if not others:
                self._problem(path, "there is no verb in this step", f"there are: {', '.join(self.reading.verbs)}")
            return None
        for second in verbs[1:]:
            hint = "make each a step of its own: begin the second with - "
            self._problem((*path, second), f"two verbs in one step: {verbs[0]!r} and {second!r}", hint, key=True)
        verb = verbs[0]
        for key in others:
            known = keys_of(self._model(verb)[0])
            self._problem((*path, key), *unknown_key(key, verb, known, MODIFIERS), key=True)
        return verb

    def _model(self, verb: str) -> tuple[type[Any], str | None]:
        if verb in STRUCTURE:
            return STRUCTURE[verb]
        operation = self.reading.operations[verb]
        return operation.arguments, operation.bare

    def _read(self, verb: str, item: Mapping[str, Any], path: KeyPath) -> Step | None:
        before = len(self.reading.problems)
        substitution = Substitution(self.source, self.scope)
        model, bare = self._model(verb)
        given = {key: substitution.data(value, (*path, key)) for key, value in item.items() if key in MODIFIERS and key != "when"}
        applies = self._condition(item, path, substitution)
        if "when" in item:
            given["when"] = as_text(self.source, (*path, "when"), item["when"])
        arguments = self._arguments(verb, item[verb], path, bare, substitution)
        timeout = given.get("timeout")
        if verb in self.reading.operations and "timeout" in model.model_fields and timeout is not None and arguments is not None:
            if "timeout" in arguments:
                self._problem((*path, "timeout"), f"timeout is given twice: here and in {verb}", "give it once", key=True)
            arguments["timeout"] = given.pop("timeout")
        self.reading.problems.extend(substitution.problems)
        self.reading.names |= substitution.used
        modifiers = fit(Modifiers, given, self.source, within(self.source, path), self.reading.problems)
        machine = self._machine(given, path)
        parsed = arguments is not None and fit(
            model, arguments, self.source, self._locate(path, verb, bare), self.reading.problems, of=verb
        )
        if not parsed or (verb == "include" and substitution.problems):
            return None
        action: Action | None
        if verb in STRUCTURE:
            action = read_structure(replace(self, machine=machine), parsed, item[verb], (*path, verb))
        else:
            action = self._call(verb, parsed, path, is_late=substitution.is_late)
            if not substitution.is_late:
                self.reading.problems.extend(self.reading.needles.problems(self.source, (*path, verb), parsed))
                self.reading.problems.extend(self.reading.keys.problems(self.source, (*path, verb), parsed, machine))
        if modifiers is None or action is None or len(self.reading.problems) > before:
            return None
        self._check_expect(verb, modifiers, parsed, path)
        name = modifiers.name or _title(verb, arguments or {}, bare)
        late = (lambda values: self._again(values, item, path)) if substitution.is_late else None
        return Step(verb, name, str(self.source.place(path)), machine, action, modifiers, applies, late)

    def _again(self, values: Mapping[str, str], item: Mapping[str, Any], path: KeyPath) -> Step:
        reading = replace(self.reading, problems=[], budget=[MAX_STEPS])
        step = replace(self, reading=reading, scope=self.scope.with_values(values)).step(item, path)
        if step is None or reading.problems:
            raise ScriptRejected(reading.problems)
        return step

    def _arguments(
        self, verb: str, value: Any, path: KeyPath, bare: str | None, substitution: Substitution
    ) -> dict[str, Any] | None:
        """The verb's arguments by name, references replaced except in steps inside, which are read in their turn."""
        here = (*path, verb)
        if value is None:
            return {}
        if bare and verb in WHOLE:
            return {bare: value}
        if isinstance(value, dict):
            return {key: child if key == "steps" else substitution.data(child, (*here, key)) for key, child in value.items()}
        if bare is None:
            keys = keys_of(self._model(verb)[0])
            hint = f"write {verb}: {{{', '.join(f'{key}: ...' for key in keys)}}}" if keys else f"write - {verb}"
            self._problem(here, f"{verb} takes {'a mapping' if keys else 'no argument'}", hint)
            return None
        return {bare: substitution.data(value, here)}

    def _locate(self, path: KeyPath, verb: str, bare: str | None) -> Any:
        inside = within(self.source, (*path, verb))

        def locate(loc: KeyPath) -> KeyPath:
            if (
                loc[:1] == ("timeout",)
                and (*path, verb, "timeout") not in self.source.values
                and (*path, "timeout") in self.source.values
            ):
                return (*path, "timeout")
            if loc[:1] == (bare,) and (verb in WHOLE or (*path, verb, bare) not in self.source.values):
                return inside(loc[1:])
            return inside(loc)

        return locate

    def _condition(self, item: Mapping[str, Any], path: KeyPath, substitution: Substitution) -> bool:
        if "when" not in item:
            return True
        where = (*path, "when")
        text = as_text(self.source, where, item["when"])
        try:
            return parse_condition(text).holds(lambda value: substitution.text(value, where))
        except ConditionError as error:
            self._problem(where, f"not a condition: {error}", "for example when: ${accel} == tcg")
            return True

    def _machine(self, given: Mapping[str, Any], path: KeyPath) -> str:
        name = given.get("on")
        if name is None:
            return self.machine
        name = str(name)
        if name not in self.reading.machines:
            hint = did_you_mean(name, self.reading.machines) or f"there are: {', '.join(self.reading.machines)}"
            self._problem((*path, "on"), f"there is no machine {name!r}", hint)
            return self.machine
        return name

    def _check_expect(self, verb: str, modifiers: Modifiers, parsed: Any, path: KeyPath) -> None:
        if modifiers.expect is None:
            return
        if verb in self.reading.operations:
            gives = result_of(self.reading.operations[verb])
        else:
            gives = "command" if isinstance(parsed, RecordArguments) and parsed.command else ""
        if not gives:
            self._problem((*path, "expect"), f"{verb} has no output to expect anything of", "use it with execute", key=True)
        elif gives == "text" and {"exit_code", "stderr"} & modifiers.expect.model_fields_set:
            self._problem((*path, "expect"), f"{verb} gives text only", "expect: {stdout: ...} is what can be checked", key=True)

    def _call(self, verb: str, arguments: Any, path: KeyPath, *, is_late: bool) -> Call | None:
        if verb == "snapshot":
            self.reading.snapshots.append(None if is_late else str(arguments.name))
        elif verb == "restore":
            self.reading.restores.append((None if is_late else str(arguments.name), self.source, (*path, verb)))
        try:
            return Call(self.reading.operations[verb], self._from_folder(arguments))
        except UsageError as error:
            self._problem((*path, verb, "source"), error.message, error.hint)
            return None

    def _from_folder(self, arguments: Any) -> Any:
        """What is taken from this host is looked for in the folder of the file that says so."""
        source = getattr(arguments, "source", None)
        if not isinstance(source, Path):
            return arguments
        return arguments.model_copy(update={"source": place(self.source.path.parent.absolute(), source)})


def result_of(operation: Operation) -> str:
    """What an operation gives that can be expected something of: ``command``, ``text``, or nothing."""
    annotation = operation.run.__annotations__.get("return", "")
    name = str(getattr(annotation, "__name__", annotation)).rpartition(".")[2]
    return {"CommandResult": "command", "str": "text"}.get(name, "")


def _title(verb: str, arguments: Mapping[str, Any], bare: str | None) -> str:
    """What a step without a name is called."""
    if verb in STRUCTURE and arguments.get("name"):
        return str(arguments["name"])
    value = arguments.get(bare or "", arguments.get("command"))
    if verb in WHOLE and isinstance(value, dict):
        value = ", ".join(str(name) for name in value)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return verb
    text = in_one_line(str(value))
    return f"{verb}: {text if len(text) <= TITLE_LENGTH else text[: TITLE_LENGTH - 1] + '…'}"
