"""Booting: from an image's name and options to a machine that is ready."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import uuid
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from qa.config import Config
from qa.doctor.judge import Choice, choose_accelerator
from qa.doctor.trial import Trials
from qa.errors import FirmwareMissing, HostError, UsageError
from qa.events import Bus
from qa.fleet import Owner
from qa.guest.shell_script import UNIT, UNIT_NAME, smbios_strings
from qa.host.firmware import Firmware, find_firmware
from qa.host.qemu import Qemu, find_qemu
from qa.host.resources import resources
from qa.images.image import Image
from qa.images.overlay import create_disk, create_overlay
from qa.images.resolve import resolve
from qa.images.seed import render_user_data, write_seed
from qa.machine import Machine, MachineSetup
from qa.machine.setup import BOOT_LIMIT, Login
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.qemu.spec import Disk

SMALL_GUEST_LIMIT = 30.0
"""Seconds, before the factor, for a guest with the shell built in: it takes 7 s under software emulation on an idle host."""


@dataclass(frozen=True)
class Place:
    """Where a machine's traces go: its results folder and its two logs; and where relative paths of its options begin."""

    results: Path
    console_log: Path
    qemu_log: Path
    base_folder: Path


@dataclass
class Host:
    """This host, ready to boot machines: what it offers is looked up once and when it is first needed.

    ``keep`` leaves a machine's files in its results folder: its disks, which are overlays on their images, and its firmware
    variables.
    """

    paths: Paths
    config: Config
    owner: Owner
    keep: bool = False
    choice: Choice | None = field(default=None, init=False)
    _judging: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _told: weakref.WeakSet[Bus] = field(default_factory=weakref.WeakSet, init=False)

    @cached_property
    def qemu(self) -> Qemu:
        """The QEMU in use."""
        return find_qemu(self.config.qemu, paths=self.paths)

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

    @asynccontextmanager
    async def open_machine(
        self, name: str, reference: str, options: MachineOptions, cloud_init: Mapping[str, Any], *, place: Place, bus: Bus
    ) -> AsyncGenerator[Machine]:
        """A machine that is ready, and gone when the block ends.

        Args:
            name: its name, which is also the guest's hostname where the guest takes one.
            reference: the image: a recipe, a name of the catalogue, a path, or a URL with a digest.
            cloud_init: merged into the seed.

        Raises:
            QaError: this host cannot run it, or the guest did not come up.
        """
        choice = await self.accelerator(bus)
        self._tell_accelerator(choice, bus)
        image = await resolve(reference, paths=self.paths, bus=bus, base_folder=place.base_folder)
        work = self._work_folder(name, place)
        try:
            setup = await self._prepare(
                name, image=image, options=options, cloud_init=cloud_init, place=place, work=work, choice=choice, bus=bus
            )
            async with Machine.open(setup, bus) as machine:
                await machine.boot(SMALL_GUEST_LIMIT if image.shell else BOOT_LIMIT)
                yield machine
        finally:
            if self.keep:
                bus.notice(f"the disks of {name} are kept in {work}")
            else:
                shutil.rmtree(work, ignore_errors=True)

    def _tell_accelerator(self, choice: Choice, bus: Bus) -> None:
        """Once for each run, however many machines it has."""
        if bus not in self._told:
            self._told.add(bus)
            bus.notice(choice.reason)
            if choice.warning:
                bus.notice(choice.warning, "warning")

    def _work_folder(self, name: str, place: Place) -> Path:
        if not self.keep:
            return self.owner.machine_folder(name)
        work = place.results / f"disks-{name}"
        work.mkdir(parents=True)
        return work

    async def _prepare(
        self,
        name: str,
        *,
        image: Image,
        options: MachineOptions,
        cloud_init: Mapping[str, Any],
        place: Place,
        work: Path,
        choice: Choice,
        bus: Bus,
    ) -> MachineSetup:
        if cloud_init and not (image.cloud_init and options.seed):
            hint = "leave out cloud_init, or use an image with it" if options.seed else "leave out seed: false"
            raise UsageError(f"image {image.reference!r} gets no cloud-init seed, so cloud_init would have no effect", hint=hint)
        memory = options.memory or image.memory
        _check_memory(name, memory)
        wants_ssh = options.network != "none" and (options.channel == "ssh" or (options.channel == "auto" and not image.shell))
        seeded = image.cloud_init and options.seed
        ssh = _new_ssh_access(options, with_host_key=seeded) if wants_ssh else None
        disks = [await self._first_disk(image, options, work), *await self._more_disks(options, place, work, bus)]
        if seeded:
            seed = work / "seed.iso"
            _write_seed(seed, name, cloud_init, ssh)
            # As a disk and not as a CD: kernels for clouds, such as that of Debian 12, have no driver for CDs.
            disks.append(Disk(seed, "raw", read_only=True, bootable=False))
        return MachineSetup(
            name=name,
            image=image,
            qemu=self.qemu,
            firmware=self.firmware,
            accel=choice.accel,
            accel_reason=choice.reason,
            factor=self.config.tcg_factor if choice.accel == "tcg" else 1.0,
            work=work,
            results=place.results,
            memory=memory,
            cpus=options.cpus,
            disks=tuple(disks),
            console_log=place.console_log,
            qemu_log=place.qemu_log,
            network=options.network,
            forward=options.forward,
            smbios_strings=smbios_strings(ssh.public_key if ssh else None),
            channel=options.channel,
            login=Login(options.login.user, options.login.password) if options.login else None,
            ssh=ssh,
            has_cloud_init_part=bool(cloud_init),
        )

    async def _first_disk(self, image: Image, options: MachineOptions, work: Path) -> Disk:
        file = work / "disk0.qcow2"
        await create_overlay(image, file, options.disk)
        return Disk(file, "qcow2")

    async def _more_disks(self, options: MachineOptions, place: Place, work: Path, bus: Bus) -> list[Disk]:
        disks = []
        for number, extra in enumerate(options.disks, start=1):
            file = work / f"disk{number}.qcow2"
            if extra.path is not None:
                image = await resolve(str(extra.path), paths=self.paths, bus=bus, base_folder=place.base_folder)
                await create_overlay(image, file, extra.size)
            else:
                assert extra.size is not None  # the options were checked
                await create_disk(file, extra.size)
            disks.append(Disk(file, "qcow2", serial=extra.serial))
        return disks

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


def _new_ssh_access(options: MachineOptions, *, with_host_key: bool) -> Any:
    """Keys of the machine's own. The host key is pinned where the seed hands it to the guest; else the first seen counts."""
    from qa.guest.ssh import SshAccess  # noqa: PLC0415 -- costs 0.2 s, and the built-in guest does not need it

    return SshAccess.generate(options.login.user if options.login else "root", with_host_key=with_host_key)


def _write_seed(path: Path, name: str, cloud_init: Mapping[str, Any], ssh: Any) -> None:
    variables = {"hostname": name, "shell_name": UNIT_NAME, "shell_unit": base64.b64encode(UNIT.encode()).decode()}
    if ssh:
        private, public = ssh.host_key_files()
        variables |= {"ssh_public_key": ssh.public_key, "ssh_host_key": private, "ssh_host_public_key": public}
    write_seed(path, instance_id=f"anima-qa-{uuid.uuid4()}", hostname=name, user_data=render_user_data(variables, cloud_init))
