"""Runs side by side on a terminal: a line for each, and a letter for each of its steps."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from rich.console import Console

from qa.deadline import format_duration
from qa.report.failures import WORDS, say
from qa.report.overview import Cell, Overview, RunEntry, ScriptEntry, StepEntry
from qa.report.text import middle, one_line

MAX_STEPS = 60
"""Letters for steps in a line."""
MAX_VALUE = 36
"""Characters of a value of the matrix: images may be paths and addresses."""
MAX_FAILED = 20
"""Failed steps that are listed; the overview has all."""

LETTERS = {"passed": ".", "failed": "F", "error": "E", "timeout": "T", "interrupted": "S", "skipped": "-"}
LEGEND = ". passed, F failed, E broken off, T timed out, S stopped, - not run, a failed as allowed"


def print_overview(overview: Overview, console: Console) -> None:
    """Show the runs of each script that has several, and how often each step failed where they were repeated."""
    several = [script for script in overview.scripts if len(script.runs) > 1]
    for script in several:
        _print_script(script, console)
    if any(letter in "FETSa-" for script in several for runs in script.combinations for letter in _letters(script, runs)):
        say(console)
        say(console, (f"  {LEGEND}", "dim"))


def _print_script(script: ScriptEntry, console: Console) -> None:
    rows = [_row(script, runs) for runs in script.combinations]
    head = [*script.axes, "outcome", "time", "steps"]
    widths = [max(len(row[column][0]) for row in [*rows, [(name, "") for name in head]]) for column, name in enumerate(head)]
    say(console)
    say(console, (one_line(script.title), "bold"), f": {counted_runs(script.runs)}")
    say(console, ("  " + "  ".join(f"{name:<{width}}" for name, width in zip(head, widths, strict=True)).rstrip(), "dim"))
    for row in rows:
        cells = [(f"  {text:<{width}}", style) for (text, style), width in zip(row, widths, strict=True)]
        say(console, *cells[:-1], (f"  {row[-1][0]}", row[-1][1]))
    if script.rounds > 1:
        _print_failed(script, console)


def _row(script: ScriptEntry, runs: Sequence[RunEntry]) -> list[tuple[str, str]]:
    values = [(short(runs[0].combination.get(axis, "-")), "") for axis in script.axes]
    failed = sum(run.exit_status != 0 for run in runs)
    outcome = WORDS[runs[0].outcome]
    if len(runs) > 1:
        outcome = (f"{failed} of {len(runs)} failed", "bold red" if failed else "green")
    time = format_duration(statistics.median(run.duration_s for run in runs))
    return [*values, outcome, (time, "dim"), (_letters(script, runs), "")]


def _letters(script: ScriptEntry, runs: Sequence[RunEntry]) -> str:
    """A letter for each top-level step: the worst that it did in these runs."""
    steps = [step for step in script.steps if "." not in step.index]
    letters = "".join(_letter([step.runs[run.name] for run in runs if run.name in step.runs]) for step in steps)
    return letters if len(letters) <= MAX_STEPS else letters[: MAX_STEPS - 1] + "…"


def _letter(cells: Sequence[Cell]) -> str:
    for cell in cells:
        if cell.failed:
            return LETTERS[cell.outcome]
    if any(cell.allowed_failure and cell.outcome not in ("passed", "skipped") for cell in cells):
        return "a"
    return LETTERS["skipped"] if all(cell.outcome == "skipped" for cell in cells) else LETTERS["passed"]


def _print_failed(script: ScriptEntry, console: Console) -> None:
    failed = sorted((step for step in script.steps if step.failed), key=lambda step: -step.failed)
    if not failed:
        say(console, f"  no step failed in {script.rounds} rounds")
        return
    say(console, "  how often steps failed:")
    for step in failed[:MAX_FAILED]:
        word, style = ("flaky", "bold yellow") if step.flaky else ("", "")
        where = "".join(f"; {text}" for text in _where(script, step))
        count = f"{step.failed} of {step.ran}"
        say(console, f"  {count:>12}  ", (f"{word:<5}", style), f"  step {step.index}  {one_line(step.name, 100)}{where}")
    if len(failed) > MAX_FAILED:
        say(console, f"  and {len(failed) - MAX_FAILED} more steps, see the overview")


def _where(script: ScriptEntry, step: StepEntry) -> Iterator[str]:
    """With which combinations it failed, where there are several."""
    combinations = script.combinations
    for runs in combinations:
        failed = sum(step.runs[run.name].failed for run in runs if run.name in step.runs)
        if failed and len(combinations) > 1:
            yield f"{failed} with " + ", ".join(f"{name}={short(value)}" for name, value in runs[0].combination.items())


def short(value: str) -> str:
    """A value of a matrix in few characters: of a path or an address the last part, which says most."""
    last = value.partition("#")[0].rstrip("/").rpartition("/")[2]
    return middle(last or value, MAX_VALUE)


def counted_runs(runs: Sequence[RunEntry]) -> str:
    """``6 runs, 1 failed``."""
    failed = sum(run.exit_status != 0 for run in runs)
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}, {f'{failed} failed' if failed else 'all passed'}"
