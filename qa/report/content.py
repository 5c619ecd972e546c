"""What every report needs to know of a result: its steps in one row, which failed, and what the evidence is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from qa.events import Outcome
from qa.report.folder import ResultsFolder, evidence_title
from qa.report.text import Clip, Line, coloured_lines, line_text, read_clip
from qa.scenario.results import RunResult, StepResult

PICTURES = (".png", ".jpg", ".jpeg")
CONSOLE_TAIL_BYTES = 16 << 10
"""Bytes of a console that are read to find its last lines: two hundred usual ones."""

OWN_TEXTS = 4
OWN_TEXT_BYTES = 16 << 10
"""Texts of evidence, and bytes of each, that are told beside a failure; the folder has all."""

BAD: tuple[Outcome, ...] = ("failed", "error", "timeout", "interrupted")


@dataclass(frozen=True)
class FlatStep:
    """A step and the names of the steps it is inside of, outermost first."""

    step: StepResult
    parents: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure: it went wrong, and the script did not allow that."""
        return self.step.outcome in BAD and not self.step.allowed_failure

    @property
    def is_cause(self) -> bool:
        """Whether it failed by itself, not because a step inside it did."""
        return self.failed and not any(inner.failed for inner in flatten(self.step.steps))


def flatten(steps: Iterable[StepResult], parents: tuple[str, ...] = (), *, allowed: bool = False) -> Iterator[FlatStep]:
    """All steps, each before those inside it. What fails inside a step that may fail may fail as well (``allowed``)."""
    for step in steps:
        may_fail = allowed or step.allowed_failure
        yield FlatStep(step.model_copy(update={"allowed_failure": True}) if may_fail else step, parents)
        yield from flatten(step.steps, (*parents, step.name), allowed=may_fail)


def causes(result: RunResult) -> list[FlatStep]:
    """The steps that failed by themselves, in the order of the script."""
    return [flat for flat in flatten(result.steps) if flat.is_cause]


def main_cause(result: RunResult) -> StepResult | None:
    """The failed step to show first: the first that ended as the run did, else the first."""
    failed = [flat.step for flat in causes(result)]
    return next((step for step in failed if step.outcome == result.outcome), failed[0] if failed else None)


def is_picture(path: str) -> bool:
    """Whether the evidence at ``path`` is a screenshot."""
    return path.lower().endswith(PICTURES)


def pictures(paths: Iterable[str]) -> list[str]:
    """The screenshots among ``paths``."""
    return [path for path in paths if is_picture(path)]


def last_picture(result: RunResult, step: StepResult | None) -> str:
    """The screenshot that shows best what was seen when ``step`` (or the run) ended; empty where there is none."""
    own = pictures(step.evidence if step else result.evidence)
    if step and step.screen:
        return step.screen.frame
    if own:
        return own[-1]
    taken = [path for flat in flatten(result.steps) for path in pictures(flat.step.evidence)]
    return (pictures(result.evidence) or taken or [""])[-1] if step is None else ""


def console_tail(folder: ResultsFolder, result: RunResult, step: StepResult | None, lines: int) -> str:
    """The console's last lines as they stood when ``step`` (or the run) ended: the evidence, else the log of its machine."""
    return "\n".join(line_text(line) for line in console_lines(folder, result, step, lines))


def console_lines(folder: ResultsFolder, result: RunResult, step: StepResult | None, lines: int) -> list[Line]:
    """As `console_tail`, with colours."""
    evidence = [path for path in (step.evidence if step else result.evidence) if "console" in evidence_title(path)]
    logs = [one.console for one in result.machines if one.console and (step is None or step.machine in (None, one.name))]
    for name in (*evidence, *logs):
        path = folder.find(name)
        if path is None or is_picture(name):
            continue
        try:
            clip = read_clip(path, 0, CONSOLE_TAIL_BYTES)
        except OSError:
            continue
        rows = list(coloured_lines(clip.tail or clip.head))
        while rows and not line_text(rows[-1]):
            rows.pop()
        if rows:
            return rows[-lines:]
    return []


def own_texts(folder: ResultsFolder, result: RunResult, step: StepResult | None) -> list[tuple[str, Clip]]:
    """Title and text of the evidence that ``step`` (or the run) has of its own: what was seen last, a unit's journal.

    Consoles are left out, and a command's output: both are told elsewhere.
    """
    texts = []
    for name in step.evidence if step else result.evidence:
        title, path = evidence_title(name), folder.find(name)
        is_output = step is not None and step.command is not None and title in ("stdout", "stderr", "output", "exit code")
        if path is None or is_picture(name) or is_output or "console" in title:
            continue
        with suppress(OSError):
            texts.append((title, read_clip(path, OWN_TEXT_BYTES // 4, OWN_TEXT_BYTES * 3 // 4)))
    return texts[:OWN_TEXTS]


def count_steps(result: RunResult) -> dict[str, int]:
    """How many steps (those that hold no others) ended in which way; ``allowed`` are failures that the script allowed."""
    counts: dict[str, int] = {}
    for flat in flatten(result.steps):
        if not flat.step.steps:
            outcome = "allowed" if flat.step.outcome in BAD and not flat.failed else flat.step.outcome
            counts[outcome] = counts.get(outcome, 0) + 1
    return counts
