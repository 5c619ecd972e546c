"""A machine that is planned down to the last detail, and what its frozen states depend on."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qa import __version__
from qa.doctor.judge import Choice
from qa.guest.shell_script import UNIT, UNIT_NAME, control_prelude, slot_prelude, smbios_strings
from qa.host.accelerators import cpu_model
from qa.host.firmware import Firmware
from qa.host.qemu import Qemu
from qa.images.image import Image
from qa.images.overlay import create_disk, create_overlay, rest_on
from qa.images.probe import stat_identity
from qa.images.seed import render_user_data, template_digest, write_seed
from qa.operations.options import MachineOptions
from qa.qemu.argv import build_argv, channel_names
from qa.qemu.spec import Disk, Flash, MachineSpec

SEED = "seed.iso"


@dataclass(frozen=True)
class Blueprint:
    """A machine that could be booted, and whose files are not made yet.

    Attributes:
        name: its own, and the guest's hostname where the guest takes one from the seed.
        others: the images of more disks, in their order; None for an empty one.
        cloud_init: merged into the seed.
    """

    name: str
    image: Image
    others: tuple[Image | None, ...]
    options: MachineOptions
    cloud_init: Mapping[str, Any]
    qemu: Qemu
    firmware: Firmware
    choice: Choice

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.options.memory or self.image.memory

    @property
    def seeded(self) -> bool:
        """Whether it gets a seed for cloud-init."""
        wanted = self.options.channel != "none" or bool(self.cloud_init)
        return self.image.cloud_init and self.options.seed and wanted

    @property
    def wants_ssh(self) -> bool:
        """Whether commands may have to go over SSH."""
        channel = self.options.channel
        return self.options.network != "none" and (channel == "ssh" or (channel == "auto" and not self.image.shell))

    @property
    def bases(self) -> tuple[Path, ...]:
        """The images that its disks build on."""
        return (self.image.path, *(other.path for other in self.others if other))

    @property
    def title(self) -> str:
        """What it is, for people."""
        cpus = f"{self.options.cpus} processor{'s' if self.options.cpus > 1 else ''}"
        return f"{self.image.reference}, {self.memory >> 20} MB, {cpus}, {self.choice.accel}"

    def disks(self, work: Path) -> tuple[Disk, ...]:
        """Its disks, with their files in ``work``."""
        disks = [Disk(work / "disk0.qcow2", "qcow2")]
        for number, extra in enumerate(self.options.disks, start=1):
            disks.append(Disk(work / f"disk{number}.qcow2", "qcow2", serial=extra.serial))
        if self.seeded:
            # As a disk and not as a CD: kernels for clouds, such as that of Debian 12, have no driver for CDs.
            disks.append(Disk(work / SEED, "raw", read_only=True, bootable=False))
        return tuple(disks)

    async def make_disks(self, work: Path, ssh: Any) -> None:
        """Make the files of its disks; ``ssh`` is the access that the seed lets in.

        Raises:
            UsageError: a size does not fit its image.
            NoSpace: the file system is full.
            ImageError: qemu-img refused.
        """
        await create_overlay(self.image, work / "disk0.qcow2", self.options.disk)
        for number, (extra, image) in enumerate(zip(self.options.disks, self.others, strict=True), start=1):
            if image is not None:
                await create_overlay(image, work / f"disk{number}.qcow2", extra.size)
            else:
                assert extra.size is not None  # the options were checked
                await create_disk(work / f"disk{number}.qcow2", extra.size)
        if self.seeded:
            identity = f"anima-qa-{uuid.uuid4()}"
            write_seed(work / SEED, instance_id=identity, hostname=self.name, user_data=self._user_data(ssh))

    def _user_data(self, ssh: Any) -> str:
        variables = {"hostname": self.name, "shell_name": UNIT_NAME, "shell_unit": base64.b64encode(UNIT.encode()).decode()}
        if ssh:
            private, public = ssh.host_key_files()
            variables |= {"ssh_public_key": ssh.public_key, "ssh_host_key": private, "ssh_host_public_key": public}
        return render_user_data(variables, self.cloud_init)

    def strings(self, ssh: Any) -> tuple[str, ...]:
        """What the guest's systemd is told over SMBIOS."""
        if self.options.channel == "none":
            return ()
        return smbios_strings(ssh.public_key if ssh else None)

    @cached_property
    def made_of(self) -> dict[str, str]:
        """All that a frozen state of this machine depends on: whatever would make QEMU, the guest or our side of its channels
        another one. Names for people, and a digest each. What is drawn anew for each boot is left out."""
        flash, options = self.firmware, self.options
        parts: dict[str, Any] = {
            "anima-qa": [__version__, control_prelude(), slot_prelude("")],
            "QEMU": [self.qemu.version_text, self.qemu.package, stat_identity(self.qemu.path)],
            "the firmware": [stat_identity(flash.code), stat_identity(flash.vars)],
            "the host's processor or kernel": [cpu_model(), platform.release()] if self.choice.accel == "kvm" else [],
            "the hardware": self._command_line(),
            "the image": [self.image.identity, self.image.format, self.image.shell],
            "the disks": [
                options.disk,
                *(
                    [other.identity if other else "", extra.size, extra.serial]
                    for extra, other in zip(options.disks, self.others, strict=True)
                ),
            ],
            "the cloud-init seed": [self.name, template_digest(), self.cloud_init] if self.seeded else [],
            "the channel": [options.channel, options.login.model_dump() if options.login else None, self.wants_ssh],
        }
        return {name: _digest(part) for name, part in parts.items()}

    @cached_property
    def key(self) -> str:
        """`made_of` as one word, by which templates are found."""
        return _digest(self.made_of)

    def _command_line(self) -> list[str]:
        """Of QEMU, with everything left out that differs between two starts of the same machine."""
        spec = MachineSpec(
            name="",
            accel=self.choice.accel,
            memory=self.memory,
            cpus=self.options.cpus,
            flash=Flash(self.firmware.code, self.firmware.code_format, Path("vars"), self.firmware.vars_format),
            disks=self.disks(Path()),
            network=self.options.network,
            boot_menu=self.options.boot_menu,
            smbios_strings=() if self.options.channel == "none" else smbios_strings("key" if self.wants_ssh else None),
        )
        return build_argv(Path("qemu"), spec, {name: number for number, name in enumerate(channel_names(spec))})


async def keep_disks(disks: tuple[Disk, ...], blueprint: Blueprint) -> None:
    """Make the disks of a machine that is off independent of frozen states, and give them the names that they began with.

    Raises:
        NoSpace: the file system is full.
        ImageError: qemu-img refused.
    """
    for disk, plain, base in zip(
        disks, blueprint.disks(disks[0].path.parent), (blueprint.image, *blueprint.others, None), strict=False
    ):
        if disk.path == plain.path or disk.read_only:
            continue
        await rest_on(disk.path, base)
        disk.path.replace(plain.path)
        for layer in plain.path.parent.glob(f"{plain.path.stem}.*.qcow2"):
            layer.unlink()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_in_order(value), default=str).encode()).hexdigest()


def _in_order(value: Any) -> Any:
    """The same for mappings that are equal; their keys may be anything that YAML knows."""
    if isinstance(value, Mapping):
        return sorted([repr(key), _in_order(one)] for key, one in value.items())
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    return value
