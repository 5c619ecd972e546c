"""Runs one script: machines up, steps, machines down, report. Whatever happens, the results folder is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from qa.errors import Interrupted, QaError, SnapshotError
from qa.events import Bus, RunFinished, RunStarted
from qa.operations.gate import Door
from qa.report.folder import ResultsFolder
from qa.report.write import write_reports
from qa.scenario import evidence
from qa.scenario.checkpoints import Checkpoints, Found
from qa.scenario.keeping import Keeper
from qa.scenario.lanes import Admission, Forking, TwoAtOnce
from qa.scenario.machines import Frozen, OpenMachine, booted, together
from qa.scenario.results import HostResult, RunResult, StepResult
from qa.scenario.script import Script
from qa.scenario.start import Start
from qa.scenario.state import Reentry, RunState
from qa.scenario.stop import Stop
from qa.scenario.summary import make_result
from qa.scenario.verdict import Verdict, judge

WriteReports = Callable[[ResultsFolder, RunResult], object]


@dataclass(frozen=True)
class Manner:
    """How scripts are run.

    Attributes:
        keep_failed: freeze the machines of a step that fails, so that the run can be entered again.
        checkpoint: keep the state after each step, and begin behind the last that a run before has left unchanged.
        reentry: go on from the moment of a run before.
    """

    keep_failed: bool = True
    checkpoint: bool = False
    reentry: Reentry | None = None


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
    manner: Manner = Manner(),
    admission: Admission | None = None,
    door: Door | None = None,
) -> RunResult:
    """Run ``script`` and fill ``folder``.

    Args:
        open_machine: boots and forks machines (see `OpenMachine`).
        bus: told what happens; events of one run only, where stages of machines shall be in its result.
        run: the run's name in events; the script's where it is not given.
        stop: the wish to stop; the run then ends as ``interrupted`` with all that was done in its report.
        tcg_factor: multiplies the limits of steps under software emulation.
        describe_host: asked at the end what ran the machines.
        write: writes what is made out of the result; where it fails, result.json is there all the same.
        admission: says when there is room for the forks of branches; at most two at once where it is not given.
        door: operations pass it; everything is let through where it is not given.

    Returns:
        The result, as it stands in result.json. Errors of the run are in it and are not raised.

    Raises:
        asyncio.CancelledError: the task was cancelled from outside; the report is written before.
    """
    of = f"{script.name} in {folder.path}"
    state = RunState(
        script,
        run or script.name,
        bus,
        folder,
        stop or Stop(),
        tcg_factor,
        Forking(open_machine, {plan.name: plan for plan in script.machines}, admission or TwoAtOnce()),
        Keeper(bus, of, manner.keep_failed),
        manner.reentry,
        door or Door(),
    )
    checkpoints = Checkpoints(script, open_machine, bus, of) if manner.checkpoint else None
    unsubscribe = bus.subscribe(state.note_stage)
    bus.emit(RunStarted(run=state.name, script=str(script.path), steps=len(script.steps), folder=str(folder.path)))
    body = asyncio.create_task(_body(state, checkpoints), name=f"run {state.name}")
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
        state.runner().skip(script.steps, state.steps, why="the run ended before its steps")
    if state.verdict and state.verdict.error and not state.told_by_step():
        state.evidence += await evidence.collect(folder, "0", None, state.verdict.evidence)
    result = _write(state, make_result(state, describe_host), write)
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


async def _body(state: RunState, checkpoints: Checkpoints | None) -> None:
    async def after(result: StepResult) -> None:
        if checkpoints and result.outcome == "passed":
            await checkpoints.keep(len(state.steps), state.machines, state.accel)

    async with _machines(state, checkpoints) as start:
        state.verdict = await state.runner().sequence(state.script.steps, state.steps, start=start, after=after)
        if state.verdict:
            await state.keeper.keep(state.machines, state.steps, state.verdict)


@asynccontextmanager
async def _machines(state: RunState, checkpoints: Checkpoints | None) -> AsyncIterator[Start | None]:
    """The script's machines, ready, in ``state.machines``; and where the script begins, if not with its first step."""
    async with AsyncExitStack() as stack:
        if state.reentry:
            await _reenter(state, state.reentry, stack)
            yield state.reentry.start
        elif checkpoints and (found := await checkpoints.latest()) and await _begin(state, found, stack):
            yield found.start
        else:
            await stack.enter_async_context(booted(state.script.machines, state.forking.open_machine, state.machines))
            yield None


async def _reenter(state: RunState, reentry: Reentry, stack: AsyncExitStack) -> None:
    """Go on with the machines of a run before."""
    state.bus.notice(f"going on at step {reentry.start.index} from the run in {reentry.folder}")
    states: dict[str, Frozen] = {}
    try:
        for name, identity in reentry.machines.items():
            states[name] = await state.forking.open_machine.get(identity)
            stack.callback(states[name].release)
        await stack.enter_async_context(_forked(state, states))
    except SnapshotError as error:
        error.hint = error.hint or f"run the script again from its beginning: anima-qa run {state.script.path}"
        raise


async def _begin(state: RunState, found: Found, stack: AsyncExitStack) -> bool:
    """Begin with the states that were kept; tells whether that went well."""
    for one in found.states.values():
        stack.callback(one.release)
    try:
        await stack.enter_async_context(_forked(state, found.states))
    except QaError as error:
        state.bus.notice(f"the run begins with its first step: {error}", "warning")
        state.machines.clear()
        return False
    return True


def _forked(state: RunState, states: Mapping[str, Frozen]) -> AbstractAsyncContextManager[None]:
    """Machines that go on from ``states``, under the names that the run's own machines have."""
    opening = {name: state.forking.open_machine.fork(one, name) for name, one in states.items()}
    return together(opening, state.machines)


def _verdict(body: asyncio.Task[None], state: RunState) -> Verdict | None:
    """The verdict on the whole run; the first failure is the cause, and errors from closing machines come after it."""
    error = None if body.cancelled() else body.exception()
    if state.verdict is not None:
        return state.verdict
    if body.cancelled() or (error and state.stop.requested):
        return judge(Interrupted(state.stop.reason or "cancelled"), in_step=False)
    return judge(error, in_step=False) if error else None


def _write(state: RunState, result: RunResult, write: WriteReports) -> RunResult:
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
