"""A real boot that proves an accelerator: the built-in guest, or the firmware alone where that guest cannot be had."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path

from qa.deadline import DEFAULT_TCG_FACTOR
from qa.doctor.judge import Accel, Trial
from qa.errors import BootFailed, HostError
from qa.events import Bus
from qa.host.firmware import find_firmware
from qa.host.qemu import Qemu
from qa.images.image import Image
from qa.images.overlay import create_disk, create_overlay
from qa.images.prebuilt import prebuilt
from qa.images.recipes import recipes
from qa.images.resolve import resolve
from qa.images.store import Store
from qa.machine import Machine, MachineSetup
from qa.paths import Paths
from qa.qemu.spec import Disk
from qa.snapshots.store import Store as Snapshots

BUILTIN = "builtin"

TRIAL_LIMIT_S = 30.0
"""Seconds for the boot, before the factor for software emulation. The built-in guest takes 7 s under TCG, so whoever needs more
under KVM does not have a KVM worth using."""

EMPTY_DISK = 1 << 20
"""Bytes of the disk with which the firmware is booted alone."""

FIRMWARE_SPEAKS = r"BdsDxe|UEFI|Shell>"
"""What OVMF says on the serial console when it has found nothing to boot."""


class Trials:
    """Boots guests to prove accelerators; calling it is a `qa.doctor.judge.Boot`.

    Args:
        build: build the built-in guest when it is not there yet. Without it the firmware is booted alone then.
        tcg_factor: multiplies the time limit under software emulation.
        work: where its files lie while it runs; None for the system's folder for temporary files.
    """

    def __init__(
        self,
        qemu: Qemu,
        paths: Paths,
        bus: Bus,
        *,
        build: bool = False,
        tcg_factor: float = DEFAULT_TCG_FACTOR,
        work: Path | None = None,
    ) -> None:
        self._qemu = qemu
        self._paths = paths
        self._bus = bus
        self._build = build
        self._tcg_factor = tcg_factor
        self._work = work
        self._looked = False
        self._guest: Image | None = None

    async def __call__(self, accel: Accel) -> Trial:
        """Boot under ``accel``.

        Raises:
            MachineError: the guest or QEMU died.
            DeadlineExceeded: the guest did not answer within `TRIAL_LIMIT_S`.
            HostError: there is no firmware, no space, or no qemu-img.
        """
        image = await self._image()
        self._bus.notice(f"trying {accel.upper()} with {_subject(image)}")
        with tempfile.TemporaryDirectory(prefix="anima-qa-doctor-", dir=self._work) as name:
            work = Path(name)
            disk = work / "disk.qcow2"
            if image:
                await create_overlay(image, disk)
            else:
                await create_disk(disk, EMPTY_DISK)
            setup = self._setup(accel, image or _empty(disk), disk, work)
            async with Machine.open(setup, Bus()) as machine:
                return Trial(accel, _subject(image), await _boot(machine, guest=image is not None))

    async def _image(self) -> Image | None:
        """The built-in guest, or None where it cannot be had; looked for once."""
        if not self._looked:
            self._looked = True
            try:
                if self._build or self._is_built():
                    self._guest = await resolve(BUILTIN, paths=self._paths, bus=self._bus, base_folder=Path.cwd())
            except HostError as error:
                without = f"the built-in guest cannot be had, so the firmware is booted alone: {error.message}"
                self._bus.notice(without, "warning")
        return self._guest

    def _is_built(self) -> bool:
        recipe = recipes().get(BUILTIN)
        if recipe is None:
            return False
        key = recipe.key()
        return prebuilt(BUILTIN, key) is not None or Store.of(self._paths).find(BUILTIN, key) is not None

    def _setup(self, accel: Accel, image: Image, disk: Path, work: Path) -> MachineSetup:
        return MachineSetup(
            name=f"trial-{accel}",
            image=image,
            qemu=self._qemu,
            firmware=find_firmware(),
            accel=accel,
            accel_reason="tried by the doctor",
            factor=1.0 if accel == "kvm" else self._tcg_factor,
            work=work,
            results=work,
            store=Snapshots(work / "snapshots"),
            made_of={},
            memory=image.memory,
            cpus=1,
            disks=(Disk(disk, "qcow2"),),
            console_log=work / "console.log",
            qemu_log=work / "qemu.log",
            network="none",
            channel="shell",
        )


def _empty(disk: Path) -> Image:
    return Image("empty", disk, "qcow2", EMPTY_DISK, "empty", cloud_init=False, memory=256 << 20)


def _subject(guest: Image | None) -> str:
    return "the built-in guest" if guest else "the firmware"


async def _boot(machine: Machine, *, guest: bool) -> float:
    """Seconds from power-on until the guest, or else the firmware, has shown that it runs."""
    started = time.monotonic()
    if guest:
        await machine.boot(TRIAL_LIMIT_S)
        return machine.ready_s or time.monotonic() - started
    await machine.power_on()
    with suppress(BootFailed):  # it says that there is nothing to boot, which is what it was given
        await machine.wait_for_console_text(FIRMWARE_SPEAKS, TRIAL_LIMIT_S)
    return time.monotonic() - started
