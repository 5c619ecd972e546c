"""What the state after a step depends on, as a key: the machines, and the content of each step up to it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qa.errors import QaError
from qa.scenario.script import Branches, Call, Group, Record, Script, Step

FORMAT = 1
"""Grows when the same script shall get other keys, because states of before do not fit any more."""
RUN_DIRS = ("/run-1", "/run-2")
"""A step that is not the same with both depends on the results folder, which is another one in each run."""
BLOCK = 1 << 20


def chain(script: Script, accel: str) -> list[str]:
    """A key for the state after each step of ``script``; fewer where a step can never be the same in two runs.

    Names and time limits of steps are left out of it: they do not change what was done. The files that
    ``copy_to`` reads are in it.

    Args:
        accel: the value of ``${accel}``.
    """
    machines = [[plan.name, plan.image, plan.options.model_dump(mode="json"), dict(plan.cloud_init)] for plan in script.machines]
    link = _digest([FORMAT, str(script.path.resolve()), script.start, machines])
    keys = []
    for step in script.steps:
        contents = [_step(step, {"accel": accel, "run_dir": run_dir}) for run_dir in RUN_DIRS]
        if contents[0] != contents[1]:
            break
        link = _digest([link, contents[0]])
        keys.append(link)
    return keys


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _step(step: Step, values: Mapping[str, str]) -> list[Any]:
    """The step as plain data."""
    try:
        step = step.late(values) if step.late else step
    except QaError as error:  # the run will say so
        return [step.verb, str(error)]
    modifiers = step.modifiers.model_dump(mode="json", exclude={"name", "timeout"})
    return [step.verb, step.machine, step.applies, modifiers, _action(step, values)]


def _action(step: Step, values: Mapping[str, str]) -> Any:
    match step.action:
        case Group(steps=steps, rounds=rounds):
            return [rounds, [_step(one, values) for one in steps]]
        case Branches(lanes=lanes):
            return [[lane.name, [_step(one, values) for one in lane.steps]] for lane in lanes]
        case Record(text=text, command=command):
            return [text, command]
        case Call(operation=operation, arguments=arguments):
            data = arguments.model_dump(mode="json", exclude={"timeout"})
            source = getattr(arguments, "source", None)
            if isinstance(source, Path):
                data["source"] = [source.name, _digest(list(_files(source)))]
            return [operation.name, data]


def _files(top: Path) -> Iterator[list[Any]]:
    """Name, mode and content of a file, or of everything in a folder; a missing one is a content too."""
    paths = [top]
    if top.is_dir():
        paths += sorted(Path(folder) / name for folder, folders, files in os.walk(top) for name in (*folders, *files))
    for path in paths:
        name = str(path.relative_to(top))
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield [name, "link", str(path.readlink())]
            elif stat.S_ISREG(mode):
                yield [name, mode, _content(path)]
            else:
                yield [name, mode]
        except OSError as error:
            yield [name, "unreadable", error.errno]


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
