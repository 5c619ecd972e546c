"""The verdict on KVM, by a real boot, and the choice of the accelerator that follows from it.

Presence of ``/dev/kvm``, its permissions and its ioctls decide nothing: on some hosts it opens, creates virtual machines, and
none runs. So a guest is booted under KVM, once for each QEMU, kernel and processor, and the outcome is remembered.

The branch in which KVM works was written by the documentation and is tested with fakes only: it never ran on a host that has a
working KVM.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from qa.deadline import format_duration
from qa.errors import AcceleratorUnavailable, DeadlineExceeded, MachineError, QaError, UsageError
from qa.host.accelerators import KvmDevice, Verdict, kvm_device, remember, remembered
from qa.host.packages import install_hint
from qa.host.qemu import Qemu
from qa.paths import Paths

Accel = Literal["kvm", "tcg"]

TELLING = re.compile(r"error|fail|kvm|abort|assert|not (permitted|supported)|internal", re.IGNORECASE)
"""What the line of QEMU's log has in it that says why it ended."""

OLD_TCG = "QEMU {version} miscompiles recent kernels under software emulation: guests may crash at random"


@dataclass(frozen=True)
class Trial:
    """A guest that was booted to prove an accelerator.

    Attributes:
        accel: the accelerator.
        subject: what was booted: ``the built-in guest``, or ``the firmware`` where that guest could not be had.
        ready_s: seconds from power-on until it answered.
    """

    accel: Accel
    subject: str
    ready_s: float

    def describe(self) -> str:
        """In a sentence."""
        return f"{self.subject} answered {format_duration(self.ready_s)} after power-on"


Boot = Callable[[Accel], Awaitable[Trial]]
"""Boots something under an accelerator (`qa.doctor.trial.Trials.boot`); raises MachineError or DeadlineExceeded when it fails."""


@dataclass(frozen=True)
class Choice:
    """The accelerator to use.

    Attributes:
        accel: the accelerator.
        reason: one sentence for people: why this one.
        warning: what they should know about it, or None.
    """

    accel: Accel
    reason: str
    warning: str | None = None


def cause(error: QaError) -> str:
    """The error's message, with the line of its evidence that tells most."""
    for text in error.evidence.values():
        for line in text.splitlines():
            # The log begins with the command line, in which every device looks like an error.
            if TELLING.search(line) and not line.lstrip().startswith(("$", "+", "/")) and " -machine " not in line:
                return f"{error.message} ({line.strip()[:200]})"
    return error.message


async def judge_kvm(qemu: Qemu, boot: Boot, *, device: KvmDevice | None = None) -> Verdict:
    """Find out whether guests run under KVM here. A host where none does is known within a second.

    Raises:
        HostError: nothing could be booted for a reason that has nothing to do with KVM, such as no firmware.
    """
    if "accel:kvm" not in qemu.features:
        return _verdict(works=False, reason=f"{qemu.path} was built without KVM")
    found = device or kvm_device()
    if found.state != "opens":
        return _verdict(works=False, reason=found.detail)
    try:
        trial = await boot("kvm")
    except (MachineError, DeadlineExceeded) as error:
        return _verdict(works=False, reason=f"{found.detail}, but no guest runs: {cause(error)}")
    return _verdict(works=True, reason=trial.describe())


def _verdict(*, works: bool, reason: str) -> Verdict:
    return Verdict("kvm", works, reason, datetime.now(UTC).isoformat(timespec="seconds"))


async def verdict_on_kvm(
    qemu: Qemu, boot: Boot, *, paths: Paths, device: KvmDevice | None = None, again: bool = False
) -> Verdict:
    """The remembered verdict on KVM, or a fresh one, which is then remembered; ``again`` asks for a fresh one.

    What does not need a boot (no device, no permission, no KVM in QEMU) is looked at every time and never remembered.
    """
    found = device or kvm_device()
    worth_a_boot = found.state == "opens" and "accel:kvm" in qemu.features
    if worth_a_boot and not again and (known := remembered(paths, qemu)):
        return known
    verdict = await judge_kvm(qemu, boot, device=found)
    if worth_a_boot:
        with contextlib.suppress(OSError):  # then it is judged again next time, which costs a boot
            remember(paths, qemu, verdict)
    return verdict


async def choose_accelerator(
    wanted: Literal["auto", "kvm", "tcg"],
    require_kvm: bool,
    *,
    qemu: Qemu,
    paths: Paths,
    boot: Boot,
    device: KvmDevice | None = None,
) -> Choice:
    """The accelerator to use: KVM where guests run under it, else software emulation (TCG), with the reason.

    Args:
        wanted: the setting ``accel``. With ``tcg`` nothing is judged; with ``kvm`` there is no falling back.
        require_kvm: refuse to fall back.
        qemu: the QEMU that will be used.
        paths: where verdicts are remembered.
        boot: how to boot a guest when there is no verdict yet.
        device: the state of ``/dev/kvm`` when it is known already.

    Raises:
        AcceleratorUnavailable: the accelerator asked for does not run guests here, or there is none.
        UsageError: software emulation was asked for together with ``require_kvm``.
    """
    if wanted == "tcg":
        if require_kvm:
            raise UsageError("KVM is required and software emulation is asked for", hint="leave out --require-kvm or --accel tcg")
        return _software(qemu, "software emulation (TCG), as asked for")
    found = device or kvm_device()
    verdict = await verdict_on_kvm(qemu, boot, paths=paths, device=found)
    if verdict.works:
        return Choice("kvm", f"KVM: {verdict.reason}")
    if wanted == "kvm" or require_kvm:
        asked = "required" if require_kvm else "asked for"
        hint = found.hint or "use --accel auto to run in software emulation; 'anima-qa doctor --boot' judges again"
        raise AcceleratorUnavailable(f"KVM is {asked} and does not work here: {verdict.reason}", hint=hint)
    return _software(qemu, f"software emulation (TCG), because KVM does not work here: {verdict.reason}")


def _software(qemu: Qemu, reason: str) -> Choice:
    if "accel:tcg" not in qemu.features:
        raise AcceleratorUnavailable(
            f"{qemu.path} has no software emulation (TCG); wanted was {reason}", hint=install_hint("qemu")
        )
    return Choice("tcg", reason, None if qemu.tcg_trusted else OLD_TCG.format(version=qemu.version_text))
