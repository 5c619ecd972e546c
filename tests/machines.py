"""Real machines for tests: booted through the same door as a script's, and certainly gone afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qa.config import Config
from qa.events import Bus, Event
from qa.fleet import Owner
from qa.machine import Machine
from qa.operations.blueprint import Blueprint
from qa.operations.boot import Host, Place
from qa.operations.catalogue import CATALOGUE
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.snapshots.store import Entry

CLOUD_INIT = {
    "write_files": [{"path": "/etc/from-script", "content": "written by cloud-init\n", "permissions": "0640"}],
    "runcmd": [["touch", "/run/command-ran"]],
}
"""For the Debian guest: tests that ask for the same share its boot."""


@dataclass
class Driven:
    """A machine that is on, what it told, and its verbs as a script calls them: ``await vm("succeed", "true")``."""

    machine: Machine
    host: Host
    results: Path
    told: list[Event] = field(default_factory=list)

    async def __call__(self, verb: str, value: Any = None, **more: Any) -> Any:
        operation = CATALOGUE[verb]
        arguments = operation.as_mapping(value) | more
        return await operation(self.machine, operation.parse(arguments))


def _place(folder: Path) -> Place:
    return Place(folder, folder / "console.log", folder / "qemu.log", folder)


def _listening() -> tuple[Bus, list[Event]]:
    bus, told = Bus(), list[Event]()
    bus.subscribe(told.append)
    return bus, told


@asynccontextmanager
async def driven(
    paths: Paths,
    folder: Path,
    image: str,
    cloud_init: Mapping[str, Any] | None = None,
    *,
    config: Config | None = None,
    start: Literal["warm", "cold"] = "cold",
    **options: Any,
) -> AsyncGenerator[Driven]:
    """A machine of ``image`` with ``options`` as in a script; its results go to ``folder``."""
    bus, told = _listening()
    with Owner.register(paths) as owner:
        host = Host(paths, config or Config(), owner)
        place = _place(folder)
        blueprint = await host.blueprint("vm", image, MachineOptions(**options), cloud_init or {}, place=place, bus=bus)
        async with host.open_machine(blueprint, place=place, bus=bus, start=start) as machine:
            yield Driven(machine, host, folder, told)


@dataclass(frozen=True)
class Original:
    """A machine that was booted, prepared and frozen; each test gets a fork of it."""

    host: Host
    blueprint: Blueprint
    entry: Entry

    @asynccontextmanager
    async def fork(self, folder: Path) -> AsyncGenerator[Driven]:
        """A fork; its results go to ``folder``."""
        bus, told = _listening()
        async with self.host.open_fork(self.blueprint, self.entry, place=_place(folder), bus=bus) as machine:
            yield Driven(machine, self.host, folder, told)


@asynccontextmanager
async def original(
    paths: Paths,
    folder: Path,
    image: str,
    cloud_init: Mapping[str, Any] | None = None,
    *,
    prepare: Callable[[Driven], Awaitable[None]] | None = None,
    **options: Any,
) -> AsyncGenerator[Original]:
    """Boot a machine of ``image``, ``prepare`` it, and freeze it for tests."""
    bus, told = _listening()
    with Owner.register(paths) as owner:
        host = Host(paths, Config(), owner)
        place = _place(folder)
        blueprint = await host.blueprint("vm", image, MachineOptions(**options), cloud_init or {}, place=place, bus=bus)
        async with host.open_machine(blueprint, place=place, bus=bus) as machine:
            if prepare:
                await prepare(Driven(machine, host, folder, told))
            kept = await machine.freeze("snapshot", title="for tests")
        try:
            yield Original(host, blueprint, kept.entry)
        finally:
            kept.release()


def qemus() -> list[int]:
    """The QEMUs that this process has as children."""
    found = []
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in listing.read_text().split():
            try:
                is_qemu = "qemu-system" in Path(f"/proc/{pid}/comm").read_text()
            except OSError:
                continue
            if is_qemu:
                found.append(int(pid))
    return found
