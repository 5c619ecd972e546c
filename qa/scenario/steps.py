"""Runs steps one after the other and keeps what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qa.deadline import Deadline
from qa.errors import MachineOff, PolicyRefused
from qa.events import Bus, Outcome, StepFinished, StepStarted
from qa.operations.calls import Facts, facts_of
from qa.operations.gate import Door
from qa.operations.operation import Arguments, Operation, by_name
from qa.report.folder import ResultsFolder
from qa.scenario import evidence
from qa.scenario.compound import run_branches, run_rounds
from qa.scenario.expectations import check_expectations, check_in_time, command_outcome, is_command
from qa.scenario.keeping import Keeper
from qa.scenario.lanes import Forking
from qa.scenario.machines import ScriptMachine
from qa.scenario.problems import ScriptRejected
from qa.scenario.results import StepResult
from qa.scenario.running import Done, Running
from qa.scenario.script import Branches, Call, Group, Record, Step
from qa.scenario.sights import describe_sight, is_sight, keep_sight
from qa.scenario.start import Start
from qa.scenario.stop import Stop
from qa.scenario.verdict import Verdict, judge

DETAIL_LENGTH = 300
"""What was found is told in one line; the whole text of a command is in its output."""


@dataclass(frozen=True)
class StepRunner:
    """Runs the steps of one run.

    Attributes:
        values: the variables that are known only now.
        began: the run's start in monotonic time.
        forking: what branches get their machines with.
        keeper: keeps the machines of a step that failed in a branch.
        door: operations pass it.
        tcg_factor: multiplies the limits of steps under software emulation.
        branch: the branch that all of this happens in; empty outside of any.
    """

    run: str
    machines: Mapping[str, ScriptMachine]
    bus: Bus
    folder: ResultsFolder
    stop: Stop
    began: float
    values: Mapping[str, str]
    forking: Forking
    keeper: Keeper
    door: Door = field(default_factory=Door)
    tcg_factor: float = 1.0
    branch: str = ""

    async def sequence(
        self,
        steps: Sequence[Step],
        into: list[StepResult],
        *,
        around: Running | None = None,
        start: Start | None = None,
        after: Callable[[StepResult], Awaitable[None]] | None = None,
    ) -> Verdict | None:
        """Run ``steps``, adding their results to ``into``; the verdict on the first that failed, after which none runs.

        Also when it is cancelled, each step has its result.

        Args:
            around: the step that these are inside of.
            start: where to begin; at the first where it is not given.
            after: called after each step that did not end the run.
        """
        prefix = f"{around.index}." if around else ""
        values = around.values if around else self.values
        verdict: Verdict | None = None
        why = "an earlier step did not pass"
        if start:
            self.skip(steps[: start.number - 1], into, prefix, start.why)
        try:
            for number, step in enumerate(steps[len(into) :], len(into) + 1):
                inside = start.inside if start and number == start.number else None
                running = Running(step, f"{prefix}{number}", into, values, inside, bool(around and around.tolerates))
                verdict = await self._step(running)
                if verdict:
                    break
                if start and number == start.number and start.cut:
                    why = start.cut
                    break
                if after:
                    await after(into[-1])
        finally:
            self.skip(steps[len(into) :], into, prefix, why)
        return verdict

    def skip(self, steps: Sequence[Step], into: list[StepResult], prefix: str = "", why: str = "") -> None:
        """Add ``steps`` as skipped to ``into``."""
        for step in steps:
            running = Running(step, f"{prefix}{len(into) + 1}", into, self.values)
            running.done.detail = why
            self.finished(running, "skipped")

    async def _step(self, running: Running) -> Verdict | None:
        """Run one step with its modifiers; the verdict, where the run must end with it."""
        try:
            if running.step.late:
                running.step = running.step.late(running.values)
        except (ScriptRejected, PolicyRefused) as error:
            running.done.verdict = judge(error, in_step=True)
            self.started(running)
            return self._conclude(running)
        step = running.step
        if not step.applies:
            running.done.detail = f"not so: {step.modifiers.when}"
            self.finished(running, "skipped")
            return None
        self.started(running)
        try:
            await self._tries(running)
            running.ended = time.monotonic()  # what follows is our own work
            verdict = running.done.verdict
            if verdict and verdict.error:
                machine = self.machines.get(step.machine)
                running.done.evidence += await evidence.collect(
                    self.folder, running.index, machine, verdict.evidence, has_frame=running.done.screen is not None
                )
        except asyncio.CancelledError:
            self.cut_short(running)
            raise
        return self._conclude(running)

    def _conclude(self, running: Running) -> Verdict | None:
        verdict, step = running.done.verdict, running.step
        self.finished(running, verdict.outcome if verdict else "passed")
        if verdict is None or running.allowed:
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
            running.start = None

    async def _try(self, running: Running) -> None:
        """One try, within the step's limit. What went wrong is in ``done.verdict``."""
        limit = running.step.modifiers.timeout
        try:
            if limit is None:
                await self._act(running)
            else:
                await Deadline.after(limit, self._factor(running)).wait_for(
                    self._act(running), f"the end of step {running.index}"
                )
        except Exception as error:  # every error becomes a result; those that are not expected, as defects
            running.done.verdict = judge(error, in_step=True)
            result = getattr(error, "result", None)
            if is_command(result):
                running.done.command = command_outcome(result)
            elif is_sight(result):
                with suppress(OSError):  # a full disk must not hide why the step failed
                    running.done.screen = keep_sight(self.folder, running.index, result, label=self.branch)

    def _machine(self, running: Running) -> ScriptMachine:
        name = running.step.machine
        if name not in self.machines:
            hint = f"there are: {', '.join(self.machines)}; run the script again from its beginning"
            raise MachineOff(f"there was no machine {name} in the run that this one goes on from", hint=hint)
        return self.machines[name]

    def _factor(self, running: Running) -> float:
        machine = self.machines.get(running.step.machine) or next(iter(self.machines.values()), None)
        return self.tcg_factor if machine and machine.accel == "tcg" else 1.0

    async def _act(self, running: Running) -> None:
        done = running.done
        match running.step.action:
            case Group(steps=steps, rounds=None):
                done.blame(await self.sequence(steps, done.steps, around=running, start=running.start))
            case Group() as group:
                await run_rounds(self, running, group)
            case Branches(lanes=lanes):
                await run_branches(self, running, lanes)
            case Record(text=str(text)):
                done.detail = text
            case Record(command=command):
                self._take(running, await self._record(running, command or ""))
            case Call(operation=operation, arguments=arguments):
                self._take(running, await self._operate(running, operation, arguments))

    async def _operate(self, running: Running, operation: Operation, arguments: Arguments) -> object:
        machine, given = self._machine(running), by_name(arguments)
        # The machines are the script's own, but the files of this host are not; a person has written down what shall be done.
        facts = partial(facts_of, operation, given, results=self.folder.path, force=not self.door.caller.is_agent)
        where = {"vm": running.step.machine, **given}
        return await self.door.call(operation.name, lambda: operation(machine, arguments), facts=facts, arguments=where)

    async def _record(self, running: Running, command: str) -> object:
        machine = self._machine(running)
        given = {"vm": running.step.machine, "command": command}
        facts = Facts(commands=(command,), verbs=("execute",))
        return await self.door.call("record", lambda: machine.execute(command), facts=facts, arguments=given)

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
        elif is_sight(result):
            done.screen = keep_sight(self.folder, running.index, result, label=self.branch)
            done.detail = describe_sight(result)
        elif isinstance(result, str):
            done.detail = " ".join(result.split())[:DETAIL_LENGTH]
        if running.step.modifiers.expect:
            check_expectations(running.step.modifiers.expect, result)

    def cut_short(self, running: Running) -> None:
        """A step that was cancelled: by the wish to stop, or by the limit of a step around it."""
        running.done.verdict = None
        if self.stop.requested:
            running.done.detail = self.stop.reason
            self.finished(running, "interrupted")
        else:
            running.done.detail = "the time limit of the step around it passed"
            self.finished(running, "timeout")

    def started(self, running: Running) -> None:
        """Tell that it begins."""
        step = running.step
        self.bus.emit(
            StepStarted(
                run=self.run, index=running.index, name=step.name, verb=step.verb, machine=step.machine, branch=self.branch
            )
        )

    def finished(self, running: Running, outcome: Outcome) -> None:
        """Add its result to where it goes, and tell it."""
        result = running.result(outcome, self.began)
        running.into.append(result)
        self.bus.emit(
            StepFinished(
                run=self.run,
                index=result.index,
                name=result.name,
                verb=result.verb,
                machine=result.machine,
                outcome=outcome,
                duration_s=running.duration_s,
                detail=result.detail,
                allowed_failure=result.allowed_failure,
                branch=self.branch,
            )
        )
