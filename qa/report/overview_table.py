"""A script's steps against its combinations, as the page of an overview shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from qa.deadline import format_duration
from qa.report.content import BAD
from qa.report.overview import Cell, RunEntry, ScriptEntry, StepEntry
from qa.report.overview_text import counted_runs, short
from qa.report.text import one_line

ROUND_COLUMNS = 24
"""Runs of a repeated script that get a column each; where there are more, those of a combination share one."""
WORDS = {"passed": "ok", "interrupted": "stopped", "skipped": "–"}
RUN_WORDS = {"interrupted": "stopped"}
TONES = {"passed": "good", "skipped": "quiet", "timeout": "late", "interrupted": "late"}


@dataclass(frozen=True)
class CellView:
    """What a step, or a whole run, did: a word that leads to the report."""

    word: str
    tone: str
    small: str = ""
    href: str = ""
    title: str = ""


@dataclass(frozen=True)
class Head:
    """A value at the head of one or several columns."""

    text: str
    title: str
    span: int


@dataclass(frozen=True)
class RowView:
    """A step in all columns. ``count`` is how often it failed, empty where runs were not repeated."""

    index: str
    name: str
    depth: int
    bad: bool
    count: str
    flaky: bool
    cells: list[CellView]


@dataclass(frozen=True)
class TableView:
    """One script: its combinations side by side."""

    title: str
    script: str
    summary: str
    heads: list[tuple[str, list[Head]]]
    outcomes: list[CellView]
    rows: list[RowView]
    repeated: bool
    note: str


_Column = list[RunEntry]


def make_table(script: ScriptEntry) -> TableView:
    """The table of a script that has several runs."""
    repeated = script.rounds > 1
    apart = not repeated or len(script.runs) <= ROUND_COLUMNS
    columns = [[run] for run in script.runs] if apart else script.combinations
    left_out = f"{script.left_out:,} more steps passed everywhere; the reports have them" if script.left_out else ""
    return TableView(
        title=one_line(script.title, 200),
        script=one_line(script.script),
        summary=counted_runs(script.runs),
        heads=list(_heads(script, columns, rounds=repeated and apart)),
        outcomes=[_outcome(runs) for runs in columns],
        rows=[_row(step, columns, repeated=repeated) for step in script.steps],
        repeated=repeated,
        note=left_out,
    )


def _heads(script: ScriptEntry, columns: Sequence[_Column], *, rounds: bool) -> Iterator[tuple[str, list[Head]]]:
    """For each axis its values; equal ones beside each other share a cell, within those of the axes above."""
    above: list[tuple[str, ...]] = [() for _ in columns]
    for axis in script.axes:
        above = [(*values, runs[0].combination.get(axis, "–")) for values, runs in zip(above, columns, strict=True)]
        groups = [(values[-1], len(list(group))) for values, group in itertools.groupby(above)]
        yield one_line(axis), [Head(short(value), one_line(value, 1000), span) for value, span in groups]
    if rounds:
        yield "round", [Head(str(runs[0].round), one_line(runs[0].name), 1) for runs in columns]
    elif not script.axes:
        yield "run", [Head(short(runs[0].name), one_line(runs[0].name), 1) for runs in columns]


def _outcome(runs: _Column) -> CellView:
    failed = [run for run in runs if run.exit_status != 0]
    href, duration = href_of((failed or runs)[0]), format_duration(sum(run.duration_s for run in runs) / len(runs))
    if len(runs) == 1:
        word, tone = word_of(runs[0].outcome)
        return CellView(word, tone, duration, href, one_line(runs[0].reason or runs[0].name, 500))
    word = f"{len(failed)} of {len(runs)} failed" if failed else f"{len(runs)} passed"
    return CellView(word, _tone(len(failed), len(runs)), f"{duration} each", href)


def _row(step: StepEntry, columns: Sequence[_Column], *, repeated: bool) -> RowView:
    return RowView(
        index=step.index,
        name=one_line(step.name),
        depth=min(step.index.count("."), 6),
        bad=step.failed > 0,
        count=f"{step.failed} of {step.ran}" if repeated and step.failed else "",
        flaky=step.flaky,
        cells=[_cell(step, runs) for runs in columns],
    )


def _cell(step: StepEntry, runs: _Column) -> CellView:
    cells = [(run, step.runs[run.name]) for run in runs if run.name in step.runs]
    if not cells:
        return CellView("", "quiet")
    told = [one for one in cells if one[1].outcome != "skipped"] or cells
    failed = [(run, cell) for run, cell in told if cell.failed]
    run, cell = (failed or told)[0]
    if len(runs) == 1 or not failed:
        mean = sum(one.duration_s for _, one in told) / len(told)
        return _single(step, run, cell.model_copy(update={"duration_s": mean}))
    tone, href = _tone(len(failed), len(told)), href_of(run, step.index)
    return CellView(f"{len(failed)} of {len(told)}", tone, "failed", href, one_line(cell.detail, 500))


def _single(step: StepEntry, run: RunEntry, cell: Cell) -> CellView:
    word, tone = WORDS.get(cell.outcome, cell.outcome), TONES.get(cell.outcome, "bad")
    if cell.allowed_failure and cell.outcome in BAD:
        word, tone = "allowed", "quiet"
    small = "" if cell.outcome == "skipped" else format_duration(cell.duration_s)
    return CellView(word, tone, small, href_of(run, step.index), one_line(cell.detail, 500))


def _tone(failed: int, ran: int) -> str:
    return "good" if not failed else "bad" if failed == ran else "late"


def word_of(outcome: str) -> tuple[str, str]:
    """The word for a run's outcome, and its tone."""
    return RUN_WORDS.get(outcome, outcome), TONES.get(outcome, "bad")


def href_of(run: RunEntry, index: str = "") -> str:
    """The way from the overview to a run's report, and to a step in it."""
    return f"./{quote(run.folder)}/report.html" + (f"#step-{index}" if index else "")
