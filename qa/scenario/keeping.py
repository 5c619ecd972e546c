"""Keeps the machines of a failed step as they were, so that the run can be entered again at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qa.events import Bus
from qa.scenario.lanes import freeze_all
from qa.scenario.machines import ScriptMachine
from qa.scenario.results import StepResult
from qa.scenario.verdict import Verdict
from qa.snapshots.manifest import Kind

KIND: Kind = "failure"


@dataclass
class Keeper:
    """Keeps the machines of the first failure of a run, and of no other.

    Attributes:
        bus: told why nothing could be kept.
        of: what the run is, for people who list frozen machines.
        wanted: without it nothing is kept.
        machines: name to the id of its frozen state, once there are any.
        step: index of the failed step.
    """

    bus: Bus
    of: str
    wanted: bool = True
    machines: dict[str, str] = field(default_factory=dict)
    step: str = ""
    _had_its_turn: bool = False

    async def keep(self, machines: Mapping[str, ScriptMachine], results: Sequence[StepResult], verdict: Verdict) -> None:
        """Freeze ``machines``. Where that fails, a notice says why, and nothing else changes.

        Args:
            results: of the steps that ran on these machines, the last of them failed with ``verdict``.
        """
        if self._had_its_turn:
            return
        self._had_its_turn = True
        if not self.wanted or verdict.is_death:
            return
        step = failed_step(results)
        try:
            states = await freeze_all(machines, KIND, title=f"step {step} of {self.of}")
        except Exception as error:  # whatever it is, the failure of the step is what the run is about
            self.bus.notice(f"the machines could not be kept as they were: {error}", "warning")
            return
        for name, state in states.items():
            self.machines[name] = state.id
            state.release()
        self.step = step


def failed_step(results: Sequence[StepResult]) -> str:
    """Index of the innermost step that failed on the machines of ``results``; branches have machines of their own."""
    index = ""
    while failed := [one for one in results if one.outcome not in {"passed", "skipped"} and not one.allowed_failure]:
        index = failed[-1].index
        results = [] if failed[-1].verb in {"branches", "fork"} else failed[-1].steps
    return index
