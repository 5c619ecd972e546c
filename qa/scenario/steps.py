"""Runs steps one after the other and keeps what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qa.deadline import Deadline
from qa.events import Bus, Outcome, StepFinished, StepStarted
from qa.report.folder import ResultsFolder
from qa.scenario import evidence
from qa.scenario.expectations import check_expectations, check_in_time, command_outcome, is_command
from qa.scenario.machines import ScriptMachine
from qa.scenario.problems import ScriptRejected
from qa.scenario.results import CommandOutcome, StepResult
from qa.scenario.script import Call, Group, Record, Step
from qa.scenario.stop import Stop
from qa.scenario.variables import ROUND
from qa.scenario.verdict import Verdict, judge

DETAIL_LENGTH = 300
"""What was found is told in one line; the whole text of a command is in its output."""


@dataclass
class Done:
    """What came out of one try of a step so far; what is known stays when it is cut short."""

    command: CommandOutcome | None = None
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
    """A step that runs: which, where its result goes (``into``), and what came out so far."""

    step: Step
    index: str
    into: list[StepResult]
    values: Mapping[str, str]
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    attempts: int = 1
    done: Done = field(default_factory=Done)


@dataclass(frozen=True)
class StepRunner:
    """Runs the steps of one run.

    ``values`` has the variables that are known only now; ``began`` is the run's start in monotonic time; ``tcg_factor``
    multiplies the limits of steps under software emulation.
    """

    run: str
    machines: Mapping[str, ScriptMachine]
    bus: Bus
    folder: ResultsFolder
    stop: Stop
    began: float
    values: Mapping[str, str]
    tcg_factor: float = 1.0

    async def sequence(
        self, steps: Sequence[Step], into: list[StepResult], *, prefix: str = "", values: Mapping[str, str] | None = None
    ) -> Verdict | None:
        """Run ``steps``, adding their results to ``into``; the verdict on the first that failed, after which none runs.

        Also when it is cancelled, each step has its result.
        """
        verdict: Verdict | None = None
        try:
            for number, step in enumerate(steps, 1):
                running = Running(step, f"{prefix}{number}", into, self.values if values is None else values)
                verdict = await self._step(running)
                if verdict:
                    break
        finally:
            self.skip(steps[len(into) :], into, prefix, "an earlier step did not pass")
        return verdict

    def skip(self, steps: Sequence[Step], into: list[StepResult], prefix: str = "", why: str = "") -> None:
        """Add ``steps`` as skipped to ``into``."""
        for step in steps:
            running = Running(step, f"{prefix}{len(into) + 1}", into, self.values)
            running.done.detail = why
            self._finish(running, "skipped")

    async def _step(self, running: Running) -> Verdict | None:
        """Run one step with its modifiers; the verdict, where the run must end with it."""
        try:
            if running.step.late:
                running.step = running.step.late(running.values)
        except ScriptRejected as error:
            running.done.verdict = judge(error, in_step=True)
            self._start(running)
            return self._conclude(running)
        step = running.step
        if not step.applies:
            running.done.detail = f"not so: {step.modifiers.when}"
            self._finish(running, "skipped")
            return None
        self._start(running)
        try:
            await self._tries(running)
            running.ended = time.monotonic()  # what follows is our own work
            verdict = running.done.verdict
            if verdict and verdict.error:
                machine = self.machines.get(step.machine)
                running.done.evidence += await evidence.collect(self.folder, running.index, machine, verdict.evidence)
        except asyncio.CancelledError:
            self._cut_short(running)
            raise
        return self._conclude(running)

    def _conclude(self, running: Running) -> Verdict | None:
        verdict, step = running.done.verdict, running.step
        self._finish(running, verdict.outcome if verdict else "passed")
        if verdict is None or (step.modifiers.allow_failure and verdict.can_be_allowed):
            return None
        return replace(verdict, reason=f"step {running.index} ({step.name}): {verdict.reason}") if verdict.error else verdict

    async def _tries(self, running: Running) -> None:
        retry = running.step.modifiers.retry
        while True:
            await self._try(running)
            verdict = running.done.verdict
            if retry is None or verdict is None or not verdict.can_be_retried or running.attempts > retry.times:
                return
            await asyncio.sleep(retry.delay)
            running.attempts += 1
            running.done = Done()

    async def _try(self, running: Running) -> None:
        """One try, within the step's limit. What went wrong is in ``done.verdict``."""
        limit = running.step.modifiers.timeout
        try:
            if limit is None:
                await self._act(running)
            else:
                factor = self.tcg_factor if self.machines[running.step.machine].accel == "tcg" else 1.0
                await Deadline.after(limit, factor).wait_for(self._act(running), f"the end of step {running.index}")
        except Exception as error:  # every error becomes a result; those that are not expected, as defects
            running.done.verdict = judge(error, in_step=True)
            result = getattr(error, "result", None)
            if is_command(result):
                running.done.command = command_outcome(result)

    async def _act(self, running: Running) -> None:
        machine, done = self.machines[running.step.machine], running.done
        match running.step.action:
            case Group(steps=steps, rounds=None):
                done.blame(await self.sequence(steps, done.steps, prefix=f"{running.index}.", values=running.values))
            case Group() as group:
                await self._rounds(running, group)
            case Record(text=str(text)):
                done.detail = text
            case Record(command=command):
                self._take(running, await machine.execute(command or ""))
            case Call(operation=operation, arguments=arguments):
                self._take(running, await operation(machine, arguments))

    async def _rounds(self, running: Running, group: Group) -> None:
        """Each round is a step of its own in the results."""
        for number in range(1, (group.rounds or 1) + 1):
            part = replace(running.step, name=f"round {number} of {group.rounds}")
            values = {**running.values, ROUND: str(number)}
            inside = Running(part, f"{running.index}.{number}", running.done.steps, values)
            self._start(inside)
            try:
                verdict = await self.sequence(group.steps, inside.done.steps, prefix=f"{inside.index}.", values=values)
            except asyncio.CancelledError:
                self._cut_short(inside)
                raise
            inside.done.blame(verdict)
            self._finish(inside, verdict.outcome if verdict else "passed")
            if verdict:
                running.done.blame(verdict)
                return

    def _take(self, running: Running, result: object) -> None:
        """Keep what an operation gave, and compare it with what is expected."""
        done = running.done
        if is_command(result):
            done.command = command_outcome(result)
            check_in_time(result)
        elif isinstance(result, Path):
            if result.absolute().is_relative_to(self.folder.path.absolute()):
                done.evidence.append(self.folder.relative(result))
            else:
                done.detail = str(result)
        elif isinstance(result, str):
            done.detail = " ".join(result.split())[:DETAIL_LENGTH]
        if running.step.modifiers.expect:
            check_expectations(running.step.modifiers.expect, result)

    def _cut_short(self, running: Running) -> None:
        """A step that was cancelled: by the wish to stop, or by the limit of a step around it."""
        running.done.verdict = None
        if self.stop.requested:
            running.done.detail = self.stop.reason
            self._finish(running, "interrupted")
        else:
            running.done.detail = "the time limit of the step around it passed"
            self._finish(running, "timeout")

    def _start(self, running: Running) -> None:
        step = running.step
        self.bus.emit(StepStarted(run=self.run, index=running.index, name=step.name, verb=step.verb, machine=step.machine))

    def _finish(self, running: Running, outcome: Outcome) -> None:
        step, done = running.step, running.done
        duration = (running.ended or time.monotonic()) - running.began
        verdict = done.verdict
        detail = verdict.reason if verdict and verdict.error else done.detail
        allowed = bool(verdict and step.modifiers.allow_failure and verdict.can_be_allowed)
        running.into.append(
            StepResult(
                index=running.index,
                name=step.name,
                verb=step.verb,
                machine=step.machine,
                outcome=outcome,
                allowed_failure=allowed,
                started_s=round(running.began - self.began, 6),
                duration_s=round(duration, 6),
                attempts=running.attempts,
                detail=detail,
                hint=verdict.hint if verdict and verdict.error else "",
                place=step.place,
                command=done.command,
                evidence=done.evidence,
                steps=done.steps,
            )
        )
        self.bus.emit(
            StepFinished(
                run=self.run,
                index=running.index,
                name=step.name,
                verb=step.verb,
                machine=step.machine,
                outcome=outcome,
                duration_s=duration,
                detail=detail,
                allowed_failure=allowed,
            )
        )
