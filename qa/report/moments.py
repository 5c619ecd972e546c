"""A console as it was at a moment of the run: what it said while a step looked at the screen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa.report.folder import ResultsFolder
from qa.report.text import Line, coloured_lines, line_text
from qa.scenario.results import RunResult, StepResult

LINES = 8
"""Of a console at a moment: what happened just before it."""

READ = 8 << 10
"""Bytes before the moment in which those lines are looked for."""


def ran_on(machine: str, branch: str, step: StepResult) -> bool:
    """Whether ``step`` ran on that machine; a branch is called after the index that its steps' begin with."""
    index, _, _ = branch.partition("-")
    inside = step.index == index or step.index.startswith(f"{index}.")
    return step.machine == machine and step.outcome != "skipped" and (inside or not branch)


@dataclass(frozen=True)
class ConsoleLog:
    """The log of one machine, and how long it was when."""

    path: Path
    times: list[float]
    sizes: list[int]

    def at(self, seconds: float) -> list[Line]:
        """The last lines that were there so many seconds after the start of the run; none where that is not known."""
        place = bisect_right(self.times, seconds)
        if not place:
            return []
        end = self.sizes[place - 1]
        start = max(0, end - READ)
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                text = file.read(end - start).decode("utf-8", "replace")
        except OSError:
            return []
        lines = list(coloured_lines(text))[bool(start) :]
        while lines and not line_text(lines[-1]):
            lines.pop()
        return lines[-LINES:]


Consoles = Mapping[tuple[str, str], ConsoleLog]
"""By the name of the machine and the branch."""


def make_consoles(folder: ResultsFolder, result: RunResult) -> Consoles:
    """Those of all machines whose log is there."""
    found = {}
    for machine in result.machines:
        path = folder.find(machine.console) if machine.console else None
        if path:
            moments = machine.console_moments
            found[machine.name, machine.branch] = ConsoleLog(path, [at for at, _ in moments], [size for _, size in moments])
    return found


def console_at_end(consoles: Consoles, step: StepResult) -> list[Line]:
    """What the console of the step's machine said last when the step ended."""
    logs = [log for (machine, branch), log in consoles.items() if ran_on(machine, branch, step)]
    return logs[-1].at(step.started_s + step.duration_s) if logs else []  # a branch's fork comes behind its machine
