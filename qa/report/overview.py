"""The runs of one command side by side: which step did what in which of them, and how often it failed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ConfigDict, Field

from qa.events import Outcome
from qa.report.alike import said
from qa.report.content import BAD, FlatStep, flatten
from qa.scenario.batch import Ended
from qa.scenario.results import Result

SCHEMA = 1
"""Version of the layout, as that of ``result.json``."""

MAX_CELLS = 40_000
"""Steps times runs of one script that are told: a page of more is slow in browsers, and nobody reads it."""


class RunEntry(Result):
    """One run."""

    name: str
    round: int = Field(1, description="With --repeat: which run of the same script and combination, from 1.")
    combination: dict[str, str] = Field(default_factory=dict, description="The values of the matrix.")
    outcome: Outcome
    reason: str = ""
    exit_status: int
    started: str
    duration_s: float
    folder: str = Field(description="Its results folder, relative to the overview.")


class Cell(Result):
    """What a step did in a run."""

    outcome: Outcome
    allowed_failure: bool = False
    duration_s: float = 0.0
    detail: str = ""
    said: str = Field("", description="Where it failed, the last line that its command printed.")

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure."""
        return self.outcome in BAD and not self.allowed_failure


class StepEntry(Result):
    """One step in all runs of its script."""

    index: str
    name: str = Field(description="Where the runs call it differently, with … for what differs.")
    ran: int = Field(description="In how many runs it was run.")
    failed: int
    flaky: bool = Field(description="With --repeat: it failed in some rounds of a combination and not in others.")
    runs: dict[str, Cell] = Field(description="Name of the run to what the step did there.")


class ScriptEntry(Result):
    """One script with all its runs."""

    script: str
    title: str
    axes: list[str] = Field(default_factory=list, description="The names in its matrix.")
    rounds: int = 1
    runs: list[RunEntry]
    steps: list[StepEntry]
    left_out: int = Field(0, description="Steps that passed everywhere and are not told, where there are very many.")

    @property
    def combinations(self) -> list[list[RunEntry]]:
        """The runs of each combination."""
        return [list(runs) for _, runs in itertools.groupby(self.runs, key=lambda run: run.combination)]


class Overview(Result):
    """All runs of a command."""

    schema_version: int = Field(SCHEMA, alias="schema")
    exit_status: int
    started: str = Field(description="ISO 8601, UTC.")
    duration_s: float
    planned: int = Field(description="How many runs there were to be; those that never began have no entry.")
    anima_qa: str = ""
    scripts: list[ScriptEntry]

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @property
    def runs(self) -> list[RunEntry]:
        """Those of all scripts."""
        return [run for script in self.scripts for run in script.runs]


@dataclass(frozen=True)
class Command:
    """What is known of a command beside its runs."""

    started: datetime
    ended: datetime
    planned: int
    exit_status: int


def make_overview(ended: Sequence[Ended], command: Command, out: Path) -> Overview:
    """The overview of the runs that have ``ended``, for a file in ``out``."""
    scripts: dict[Path, list[Ended]] = {}
    for one in ended:
        scripts.setdefault(one.script.path, []).append(one)
    return Overview(
        exit_status=command.exit_status,
        started=command.started.astimezone(UTC).isoformat(timespec="milliseconds"),
        duration_s=round((command.ended - command.started).total_seconds(), 6),
        planned=command.planned,
        anima_qa=next((one.result.host.anima_qa for one in ended), ""),
        scripts=[_script(path, runs, out) for path, runs in scripts.items()],
    )


def _script(path: Path, ended: Sequence[Ended], out: Path) -> ScriptEntry:
    order = list(dict.fromkeys(tuple(one.script.combination.items()) for one in ended))
    ended = sorted(ended, key=lambda one: (order.index(tuple(one.script.combination.items())), one.round))
    titles = {one.script.title for one in ended}
    steps = _steps(ended)
    told = _told(steps, len(ended))
    return ScriptEntry(
        script=str(path),
        title=titles.pop() if len(titles) == 1 else path.stem,
        axes=list(dict.fromkeys(name for one in ended for name in one.script.combination)),
        rounds=max(one.round for one in ended),
        runs=[_run(one, out) for one in ended],
        steps=told,
        left_out=len(steps) - len(told),
    )


def _run(one: Ended, out: Path) -> RunEntry:
    return RunEntry(
        name=one.name,
        round=one.round,
        combination=dict(one.script.combination),
        outcome=one.result.outcome,
        reason=one.result.reason,
        exit_status=one.result.exit_status,
        started=one.result.started,
        duration_s=one.result.duration_s,
        folder=Path(os.path.relpath(one.folder.path, out)).as_posix(),
    )


def _steps(ended: Sequence[Ended]) -> list[StepEntry]:
    """All steps of the runs, in the order of their indexes. Runs of one script have the same steps at the same indexes."""
    found: dict[str, dict[str, FlatStep]] = {}
    for one in ended:
        for flat in flatten(one.result.steps):
            found.setdefault(flat.step.index, {})[one.name] = flat
    return [_step(index, found[index], ended) for index in sorted(found, key=_order)]


def _order(index: str) -> list[int]:
    return [int(part) for part in index.split(".")]


def _step(index: str, flats: dict[str, FlatStep], ended: Sequence[Ended]) -> StepEntry:
    rounds: dict[tuple[tuple[str, str], ...], set[bool]] = {}
    for one in ended:
        if (flat := flats.get(one.name)) and flat.step.outcome != "skipped":
            rounds.setdefault(tuple(one.script.combination.items()), set()).add(flat.failed)
    return StepEntry(
        index=index,
        name=common_name([flat.step.name for flat in flats.values()]),
        ran=sum(flat.step.outcome != "skipped" for flat in flats.values()),
        failed=sum(flat.failed for flat in flats.values()),
        flaky=any(len(outcomes) > 1 for outcomes in rounds.values()),
        runs={run: _cell(flat) for run, flat in flats.items()},
    )


def _cell(flat: FlatStep) -> Cell:
    step = flat.step
    detail, last = (step.detail, said(step)) if step.outcome in BAD else ("", "")
    return Cell(outcome=step.outcome, allowed_failure=step.allowed_failure, duration_s=step.duration_s, detail=detail, said=last)


def _told(steps: Sequence[StepEntry], runs: int) -> list[StepEntry]:
    room = max(1, MAX_CELLS // runs)
    if len(steps) <= room:
        return list(steps)
    failed = [step for step in steps if step.failed]
    others = sorted((step for step in steps if not step.failed), key=lambda step: step.index.count("."))
    kept = {step.index for step in (failed + others)[:room]}
    return [step for step in steps if step.index in kept]


def common_name(names: Iterable[str]) -> str:
    """What ``names`` have in common, with … in the place of what differs."""
    words = [name.split(" ") for name in dict.fromkeys(names)]
    if len(words) == 1:
        return " ".join(words[0])
    start = _common(words)
    rest = [one[len(start) :] for one in words]
    end = _common([one[::-1] for one in rest])[::-1]
    return " ".join([*start, "…", *end])


def _common(words: Sequence[Sequence[str]]) -> list[str]:
    """What all begin with."""
    together = zip(*words, strict=False)
    return [first for first, *others in itertools.takewhile(lambda one: len(set(one)) == 1, together)]
