"""The machines of a script on the real host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from qa.errors import UsageError
from qa.events import Bus
from qa.machine import Machine
from qa.machine.known import Kept
from qa.operations.blueprint import Blueprint
from qa.operations.boot import Host, Place
from qa.operations.calls import boot_facts
from qa.operations.gate import Door
from qa.operations.options import MachineOptions
from qa.report.folder import ResultsFolder
from qa.scenario.batch import OpenFor
from qa.scenario.filming import Films
from qa.scenario.machines import Frozen, OpenMachine
from qa.scenario.results import HostResult
from qa.scenario.script import Script
from qa.screen.film import Film
from qa.snapshots.store import Kind


@dataclass(frozen=True)
class HostMachines:
    """Opens the machines of one script; logs and pictures go to the run's folder."""

    host: Host
    script: Script
    folder: ResultsFolder
    bus: Bus
    start: Literal["warm", "cold"]
    films: Films
    door: Door = field(default_factory=Door)
    _blueprints: dict[str, Blueprint] = field(default_factory=dict)

    @asynccontextmanager
    async def __call__(
        self, name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any], /
    ) -> AsyncGenerator[Machine]:
        """See OpenMachine."""
        async with self.films.of(name) as film:
            place = self._place(name, film)
            blueprint = await self._blueprint(name, image, options, cloud_init, place)
            async with self.host.open_machine(blueprint, place=place, bus=self.bus, start=self.start) as machine:
                yield machine

    @asynccontextmanager
    async def fork(self, frozen: Frozen, name: str, *, label: str = "") -> AsyncGenerator[Machine]:
        """See OpenMachine."""
        plan = next((plan for plan in self.script.machines if plan.name == name), None)
        if plan is None:
            raise UsageError(f"the script has no machine {name!r} to go on with")
        async with self.films.of(name, label) as film:
            place = self._place(name, film, label)
            blueprint = await self._blueprint(name, plan.image, plan.options, plan.cloud_init, place)
            entry = frozen.entry if isinstance(frozen, Kept) else await asyncio.to_thread(self.host.store.get, frozen.id)
            async with self.host.open_fork(blueprint, entry, place=place, bus=self.bus) as machine:
                yield machine

    async def find(self, kind: Kind, key: str) -> Kept | None:
        """See OpenMachine."""
        entry = await asyncio.to_thread(self.host.store.find, kind, key)
        return Kept(entry, entry.hold()) if entry else None

    async def known(self, kind: Kind, keys: Collection[str]) -> Collection[str]:
        """See OpenMachine."""
        return await asyncio.to_thread(self.host.store.known, kind, keys)

    async def get(self, identity: str, /) -> Kept:
        """See OpenMachine."""
        entry = await asyncio.to_thread(self.host.store.get, identity)
        return Kept(entry, entry.hold())

    async def _blueprint(
        self, name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any], place: Place
    ) -> Blueprint:
        if name not in self._blueprints:
            self._blueprints[name] = await self.door.call(
                "boot",
                lambda: self.host.blueprint(name, image, options, cloud_init, place=place, bus=self.bus),
                facts=partial(boot_facts, image, options, cloud_init, place.base_folder),
                arguments={"vm": name, "image": image, "options": options, "cloud_init": cloud_init},
            )
        return self._blueprints[name]

    def _place(self, name: str, film: Film | None, label: str = "") -> Place:
        only = name if len(self.script.machines) > 1 else None
        return Place(
            results=self.folder.path,
            console_log=self.folder.console_log(only, label),
            qemu_log=self.folder.qemu_log(only, label),
            base_folder=self.script.path.absolute().parent,
            label=label,
            needles=self.script.needles,
            film=film,
        )


def open_on(host: Host, door: Door | None = None) -> OpenFor:
    """How scripts' machines are opened on ``host``; what they do passes ``door``."""

    def open_for(script: Script, folder: ResultsFolder, bus: Bus) -> OpenMachine:
        films = Films(folder, bus, host.owner.folder, host.config.film)
        return HostMachines(host, script, folder, bus, "cold" if script.start == "cold" else "warm", films, door or Door())

    return open_for


def describe(host: Host) -> HostResult:
    """What ran the machines, for the result."""
    return HostResult(**host.describe())
