"""A machine of the run in ``report.html``: what it was, the stages of its boot, its console."""

from __future__ import annotations

from dataclasses import dataclass

from qa.deadline import format_duration
from qa.report.folder import ResultsFolder
from qa.report.step_view import Bar, Text, file_text
from qa.report.text import one_line
from qa.scenario.results import MachineResult

CONSOLE_HEAD, CONSOLE_TAIL = 32 << 10, 128 << 10
"""Bytes of a console that are in the page: a whole quiet boot, or the beginning and the end of a talkative one."""


@dataclass(frozen=True)
class Stage:
    """One rung of the ladder to readiness."""

    name: str
    at: str
    bar: Bar


@dataclass(frozen=True)
class MachineView:
    """One machine and its console."""

    name: str
    branch: str
    facts: list[tuple[str, str]]
    stages: list[Stage]
    console: Text | None


def machine_view(folder: ResultsFolder, machine: MachineResult) -> MachineView:
    """What is known of ``machine``."""
    ready = "never ready" if machine.ready_s is None else f"after {format_duration(machine.ready_s)}"
    channel = f", over {machine.channel}" if machine.channel and machine.ready_s is not None else ""
    facts = [
        ("Image", machine.image),
        ("Start", machine.start),
        ("Ready", ready + channel),
        ("Memory", f"{machine.memory / (1 << 30):g} GiB" if machine.memory else ""),
        ("Processors", str(machine.cpus or "")),
        ("Ended", machine.ended),
    ]
    stages, last = [], 0.0
    whole = max([*machine.stages.values(), machine.ready_s or 0.0])
    for name, at in machine.stages.items():
        stages.append(Stage(one_line(name), format_duration(at), Bar.of(min(last, at), max(at - last, 0.0), whole)))
        last = at
    return MachineView(
        name=one_line(machine.name),
        branch=one_line(machine.branch),
        facts=[(label, one_line(value)) for label, value in facts if value],
        stages=stages,
        console=file_text(folder, machine.console, CONSOLE_HEAD, CONSOLE_TAIL, "console") if machine.console else None,
    )
