"""Booting: from an image's name and options to a machine that is ready."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qa.config import Config
from qa.doctor.judge import Choice, choose_accelerator
from qa.doctor.trial import Trials
from qa.errors import FirmwareMissing, HostError, UsageError
from qa.events import Bus
from qa.fleet import Owner
from qa.host.firmware import Firmware, find_firmware
from qa.host.qemu import Qemu, find_qemu
from qa.host.resources import resources
from qa.images.image import Image
from qa.images.resolve import resolve
from qa.machine import Machine
from qa.operations.blueprint import Blueprint, keep_disks
from qa.operations.limits import Quota
from qa.operations.options import MachineOptions
from qa.operations.starting import Starter
from qa.paths import Paths
from qa.screen.film import Film
from qa.snapshots.store import Entry, Store


@dataclass(frozen=True)
class Place:
    """Where a machine's traces go: its results folder and its two logs; and where relative paths of its options begin.

    ``label`` tells machines of one name apart in the names of files; ``needles`` are the folders in which needles are looked
    for, the nearest first; ``film`` gets the pictures of the machine's screen. ``called`` is the machine's name in what is told
    of it, where it is not that of its blueprint, which its template depends on.
    """

    results: Path
    console_log: Path
    qemu_log: Path
    base_folder: Path
    label: str = ""
    needles: tuple[Path, ...] = ()
    film: Film | None = None
    called: str = ""


@dataclass
class Host:
    """This host, ready to boot machines: what it offers is looked up once and when it is first needed.

    ``keep`` leaves a machine's files in its results folder: its disks, which are overlays on their images, and its firmware
    variables. ``quota`` is what the machines may take together; None: what this host has.
    """

    paths: Paths
    config: Config
    owner: Owner
    keep: bool = False
    quota: Quota | None = None
    choice: Choice | None = field(default=None, init=False)
    _judging: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _told: weakref.WeakSet[Bus] = field(default_factory=weakref.WeakSet, init=False)

    @cached_property
    def qemu(self) -> Qemu:
        """The QEMU in use."""
        return find_qemu(self.config.qemu, paths=self.paths)

    @cached_property
    def store(self) -> Store:
        """Where frozen machines are kept."""
        return Store.of(self.paths, self.config)

    @cached_property
    def firmware(self) -> Firmware:
        """The firmware in use."""
        return find_firmware()

    async def accelerator(self, bus: Bus) -> Choice:
        """The accelerator in use, judged by a boot where there is no verdict yet."""
        async with self._judging:
            if self.choice is None:
                trials = Trials(self.qemu, self.paths, bus, tcg_factor=self.config.tcg_factor, work=self.owner.folder)
                self.choice = await choose_accelerator(
                    self.config.accel, self.config.require_kvm, qemu=self.qemu, paths=self.paths, boot=trials
                )
            return self.choice

    async def blueprint(
        self, name: str, reference: str, options: MachineOptions, cloud_init: Mapping[str, Any], *, place: Place, bus: Bus
    ) -> Blueprint:
        """A machine as it will be.

        Args:
            name: its name, which is also the guest's hostname where the guest takes one.
            reference: the image: a recipe, a name of the catalogue, a path, or a URL with a digest.
            cloud_init: merged into the seed.

        Raises:
            QaError: this host cannot run it, or the image cannot be had.
        """
        choice = await self.accelerator(bus)
        self._tell_accelerator(choice, bus)

        async def find(image: str) -> Image:
            return await resolve(image, paths=self.paths, bus=bus, base_folder=place.base_folder)

        image = await find(reference)
        if cloud_init and not (image.cloud_init and options.seed):
            hint = "leave out cloud_init, or use an image with it" if options.seed else "leave out seed: false"
            raise UsageError(f"image {image.reference!r} gets no cloud-init seed, so cloud_init would have no effect", hint=hint)
        others = [await find(str(extra.path)) if extra.path is not None else None for extra in options.disks]
        blueprint = Blueprint(name, image, tuple(others), options, cloud_init, self.qemu, self.firmware, choice)
        _check_memory(name, blueprint.memory)
        return blueprint

    @asynccontextmanager
    async def open_machine(
        self, blueprint: Blueprint, *, place: Place, bus: Bus, start: Literal["warm", "cold"] = "warm"
    ) -> AsyncGenerator[Machine]:
        """A machine that is ready, and gone when the block ends.

        Args:
            start: ``warm`` goes on from the template of this machine, which the first start makes; ``cold`` boots.

        Raises:
            QaError: the guest did not come up.
            LimitReached: there is no room for it.
        """
        async with self._room(blueprint, place), self._work(blueprint, place, bus) as work:
            machine = await Starter(self, blueprint, place, work, bus).start(warm=start == "warm" and not self.keep)
            try:
                yield machine
            finally:
                await self._end(machine, blueprint)

    @asynccontextmanager
    async def open_fork(self, blueprint: Blueprint, entry: Entry, *, place: Place, bus: Bus) -> AsyncGenerator[Machine]:
        """A machine that goes on from the frozen state ``entry``, and is gone when the block ends.

        Raises:
            SnapshotUnusable: the state is damaged, or was frozen with another QEMU, firmware, image or hardware.
            MachineError: the guest does not answer.
            LimitReached: there is no room for it.
        """
        async with self._room(blueprint, place, fork=True), self._work(blueprint, place, bus) as work:
            machine = await Starter(self, blueprint, place, work, bus).go_on(entry, "fork")
            try:
                yield machine
            finally:
                await self._end(machine, blueprint)

    async def _end(self, machine: Machine, blueprint: Blueprint) -> None:
        """Switch off, and let go. Disks that are kept shall build on their images, not on states that go away."""
        try:
            if self.keep:
                await machine.end()
                await keep_disks(machine.disks, blueprint)
        finally:
            await machine.destroy()

    def _tell_accelerator(self, choice: Choice, bus: Bus) -> None:
        """Once for each run, however many machines it has."""
        if bus not in self._told:
            self._told.add(bus)
            bus.notice(choice.reason)
            if choice.warning:
                bus.notice(choice.warning, "warning")

    @asynccontextmanager
    async def _room(self, blueprint: Blueprint, place: Place, *, fork: bool = False) -> AsyncGenerator[None]:
        if self.quota is None:
            yield
            return
        with self.quota.machine(place.called or blueprint.name, blueprint.memory, fork=fork):
            yield

    @asynccontextmanager
    async def _work(self, blueprint: Blueprint, place: Place, bus: Bus) -> AsyncGenerator[Path]:
        """A folder for a machine's files, for as long as it lives."""
        if not self.keep:
            work = self.owner.machine_folder(place.called or blueprint.name)
        else:
            work = place.results / "-".join(filter(None, ("disks", blueprint.name, place.label)))
            work.mkdir(parents=True)
        try:
            yield work
        finally:
            if self.keep:
                bus.notice(f"the disks of {blueprint.name} are kept in {work}")
            else:
                shutil.rmtree(work, ignore_errors=True)

    def describe(self) -> dict[str, str]:
        """What ran the machines, for the report; empty where it was never needed."""
        if self.choice is None:
            return {}
        described = {
            "qemu": f"{self.qemu.version_text} {self.qemu.package}".strip(),
            "accel": self.choice.accel,
            "accel_reason": self.choice.reason,
        }
        with contextlib.suppress(FirmwareMissing):  # the run's error says so
            described["firmware"] = str(self.firmware.code)
        return described


def _check_memory(name: str, wanted: int) -> None:
    """Refuse what can never be had; that there is enough for now is the user's to judge: guests rarely use all of theirs."""
    total = resources().memory_total
    if wanted > total:
        raise HostError(
            f"{name} is to have {wanted >> 20} MB of memory, and this host has {total >> 20} MB",
            hint="ask for less in machine: memory",
        )
