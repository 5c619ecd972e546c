"""Everything that is decided about a machine before its first boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qa.host.firmware import Firmware
from qa.host.qemu import Qemu
from qa.images.image import Image
from qa.qemu.spec import Disk
from qa.screen.film import Film
from qa.screen.layouts import LayoutName
from qa.snapshots.store import Store

ChannelChoice = Literal["auto", "shell", "ssh", "serial", "none"]
"""``none``: nothing of ours goes into the guest; the machine is ready as soon as it runs."""

BOOT_LIMIT = 120.0
"""Seconds from power-on to ready, before the factor for software emulation: slow cloud images on busy KVM hosts take 60."""


SSH_PORT = 22


@dataclass(frozen=True)
class Login:
    """A user and password for the serial console; the user also for SSH."""

    user: str = "root"
    password: str = ""


@dataclass(frozen=True)
class MachineSetup:
    """A machine on paper.

    Attributes:
        accel_reason: why this accelerator, in one sentence.
        factor: limits on the guest are multiplied by it (1 with KVM).
        work: the machine's own folder for its overlay and firmware variables; removed with the machine.
        results: where its logs and pictures go.
        store: where its frozen states are kept.
        made_of: what a frozen state of it depends on: names for people, and a digest each. Another machine's does not fit.
        disks: the first is the one it boots from; the seed comes last.
        bases: the images that its disks build on.
        renew_identity: a machine that begins from a frozen state gets a hostname, machine id and SSH host keys of its own.
        boot_menu: seconds for which the firmware waits for a key before it boots.
        label: tells its pictures from those of other machines of its name; empty where there are none.
        needles: folders in which needles are looked for, the nearest first.
        film: gets the pictures of its screen; None where nobody wants them.
        keyboard: the layout of the guest's keyboard; what is typed is spelled in it.
        text_language: what texts on its screen are written in, in tesseract's words.
        smbios_strings: what the guest's systemd is told at boot.
        ssh: what the SSH channel needs, or None where there is none.
    """

    name: str
    image: Image
    qemu: Qemu
    firmware: Firmware
    accel: Literal["kvm", "tcg"]
    accel_reason: str
    factor: float
    work: Path
    results: Path
    store: Store
    made_of: Mapping[str, str]
    memory: int
    cpus: int
    disks: tuple[Disk, ...]
    console_log: Path
    qemu_log: Path
    network: Literal["user", "restricted", "none"] = "user"
    forward: tuple[int, ...] = ()
    smbios_strings: tuple[str, ...] = ()
    channel: ChannelChoice = "auto"
    boot_menu: float = 0.0
    login: Login | None = None
    ssh: Any = None
    has_cloud_init_part: bool = False
    bases: tuple[Path, ...] = ()
    renew_identity: bool = False
    label: str = ""
    needles: tuple[Path, ...] = ()
    keyboard: LayoutName = "us"
    text_language: str = "eng"
    film: Film | None = None

    @property
    def variables(self) -> Path:
        """The machine's own copy of the firmware's variables."""
        return self.work / f"{self.name}-vars.fd"
