"""What a machine is made of, in our words; ``argv`` turns it into QEMU's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PORTS = 15
"""Virtio serial ports of each machine. The first is a console (hvc0), where a control shell lives; the others carry commands in
pairs. Linux makes terminals of 8 consoles at most, so they are plain ports: as files they are quicker, too."""


@dataclass(frozen=True)
class Disk:
    """One block device. The format is given, never guessed: a guest can write another format's header into a raw disk.

    ``bootable`` disks are tried in their order. ``throwaway`` disks need no crash safety on the host, so the guest's flushes
    stay in the host's cache.
    """

    path: Path
    format: str
    read_only: bool = False
    bootable: bool = True
    throwaway: bool = True
    serial: str | None = None


@dataclass(frozen=True)
class Flash:
    """A UEFI firmware: the code, shared and read-only, and this machine's own copy of its variables."""

    code: Path
    code_format: str
    variables: Path
    variables_format: str


@dataclass(frozen=True)
class MachineSpec:
    """The whole machine.

    Attributes:
        memory: bytes.
        boot_menu: seconds for which the firmware waits for a key before it boots; 0 boots at once.
        smbios_strings: (type 11) what the guest's systemd is told at boot.
        frozen_memory: a file as large as the memory: the machine goes on from a frozen state, whose memory this is. It is never
            written to; what the guest writes is this machine's own. None for a machine that boots.
    """

    name: str
    accel: Literal["kvm", "tcg"]
    memory: int
    cpus: int
    flash: Flash
    disks: tuple[Disk, ...]
    network: Literal["user", "restricted", "none"] = "user"
    boot_menu: float = 0.0
    smbios_strings: tuple[str, ...] = ()
    ports: int = PORTS
    exit_with_parent: bool = False
    frozen_memory: Path | None = None
