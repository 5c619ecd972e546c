"""What the page of an overview shows, worked out before the template sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qa.deadline import format_duration
from qa.report.alike import grouped, without_numbers
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
    """Something that went wrong, in how many runs of how many, and in which: their labels and where they tell it.

    ``said`` is the last line that the command printed.
    """

    title: str
    detail: str
    said: str
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
    causes = _causes(overview)
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


@dataclass(frozen=True)
class _Failure:
    """A step that failed by itself in some runs of its script; or the end of runs outside their steps, without an index."""

    script: ScriptEntry
    runs: list[RunEntry]
    what: str
    detail: str
    said: str = ""
    index: str = ""


def _causes(overview: Overview) -> list[Cause]:
    """What failed in most runs first. Where there are several scripts, what failed in them in the same way is one cause."""
    failures = [failure for script in overview.scripts for failure in _failures(script)]
    alone = len(overview.scripts) == 1
    groups = grouped(
        failures, lambda one: (one.index, one.detail) if alone else (without_numbers(one.said or one.detail or one.what),)
    )
    return [_cause(group, overview) for group in sorted(groups, key=_count, reverse=True)]


def _count(group: Sequence[_Failure]) -> int:
    return len({run.name for one in group for run in one.runs})


def _failures(script: ScriptEntry) -> Iterator[_Failure]:
    failures = [
        (step, run) for step in script.steps for run in script.runs if run.name in step.runs and step.runs[run.name].failed
    ]
    because_of_inner = {(outer, run.name) for step, run in failures for outer in _around(step.index)}
    for _, group in itertools.groupby(failures, key=lambda one: one[0].index):
        own = [(step, run) for step, run in group if (step.index, run.name) not in because_of_inner]
        if own:
            step, runs = own[0][0], [run for _, run in own]
            cell = step.runs[runs[0].name]
            yield _Failure(script, runs, f"step {step.index} {step.name}", cell.detail, cell.said, step.index)
    told = {run.name for _, run in failures}
    others: dict[str, list[RunEntry]] = {}
    for run in script.runs:
        if run.exit_status != 0 and run.name not in told:
            others.setdefault(run.reason, []).append(run)
    for reason, runs in others.items():
        yield _Failure(script, runs, "outside the steps", reason)


def _around(index: str) -> Iterator[str]:
    """The indexes of the steps around a step."""
    while "." in index:
        index = index.rpartition(".")[0]
        yield index


def _cause(group: Sequence[_Failure], overview: Overview) -> Cause:
    first, several = group[0], len(group) > 1
    total = len(overview.runs if several else first.script.runs)
    links = [
        (_place(one, run) if several else _label(run, one.script.rounds), href_of(run, one.index))
        for one in group
        for run in one.runs
    ]
    return Cause(
        title=one_line(first.said or first.detail or first.what, 500)
        if several
        else one_line(f"{first.script.title}: {first.what}"),
        detail=one_line(first.detail, 500) if first.said or not several else "",
        said="" if several else first.said,
        count=f"{_count(group)} of {total} runs" if total > 1 else "",
        href=href_of(first.runs[0], first.index),
        runs=links[:MAX_CAUSE_RUNS] if total > 1 else [],
        more_runs=max(0, len(links) - MAX_CAUSE_RUNS),
    )


def _place(failure: _Failure, run: RunEntry) -> str:
    """Which step of which script failed, and in which of its runs."""
    label = f" ({_label(run, failure.script.rounds)})" if len(failure.script.runs) > 1 else ""
    return one_line(f"{failure.script.title}{label}" + (f", step {failure.index}" if failure.index else ""))


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
