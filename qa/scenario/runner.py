"""Runs one script: machines up, steps, machines down, report. Whatever happens, the results folder is complete."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from qa import __version__
from qa.errors import Interrupted, QaError
from qa.events import Bus, Event, MachineEnded, MachineStage, RunFinished, RunStarted
from qa.report.folder import ResultsFolder
from qa.report.write import write_reports
from qa.scenario import evidence
from qa.scenario.machines import OpenMachine, ScriptMachine, booted
from qa.scenario.results import HostResult, MachineResult, RunResult, StepResult
from qa.scenario.script import MachinePlan, Script
from qa.scenario.steps import StepRunner
from qa.scenario.stop import Stop
from qa.scenario.verdict import PASSED, Verdict, judge

WriteReports = Callable[[ResultsFolder, RunResult], object]


@dataclass
class _Run:
    """What is known of a run so far."""

    script: Script
    name: str
    bus: Bus
    folder: ResultsFolder
    stop: Stop
    tcg_factor: float
    began: float = field(default_factory=time.monotonic)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    machines: dict[str, ScriptMachine] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)
    verdict: Verdict | None = None
    evidence: list[str] = field(default_factory=list)

    def note_stage(self, event: Event) -> None:
        """Keep the stages and the end of machines that never get ready."""
        if isinstance(event, MachineStage):
            self.stages.setdefault(event.machine, {})[event.stage] = round(event.elapsed_s, 6)
        elif isinstance(event, MachineEnded):
            self.ended[event.machine] = event.reason


async def run_script(
    script: Script,
    *,
    open_machine: OpenMachine,
    bus: Bus,
    folder: ResultsFolder,
    run: str | None = None,
    stop: Stop | None = None,
    tcg_factor: float = 1.0,
    describe_host: Callable[[], HostResult] = HostResult,
    write: WriteReports = write_reports,
) -> RunResult:
    """Run ``script`` and fill ``folder``.

    Args:
        open_machine: boots a machine (see `OpenMachine`).
        bus: told what happens; events of one run only, where stages of machines shall be in its result.
        run: the run's name in events; the script's where it is not given.
        stop: the wish to stop; the run then ends as ``interrupted`` with all that was done in its report.
        tcg_factor: multiplies the limits of steps under software emulation.
        describe_host: asked at the end what ran the machines.
        write: writes what is made out of the result; where it fails, result.json is there all the same.

    Returns:
        The result, as it stands in result.json. Errors of the run are in it and are not raised.

    Raises:
        asyncio.CancelledError: the task was cancelled from outside; the report is written before.
    """
    state = _Run(script, run or script.name, bus, folder, stop or Stop(), tcg_factor)
    unsubscribe = bus.subscribe(state.note_stage)
    bus.emit(RunStarted(run=state.name, script=str(script.path), steps=len(script.steps), folder=str(folder.path)))
    body = asyncio.create_task(_body(state, open_machine), name=f"run {state.name}")
    cancelled: asyncio.CancelledError | None = None
    try:
        await _until_done_or_stopped(body, state.stop)
    except asyncio.CancelledError as error:
        cancelled = error
        state.stop.request("cancelled")
        body.cancel()
        with suppress(BaseException):
            await body
    state.verdict = _verdict(body, state)
    unsubscribe()
    if not state.steps:
        _runner(state).skip(script.steps, state.steps, why="the run ended before its steps")
    if state.verdict and state.verdict.error and not _told_by_step(state):
        state.evidence += await evidence.collect(folder, "0", None, state.verdict.evidence)
    result = _write(state, _result(state, describe_host), write)
    bus.emit(
        RunFinished(
            run=state.name, outcome=result.outcome, reason=result.reason, duration_s=result.duration_s, folder=str(folder.path)
        )
    )
    if cancelled:
        raise cancelled
    return result


async def _until_done_or_stopped(body: asyncio.Task[None], stop: Stop) -> None:
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([body, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not body.done():
            body.cancel()
            await asyncio.wait([body])
    finally:
        waiting.cancel()


async def _body(state: _Run, open_machine: OpenMachine) -> None:
    async with booted(state.script.machines, open_machine, state.machines):
        state.verdict = await _runner(state).sequence(state.script.steps, state.steps)


def _runner(state: _Run) -> StepRunner:
    accel = next((machine.accel for machine in state.machines.values()), "")
    values = {"accel": accel, "run_dir": str(state.folder.path.absolute())}
    return StepRunner(state.name, state.machines, state.bus, state.folder, state.stop, state.began, values, state.tcg_factor)


def _verdict(body: asyncio.Task[None], state: _Run) -> Verdict | None:
    """The verdict on the whole run; the first failure is the cause, and errors from closing machines come after it."""
    error = None if body.cancelled() else body.exception()
    if state.verdict is not None:
        return state.verdict
    if body.cancelled() or (error and state.stop.requested):
        return judge(Interrupted(state.stop.reason or "cancelled"), in_step=False)
    return judge(error, in_step=False) if error else None


def _told_by_step(state: _Run) -> bool:
    """Whether the cause of the end is that of a step, which has the evidence."""
    return any(step.outcome not in {"passed", "skipped", "interrupted"} and not step.allowed_failure for step in state.steps)


def _result(state: _Run, describe_host: Callable[[], HostResult]) -> RunResult:
    verdict = state.verdict
    return RunResult(
        name=state.script.name,
        script=str(state.script.path),
        variables=dict(state.script.variables),
        outcome=verdict.outcome if verdict else "passed",
        reason=verdict.reason if verdict else "",
        hint=verdict.hint if verdict else "",
        exit_status=verdict.exit_status if verdict else PASSED,
        started=state.started.isoformat(timespec="milliseconds"),
        duration_s=round(time.monotonic() - state.began, 6),
        host=_host(state, describe_host),
        machines=[_machine_result(plan, state) for plan in state.script.machines],
        steps=state.steps,
        evidence=state.evidence,
    )


def _host(state: _Run, describe_host: Callable[[], HostResult]) -> HostResult:
    host = describe_host()
    accel = host.accel or next((machine.accel for machine in state.machines.values()), "")
    return host.model_copy(
        update={
            "accel": accel,
            "system": host.system or f"{platform.system()} {platform.release()} {platform.machine()}",
            "anima_qa": host.anima_qa or __version__,
        }
    )


def _machine_result(plan: MachinePlan, state: _Run) -> MachineResult:
    machine = state.machines.get(plan.name)
    only = plan.name if len(state.script.machines) > 1 else None
    result = MachineResult(
        name=plan.name,
        image=plan.image,
        start="cold",
        stages=state.stages.get(plan.name, {}),
        ended=state.ended.get(plan.name, ""),
        memory=plan.options.memory or 0,
        cpus=plan.options.cpus,
        console=_inside(state.folder, state.folder.console_log(only)),
        qemu_log=_inside(state.folder, state.folder.qemu_log(only)),
    )
    if machine is None:
        return result
    image = getattr(machine, "image", None)
    return result.model_copy(
        update={
            "ready_s": machine.ready_s,
            "stages": dict(machine.stages) or result.stages,
            "memory": plan.options.memory or getattr(image, "memory", 0),
            "channel": machine.channel_name,
            "forwards": dict(getattr(machine, "forwards", {})),
            "ended": machine.ended,
            "console": _inside(state.folder, machine.console_log),
            "qemu_log": _inside(state.folder, machine.qemu_log),
        }
    )


def _inside(folder: ResultsFolder, path: object) -> str:
    """A file's name in the report; empty where it is not there or lies elsewhere."""
    with suppress(ValueError, OSError, AttributeError, TypeError):
        return folder.relative(path) if path.is_file() else ""  # type: ignore[attr-defined,arg-type]
    return ""


def _write(state: _Run, result: RunResult, write: WriteReports) -> RunResult:
    """Write the reports; a failure to do so is the run's where it has no other, and never hides result.json."""
    try:
        write(state.folder, result)
    except Exception as error:
        state.bus.notice(f"the report could not be written: {error}", "warning")
        if result.outcome == "passed":
            verdict = judge(error, in_step=False)
            verdict = replace(verdict, reason=f"the report could not be written: {error}")
            result = result.model_copy(
                update={
                    "outcome": "error",
                    "exit_status": verdict.exit_status,
                    "reason": verdict.reason,
                    "hint": error.hint or "" if isinstance(error, QaError) else "",
                }
            )
        with suppress(Exception):
            state.folder.write_result(result)
    return result
