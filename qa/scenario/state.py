"""What is known of a run while it goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from qa.events import Bus, Event, MachineEnded, MachineStage
from qa.operations.gate import Door
from qa.report.folder import ResultsFolder
from qa.scenario.keeping import Keeper
from qa.scenario.lanes import Forking
from qa.scenario.machines import ScriptMachine
from qa.scenario.results import StepResult
from qa.scenario.script import Script
from qa.scenario.start import Start
from qa.scenario.steps import StepRunner
from qa.scenario.stop import Stop
from qa.scenario.verdict import Verdict


@dataclass(frozen=True)
class Reentry:
    """A moment of a run before, to go on from.

    Attributes:
        folder: the results of that run.
        machines: name to the id of the frozen state.
        start: where the script goes on.
    """

    folder: Path
    machines: dict[str, str]
    start: Start


@dataclass
class RunState:
    """What is known of a run so far. ``name`` is the run's in events; ``began`` is monotonic time."""

    script: Script
    name: str
    bus: Bus
    folder: ResultsFolder
    stop: Stop
    tcg_factor: float
    forking: Forking
    keeper: Keeper
    reentry: Reentry | None = None
    door: Door = field(default_factory=Door)
    began: float = field(default_factory=time.monotonic)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    machines: dict[str, ScriptMachine] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)
    verdict: Verdict | None = None
    evidence: list[str] = field(default_factory=list)

    @property
    def accel(self) -> str:
        """What runs the machines: kvm or tcg; empty before any is up."""
        return next((machine.accel for machine in self.machines.values()), "")

    def note_stage(self, event: Event) -> None:
        """Keep the stages and the end of machines that never get ready."""
        if isinstance(event, MachineStage):
            self.stages.setdefault(event.machine, {})[event.stage] = round(event.elapsed_s, 6)
        elif isinstance(event, MachineEnded):
            self.ended[event.machine] = event.reason

    def runner(self) -> StepRunner:
        """What runs the script's steps on the machines that are up now."""
        return StepRunner(
            run=self.name,
            machines=self.machines,
            bus=self.bus,
            folder=self.folder,
            stop=self.stop,
            began=self.began,
            values={"accel": self.accel, "run_dir": str(self.folder.path.absolute())},
            forking=self.forking,
            keeper=self.keeper,
            door=self.door,
            tcg_factor=self.tcg_factor,
        )

    def told_by_step(self) -> bool:
        """Whether the cause of the run's end is that of a step, which has the evidence."""
        return any(one.outcome not in {"passed", "skipped", "interrupted"} and not one.allowed_failure for one in self.steps)
