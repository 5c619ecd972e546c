"""Runs of one command as they would have ended, for the tests of overviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from report_samples import HOST, machine

from qa.report.folder import ResultsFolder
from qa.report.overview import Command, Overview, make_overview
from qa.scenario.batch import Ended
from qa.scenario.results import RunResult, StepResult
from qa.scenario.script import Script

BEGAN = datetime(2025, 11, 20, 10, 41, 7, tzinfo=UTC)
STATUS = {"passed": 0, "failed": 1, "timeout": 1, "error": 4, "interrupted": 130}


def step(index: str, name: str, outcome: str = "passed", detail: str = "", **more: object) -> StepResult:
    fields = {"index": index, "name": name, "verb": "succeed", "outcome": outcome, "started_s": 1.0, "duration_s": 1.2}
    return StepResult.model_validate({**fields, "machine": "machine", "detail": detail, **more})


def ended(
    out: Path,
    steps: Sequence[StepResult],
    combination: Mapping[str, str] | None = None,
    *,
    title: str = "hello",
    round: int = 1,  # noqa: A002
    outcome: str = "passed",
    reason: str = "",
    rounds: int = 1,
) -> Ended:
    """A run whose folder is there, without its reports."""
    combination = combination or {}
    name = title + (f" ({', '.join(f'{key}={value}' for key, value in combination.items())})" if combination else "")
    path = Path(f"{title}.yaml")
    run = f"{name}, round {round}" if rounds > 1 else name
    result = RunResult.model_validate(
        {
            "name": name,
            "script": str(path),
            "outcome": outcome,
            "reason": reason,
            "exit_status": STATUS[outcome],
            "started": BEGAN.isoformat(),
            "duration_s": 9.3,
            "host": HOST,
            "machines": [machine()],
            "steps": list(steps),
        }
    )
    script = Script(path, name, "warm", (), {}, (), title=title, combination=combination)
    return Ended(run, result, ResultsFolder.create(out, run), script, round)


def overview(out: Path, runs: Sequence[Ended], planned: int | None = None) -> Overview:
    status = max(one.result.exit_status for one in runs)
    return make_overview(runs, Command(BEGAN, BEGAN + timedelta(seconds=61), planned or len(runs), status), out)


def matrix(out: Path, images: Sequence[str] = ("builtin", "debian"), cpus: Sequence[str] = ("1", "2")) -> list[Ended]:
    """A run for each combination; those with the last image and more than one processor fail at the third step."""
    runs = []
    for image in images:
        for count in cpus:
            bad = image == images[-1] and count != "1"
            steps = [
                step("1", "wait_for_unit: nginx"),
                step("2", "the page is there", steps=[step("2.1", f"succeed: curl -fsS http://localhost/{count}")]),
                step(
                    "3",
                    f"succeed: test $(nproc) = {count}",
                    "failed" if bad else "passed",
                    "exit code 1, expected 0" if bad else "",
                ),
                step("4", "it may fail", "failed", "it did", allowed_failure=True),
                step("5", "screenshot", "skipped" if bad else "passed"),
            ]
            outcome = "failed" if bad else "passed"
            reason = "step 3 (test): exit code 1, expected 0" if bad else ""
            runs.append(ended(out, steps, {"image": image, "cpus": count}, title="page", outcome=outcome, reason=reason))
    return runs


def repeated(out: Path, rounds: int = 10, combinations: Sequence[Mapping[str, str]] = ({},)) -> list[Ended]:
    """Rounds of which every third fails at the second step, and all at the third, which may not matter."""
    runs = []
    for number in range(1, rounds + 1):
        for combination in combinations:
            bad = number % 3 == 0
            steps = [
                step("1", "boot"),
                step("2", "the service answers", "timeout" if bad else "passed", "nothing on port 80 after 5 s" if bad else ""),
                step("3", "the end", "skipped" if bad else "passed"),
            ]
            outcome = "timeout" if bad else "passed"
            runs.append(ended(out, steps, combination, title="flaky", round=number, outcome=outcome, rounds=rounds))
    return runs
