"""Entering a run again: from its results folder to the moment at which it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa.errors import SnapshotNotFound, SnapshotUnusable, UsageError
from qa.operations.operation import Operation
from qa.places import is_folder
from qa.report.folder import ResultsFolder
from qa.scenario.reader import Given, read_runs
from qa.scenario.results import KeptResult, RunResult, StepResult
from qa.scenario.script import Script
from qa.scenario.start import start_at
from qa.scenario.state import Reentry

PASSED_BEFORE = "passed in the run before"


@dataclass(frozen=True)
class KeptRun:
    """A run whose machines were kept as they were when a step failed."""

    folder: Path
    result: RunResult
    kept: KeptResult

    def check(self, look: Callable[[str], object]) -> None:
        """See whether the frozen machines are still there; ``look`` opens one by its id.

        Raises:
            SnapshotNotFound: one was removed.
            SnapshotUnusable: one is damaged, or does not fit this host any more.
        """
        again = f"run the script again: anima-qa run {self.kept.script}"
        for name, identity in self.kept.machines.items():
            try:
                look(identity)
            except SnapshotNotFound as error:
                message = f"{name}, as {self.folder.name} had kept it, was removed to make room"
                raise SnapshotNotFound(message, hint=again) from error
            except SnapshotUnusable as error:
                message = f"{name}, as {self.folder.name} had kept it, cannot be used: {error.message}"
                raise SnapshotUnusable(message, hint=again) from error

    def machine(self, name: str | None) -> str:
        """The machine ``name``; without a name, the one that the failed step was for.

        Raises:
            UsageError: it was not kept.
        """
        wanted = name or _machine_of(self.result.steps, self.kept.step) or next(iter(self.kept.machines))
        if wanted not in self.kept.machines:
            raise UsageError(f"{wanted!r} was not kept", hint=f"there are: {', '.join(self.kept.machines)}")
        return wanted

    def script(self, path: Path | None, operations: Mapping[str, Operation], variables: Mapping[str, str]) -> Script:
        """The script as it is on disk now: the one of the run, or the one at ``path``.

        Args:
            variables: take the place of those that the run was given.

        Raises:
            ScriptError: it cannot be read, or has mistakes.
        """
        given = Given({**self.kept.variables, **variables}, self.kept.image)
        runs = read_runs(path or Path(self.kept.script), operations, given)
        fitting = [run for run in runs if run.name == self.result.name] if len(runs) > 1 else runs
        if not fitting:
            message = f"no combination of the script's matrix is called {self.result.name!r}"
            raise UsageError(message, hint="choose one with --var")
        return fitting[0]

    def enter(self, script: Script) -> Reentry:
        """How ``script`` goes on from the failed step.

        Raises:
            UsageError: it has no such step any more.
        """
        start = start_at(script.steps, self.kept.step, _branches(self.result.steps), PASSED_BEFORE)
        return Reentry(self.folder, dict(self.kept.machines), start)


def read_kept(results: Path) -> KeptRun:
    """The run in the folder ``results``.

    Raises:
        UsageError: there is none, or nothing was kept of it.
    """
    if not is_folder(results):
        hint = "name the folder that the run has printed; results/latest is the last one's"
        raise UsageError(f"there is no results folder {results}", hint=hint)
    folder = results.resolve()
    result = ResultsFolder(folder).read_result()
    if result.kept is None or not result.kept.machines:
        why = "it passed" if result.outcome == "passed" else f"it ended with: {result.reason or result.outcome}"
        hint = "machines are kept when a step fails, unless the guest died or --no-keep-failed was given; notes of the run say so"
        raise UsageError(f"no machine was kept of {folder.name}: {why}", hint=hint)
    return KeptRun(folder, result, result.kept)


def _all(steps: Sequence[StepResult]) -> Iterable[StepResult]:
    for step in steps:
        yield step
        yield from _all(step.steps)


def _machine_of(steps: Sequence[StepResult], index: str) -> str | None:
    return next((step.machine for step in _all(steps) if step.index == index), None)


def _branches(steps: Sequence[StepResult]) -> dict[str, str]:
    """Index to name of all branches."""
    around = [step for step in _all(steps) if step.verb in {"branches", "fork"}]
    return {lane.index: lane.name for step in around for lane in step.steps}
