"""Keeps the machines' state after each step, so that a script that was edited begins where it was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from qa.errors import QaError
from qa.events import Bus
from qa.scenario.chain import chain
from qa.scenario.lanes import freeze_all, key_of
from qa.scenario.machines import Frozen, OpenMachine, ScriptMachine
from qa.scenario.script import Script
from qa.scenario.start import Start
from qa.snapshots.manifest import Kind

KIND: Kind = "checkpoint"
ACCELERATORS = ("kvm", "tcg")
"""Which of them it will be is known only when a machine is up; states of both are looked for."""


@dataclass(frozen=True)
class Found:
    """States of all machines after a step, and where to go on."""

    states: dict[str, Frozen]
    start: Start


@dataclass
class Checkpoints:
    """Those of one run.

    Attributes:
        bus: told what could not be kept or used.
        of: what the run is, for people who list frozen machines.
    """

    script: Script
    open_machine: OpenMachine
    bus: Bus
    of: str
    _keys: dict[str, list[str]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    async def latest(self) -> Found | None:
        """The states after the last step that did not change since they were kept; never after the script's last one.

        The last step is always run: a run that does nothing proves nothing.
        """
        for number, key in await self._candidates():
            if states := await self._find(key):
                title = next(iter(states.values())).title
                return Found(states, Start((number + 1,), f"unchanged since {title}"))
        return None

    async def _candidates(self) -> list[tuple[int, str]]:
        """Number of each step behind which there is something for all machines, and its key; the last step first."""
        chains = [await self._chain(accel) for accel in ACCELERATORS]
        names = [plan.name for plan in self.script.machines]
        wanted = {key: [key_of(key, name) for name in names] for one in chains for key in one}
        try:
            known = set(await self.open_machine.known(KIND, [key for keys in wanted.values() for key in keys]))
        except QaError as error:
            self._tell_useless(error)
            return []
        found = {(number, key) for one in chains for number, key in enumerate(one, 1) if known.issuperset(wanted[key])}
        return sorted(((number, key) for number, key in found if number < len(self.script.steps)), reverse=True)

    async def keep(self, number: int, machines: Mapping[str, ScriptMachine], accel: str) -> None:
        """Keep the state after step ``number``, which passed. Where that fails, a notice says why, and the run goes on."""
        keys = await self._chain(accel)
        if number > len(keys):
            return
        try:
            states = await freeze_all(machines, KIND, key=keys[number - 1], title=f"step {number} of {self.of}")
        except Exception as error:  # whatever it is, the run is about its steps
            self.bus.notice(f"the state after step {number} could not be kept: {error}", "warning")
            return
        for state in states.values():
            state.release()

    async def _chain(self, accel: str) -> list[str]:
        if accel not in self._keys:
            self._keys[accel] = await asyncio.to_thread(chain, self.script, accel)
        return self._keys[accel]

    async def _find(self, key: str) -> dict[str, Frozen] | None:
        """The state of each machine; None where one is missing or cannot be used."""
        states: dict[str, Frozen] = {}
        try:
            for plan in self.script.machines:
                state = await self.open_machine.find(KIND, key_of(key, plan.name))
                if state is None:
                    break
                states[plan.name] = state
        except QaError as error:
            self._tell_useless(error)
        if len(states) == len(self.script.machines):
            return states
        for state in states.values():
            state.release()
        return None

    def _tell_useless(self, error: QaError) -> None:
        """Say why a state cannot be used; the same reason once."""
        if error.message not in self._told:
            self._told.add(error.message)
            self.bus.notice(f"a state that was kept cannot be used: {error.message}", "warning")
