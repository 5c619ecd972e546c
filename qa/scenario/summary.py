"""The result of a run, out of what is known of it at its end."""

from __future__ import annotations

import platform
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from qa import __version__
from qa.report.folder import ResultsFolder
from qa.scenario.lanes import Forked, memory_of
from qa.scenario.machines import ScriptMachine
from qa.scenario.results import FilmResult, HostResult, KeptResult, MachineResult, RunResult, StepResult
from qa.scenario.script import MachinePlan
from qa.scenario.state import RunState
from qa.scenario.verdict import PASSED


def make_result(state: RunState, describe_host: Callable[[], HostResult]) -> RunResult:
    """The result as it will stand in ``result.json``."""
    verdict, plans = state.verdict, {plan.name: plan for plan in state.script.machines}
    films = _films(state)
    times = sorted({*_ends(state.steps), *(frame.at for film in films for frame in film.frames)})
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
        machines=[
            *(_machine(plan, state, times) for plan in plans.values()),
            *(_fork(plans[forked.name], forked, state, times) for forked in state.forking.made),
        ],
        films=films,
        steps=state.steps,
        evidence=state.evidence,
        kept=_kept(state),
        resumed_from=str(state.reentry.folder) if state.reentry else "",
    )


def _films(state: RunState) -> list[FilmResult]:
    films = getattr(state.forking.open_machine, "films", None)
    takes = sorted(films.takes, key=lambda take: bool(take.label)) if films else []
    return [take.result(state.folder, state.began) for take in takes]


def _kept(state: RunState) -> KeptResult | None:
    keeper, script = state.keeper, state.script
    if not keeper.machines:
        return None
    return KeptResult(
        machines=keeper.machines,
        step=keeper.step,
        script=str(script.path.absolute()),
        variables=dict(script.given_variables),
        image=script.given_image,
    )


def _host(state: RunState, describe_host: Callable[[], HostResult]) -> HostResult:
    host = describe_host()
    return host.model_copy(
        update={
            "accel": host.accel or state.accel,
            "system": host.system or f"{platform.system()} {platform.release()} {platform.machine()}",
            "anima_qa": host.anima_qa or __version__,
        }
    )


def _machine(plan: MachinePlan, state: RunState, times: Sequence[float]) -> MachineResult:
    only = plan.name if len(state.script.machines) > 1 else None
    result = MachineResult(
        name=plan.name,
        image=plan.image,
        stages=state.stages.get(plan.name, {}),
        ended=state.ended.get(plan.name, ""),
        memory=plan.options.memory or 0,
        cpus=plan.options.cpus,
        console=_inside(state.folder, state.folder.console_log(only)),
        qemu_log=_inside(state.folder, state.folder.qemu_log(only)),
    )
    machine = state.machines.get(plan.name)
    return _with_machine(result, plan, machine, state, times) if machine else result


def _fork(plan: MachinePlan, forked: Forked, state: RunState, times: Sequence[float]) -> MachineResult:
    result = MachineResult(name=forked.name, branch=forked.label, image=plan.image, cpus=plan.options.cpus)
    return _with_machine(result, plan, forked.machine, state, times)


def _with_machine(
    result: MachineResult, plan: MachinePlan, machine: ScriptMachine, state: RunState, times: Sequence[float]
) -> MachineResult:
    """``result`` with what the machine itself knows; of its console how long it was at ``times``, from the start of the run."""
    folder = state.folder
    return result.model_copy(
        update={
            "start": getattr(machine, "start", "cold"),
            "ready_s": machine.ready_s,
            "stages": dict(machine.stages) or result.stages,
            "memory": memory_of(plan, machine),
            "channel": machine.channel_name,
            "forwards": dict(getattr(machine, "forwards", {})),
            "ended": machine.ended,
            "console": _inside(folder, machine.console_log),
            "console_moments": _moments(getattr(machine, "console_moments", ()), [state.began + at for at in times], state.began),
            "qemu_log": _inside(folder, machine.qemu_log),
        }
    )


def _moments(known: Sequence[tuple[float, int]], times: Sequence[float], began: float) -> list[tuple[float, int]]:
    """The last of the ``known`` moments before each of the times: what somebody who looks at a step or a film can ask for."""
    printed = [at for at, _ in known]
    wanted = sorted({bisect_right(printed, at) for at in times} - {0})
    return [(round(max(0.0, known[place - 1][0] - began), 6), known[place - 1][1]) for place in wanted]


def _ends(steps: Iterable[StepResult]) -> Iterator[float]:
    for step in steps:
        yield step.started_s + step.duration_s
        yield from _ends(step.steps)


def _inside(folder: ResultsFolder, path: object) -> str:
    """A file's name in the report; empty where it is not there or lies elsewhere."""
    with suppress(ValueError, OSError, AttributeError, TypeError):
        return folder.relative(path) if path.is_file() else ""  # type: ignore[attr-defined,arg-type]
    return ""
