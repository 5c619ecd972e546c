"""A step that runs: what is known of it so far, and the result that it becomes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qa.events import Outcome
from qa.scenario.results import CommandOutcome, ScreenResult, StepResult
from qa.scenario.script import Step
from qa.scenario.start import Start
from qa.scenario.verdict import Verdict


@dataclass
class Done:
    """What came out of one try of a step so far; what is known stays when it is cut short."""

    command: CommandOutcome | None = None
    screen: ScreenResult | None = None
    detail: str = ""
    evidence: list[str] = field(default_factory=list)
    steps: list[StepResult] = field(default_factory=list)
    verdict: Verdict | None = None

    def blame(self, verdict: Verdict | None) -> None:
        """Take over the verdict on a step inside; the evidence stays with the one inside."""
        if verdict is None:
            return
        self.verdict = replace(verdict, error=None)
        failed = [one for one in self.steps if one.outcome == verdict.outcome and not one.allowed_failure]
        if failed:
            self.detail = f"step {failed[-1].index} ({failed[-1].name}) did not pass"


@dataclass
class Running:
    """A step that runs.

    Attributes:
        into: where its result goes.
        start: where to begin among the steps inside it; None: at the first.
        tolerant: a failure of it does not end the run, because a step around it may fail or is tried again.
    """

    step: Step
    index: str
    into: list[StepResult]
    values: Mapping[str, str]
    start: Start | None = None
    tolerant: bool = False
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    attempts: int = 1
    done: Done = field(default_factory=Done)

    @property
    def duration_s(self) -> float:
        """Seconds until its end, or until now."""
        return (self.ended or time.monotonic()) - self.began

    @property
    def allowed(self) -> bool:
        """Whether it failed and may."""
        verdict = self.done.verdict
        return bool(verdict and self.step.modifiers.allow_failure and verdict.can_be_allowed)

    @property
    def tolerates(self) -> bool:
        """Whether a failure inside it, in this try, does not end the run."""
        retry = self.step.modifiers.retry
        return self.tolerant or self.step.modifiers.allow_failure or bool(retry and self.attempts <= retry.times)

    @property
    def detail(self) -> str:
        """One sentence: why it failed, or what was found."""
        verdict = self.done.verdict
        return verdict.reason if verdict and verdict.error else self.done.detail

    def result(self, outcome: Outcome, run_began: float) -> StepResult:
        """The result; ``run_began`` is the run's start in monotonic time."""
        step, done, verdict = self.step, self.done, self.done.verdict
        return StepResult(
            index=self.index,
            name=step.name,
            verb=step.verb,
            machine=step.machine,
            outcome=outcome,
            allowed_failure=self.allowed,
            started_s=round(self.began - run_began, 6),
            duration_s=round(self.duration_s, 6),
            attempts=self.attempts,
            detail=self.detail,
            hint=verdict.hint if verdict and verdict.error else "",
            place=step.place,
            command=done.command,
            screen=done.screen,
            evidence=done.evidence,
            steps=done.steps,
        )
