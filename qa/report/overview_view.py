"""What the page of an overview shows, worked out before the template sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qa.deadline import format_duration
from qa.report.overview import Overview, RunEntry, ScriptEntry
from qa.report.overview_table import TableView, href_of, make_table, word_of
from qa.report.overview_text import counted_runs, short
from qa.report.text import one_line

MAX_CAUSES = 12
"""Failures that are told at the top."""

MAX_CAUSE_RUNS = 8
"""Runs that are named beside each."""


@dataclass(frozen=True)
class Cause:
    """Something that went wrong, in how many runs of how many, and in which: their labels and where they tell it."""

    title: str
    detail: str
    count: str
    href: str
    runs: list[tuple[str, str]]
    more_runs: int


@dataclass(frozen=True)
class RunRow:
    """One run in the list of all of them."""

    name: str
    href: str
    word: str
    tone: str
    bad: bool
    reason: str
    duration: str


@dataclass(frozen=True)
class OverviewPage:
    """Everything the template needs."""

    title: str
    word: str
    tone: str
    summary: str
    context: str
    note: str
    causes: list[Cause]
    more_causes: int
    tables: list[TableView]
    runs: list[RunRow]
    several_outcomes: bool
    version: str


def make_overview_page(overview: Overview) -> OverviewPage:
    """The page of ``overview``."""
    runs = overview.runs
    failed = sum(run.exit_status != 0 for run in runs)
    causes = [cause for script in overview.scripts for cause in _causes(script)]
    missing = overview.planned - len(runs)
    titles = [one_line(script.title, 200) for script in overview.scripts]
    return OverviewPage(
        title=titles[0] if len(titles) == 1 else f"{len(titles)} scripts",
        word=f"{failed} failed" if failed else "passed",
        tone="bad" if failed else "good",
        summary=f"{counted_runs(runs)}, in {format_duration(overview.duration_s)}",
        context=overview.started.replace("T", " ").replace("+00:00", " UTC"),
        note=f"{missing} of {overview.planned} runs did not begin" if missing else "",
        causes=causes[:MAX_CAUSES],
        more_causes=max(0, len(causes) - MAX_CAUSES),
        tables=[make_table(script) for script in overview.scripts if len(script.runs) > 1],
        runs=[_run_row(run) for run in runs],
        several_outcomes=0 < failed < len(runs) or any(step.failed for script in overview.scripts for step in script.steps),
        version=one_line(overview.anima_qa),
    )


def _causes(script: ScriptEntry) -> Iterator[Cause]:
    """The steps that failed by themselves, and the ends of runs outside their steps."""
    failures = [
        (step, run) for step in script.steps for run in script.runs if run.name in step.runs and step.runs[run.name].failed
    ]
    because_of_inner = {(outer, run.name) for step, run in failures for outer in _around(step.index)}
    for _, group in itertools.groupby(failures, key=lambda one: one[0].index):
        own = [(step, run) for step, run in group if (step.index, run.name) not in because_of_inner]
        if own:
            step, runs = own[0][0], [run for _, run in own]
            yield _cause(script, f"step {step.index} {step.name}", step.runs[runs[0].name].detail, runs, step.index)
    told = {run.name for _, run in failures}
    others: dict[str, list[RunEntry]] = {}
    for run in script.runs:
        if run.exit_status != 0 and run.name not in told:
            others.setdefault(run.reason, []).append(run)
    for reason, runs in others.items():
        yield _cause(script, "outside the steps", reason, runs)


def _around(index: str) -> Iterator[str]:
    """The indexes of the steps around a step."""
    while "." in index:
        index = index.rpartition(".")[0]
        yield index


def _cause(script: ScriptEntry, what: str, detail: str, runs: Sequence[RunEntry], index: str = "") -> Cause:
    labels = [(_label(run, script.rounds), href_of(run, index)) for run in runs] if len(script.runs) > 1 else []
    return Cause(
        title=one_line(f"{script.title}: {what}"),
        detail=one_line(detail, 500),
        count=f"{len(runs)} of {len(script.runs)} runs" if labels else "",
        href=href_of(runs[0], index),
        runs=labels[:MAX_CAUSE_RUNS],
        more_runs=max(0, len(labels) - MAX_CAUSE_RUNS),
    )


def _label(run: RunEntry, rounds: int) -> str:
    """What tells a run from others of its script."""
    parts = [f"{axis}={short(value)}" for axis, value in run.combination.items()]
    parts += [f"round {run.round}"] if rounds > 1 else []
    return one_line(", ".join(parts) or run.name)


def _run_row(run: RunEntry) -> RunRow:
    word, tone = word_of(run.outcome)
    return RunRow(
        one_line(run.name),
        href_of(run),
        word,
        tone,
        run.exit_status != 0,
        one_line(run.reason, 500),
        format_duration(run.duration_s),
    )
