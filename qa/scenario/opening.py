"""The machines of a script on the real host."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from qa.events import Bus
from qa.machine import Machine
from qa.operations.boot import Host, Place
from qa.operations.options import MachineOptions
from qa.report.folder import ResultsFolder
from qa.scenario.batch import OpenFor
from qa.scenario.machines import OpenMachine
from qa.scenario.results import HostResult
from qa.scenario.script import Script


def open_on(host: Host) -> OpenFor:
    """How scripts' machines are booted on ``host``: logs and pictures go to the run's folder."""

    def open_for(script: Script, folder: ResultsFolder, bus: Bus) -> OpenMachine:
        many = len(script.machines) > 1

        @asynccontextmanager
        async def open_machine(
            name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any], /
        ) -> AsyncGenerator[Machine]:
            place = Place(
                results=folder.path,
                console_log=folder.console_log(name if many else None),
                qemu_log=folder.qemu_log(name if many else None),
                base_folder=script.path.absolute().parent,
            )
            async with host.open_machine(name, image, options, cloud_init, place=place, bus=bus) as machine:
                yield machine

        return open_machine

    return open_for


def describe(host: Host) -> HostResult:
    """What ran the machines, for the result."""
    return HostResult(**host.describe())
