"""What is known of this host's accelerators: the state of ``/dev/kvm`` in words, and the remembered verdict on KVM.

A device that opens proves nothing: some hosts let ``KVM_CREATE_VM`` succeed and then run no guest. So the verdict comes from a
real boot (`qa.doctor.judge`) and is only kept here.
"""

from __future__ import annotations

import errno
import grp
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from qa.host.files import write_atomically
from qa.host.qemu import Qemu
from qa.paths import Paths

KVM_DEVICE = Path("/dev/kvm")

KEPT = 32
"""How many verdicts are kept: one for each pair of QEMU and kernel, so years of updates."""

DeviceState = Literal["absent", "denied", "broken", "opens"]


@dataclass(frozen=True)
class Verdict:
    """Whether guests run under an accelerator, and how that is known.

    Attributes:
        accel: the accelerator.
        works: whether a guest ran.
        reason: one sentence for people, without a full stop at its end.
        checked: when it was found out, ISO 8601 in UTC.
    """

    accel: Literal["kvm", "tcg"]
    works: bool
    reason: str
    checked: str


@dataclass(frozen=True)
class KvmDevice:
    """The state of the device, in a sentence, and what to do about it."""

    state: DeviceState
    detail: str
    hint: str | None = None


def kvm_device(device: Path = KVM_DEVICE, cpuinfo: Path = Path("/proc/cpuinfo")) -> KvmDevice:
    """Open ``device`` and tell absent from not allowed."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return _absent(device, cpuinfo)
    except PermissionError:
        return _denied(device)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        return KvmDevice("broken", f"{device} does not open: {error.strerror} ({name})", "load the module kvm_intel or kvm_amd")
    return KvmDevice("opens", f"{device} opens")


def _absent(device: Path, cpuinfo: Path) -> KvmDevice:
    try:
        flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        flags = set()
    if not flags & {"vmx", "svm"}:
        return KvmDevice(
            "absent",
            f"there is no {device}, and the processor shows no hardware virtualisation (vmx, svm)",
            "switch it on in the firmware's settings; in a virtual machine, let its host allow nested virtualisation",
        )
    module = "kvm_intel" if "vmx" in flags else "kvm_amd"
    return KvmDevice(
        "absent",
        f"there is no {device}",
        f"load the module with: modprobe {module}; in a container, pass the device: --device {device}",
    )


def _denied(device: Path) -> KvmDevice:
    status = device.stat()
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    detail = f"{device} may not be opened by this user"
    if status.st_gid in {os.getegid(), *os.getgroups()}:
        return KvmDevice("denied", f"{detail}, although it is in the group {group}", f"allow it with: sudo chmod g+rw {device}")
    if group == "root" or status.st_mode & 0o060 != 0o060:
        hint = f"allow it with: sudo setfacl -m u:$(id -un):rw {device}"
        return KvmDevice("denied", f"{detail}, and its group {group} does not help", hint)
    return KvmDevice(
        "denied",
        f"{detail}: it is not in the group {group}",
        f"join it with: sudo usermod -aG {group} $(id -un), and log in again; in a container, add --group-add {status.st_gid}",
    )


class _Kept(BaseModel):
    works: bool
    reason: str
    checked: str
    boot: str


class _File(BaseModel):
    format: Literal[1] = 1
    kvm: dict[str, _Kept] = {}


def remembered(paths: Paths, qemu: Qemu) -> Verdict | None:
    """The verdict on KVM that holds for this QEMU, kernel and processor, or None.

    A refusal holds until the host is booted again only: by then a firmware setting or a module's option may have changed.
    """
    kept = _load(paths.verdicts).kvm.get(_key(qemu))
    if kept is None or (not kept.works and kept.boot != boot_id()):
        return None
    return Verdict("kvm", kept.works, kept.reason, kept.checked)


def remember(paths: Paths, qemu: Qemu, verdict: Verdict) -> None:
    """Keep ``verdict`` for this QEMU, kernel and processor. Verdicts on software emulation are not kept: it always works.

    Raises:
        OSError: the state folder cannot be written.
    """
    if verdict.accel != "kvm":
        return
    file = _load(paths.verdicts)
    key = _key(qemu)
    file.kvm.pop(key, None)
    fields = asdict(verdict)
    del fields["accel"]
    file.kvm[key] = _Kept(**fields, boot=boot_id())
    file.kvm = dict(list(file.kvm.items())[-KEPT:])
    write_atomically(paths.verdicts, file.model_dump_json(indent=1))


def _load(file: Path) -> _File:
    try:
        return _File.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):  # absent or broken: judged again
        return _File()


def _key(qemu: Qemu) -> str:
    return " | ".join((str(qemu.path), qemu.version_text, qemu.package, platform.release(), cpu_model()))


def boot_id(file: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """What names the host's present boot; empty where the kernel does not tell."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the kernel tells it, else its architecture."""
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.machine()
