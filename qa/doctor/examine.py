"""The whole examination: every check, in the order in which people read them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from qa.config import Config
from qa.doctor.judge import Accel, Boot, Choice, Trial, choose_accelerator, verdict_on_kvm
from qa.doctor.report import (
    Attempt,
    Report,
    check_accelerator,
    check_attempt,
    check_firmware,
    check_helpers,
    check_qemu,
    check_system,
    check_warm_starts,
    failed,
)
from qa.errors import QaError
from qa.host.accelerators import KvmDevice, kvm_device
from qa.host.children import cannot_reach_children
from qa.host.qemu import Qemu, find_qemu
from qa.host.resources import resources
from qa.paths import Paths
from qa.screen.text.tesseract import find_tesseract, languages
from qa.snapshots.store import Store


async def examine(
    paths: Paths, config: Config, make_boot: Callable[[Qemu], Boot], *, boot: bool = False, device: KvmDevice | None = None
) -> Report:
    """Look at everything that scripts need on this host.

    Args:
        make_boot: makes what boots a guest with the QEMU that was found.
        boot: boot the built-in guest under each accelerator that could work, whatever is remembered. Without it a guest is
            booted only when nothing is remembered of KVM and its device opens.
        device: the state of ``/dev/kvm`` when it is known already.
    """
    try:
        qemu: Qemu | QaError = find_qemu(config.qemu, paths=paths)
    except QaError as error:
        qemu = error
    firmware = check_firmware()
    checks = [*check_system(resources(), paths.cache), *check_qemu(qemu), firmware]
    if isinstance(qemu, Qemu):
        checks.append(check_warm_starts(qemu, Store.of(paths, config), cannot_reach_children()))
    choice: Choice | None = None
    if isinstance(qemu, Qemu) and firmware.status == "ok":
        guest = make_boot(qemu)
        found = device or kvm_device()
        if boot:
            checks += [check_attempt(attempt, qemu) for attempt in await _boots(qemu, guest, paths, config, found)]
        try:
            choice = await choose_accelerator(config.accel, config.require_kvm, qemu=qemu, paths=paths, boot=guest, device=found)
            checks.append(check_accelerator(choice, found))
        except QaError as error:
            checks.append(failed("accelerator", error))
    return Report((*checks, *check_helpers(languages=await _languages())), choice.accel if choice else None)


async def _languages() -> list[str] | QaError | None:
    """What text can be read in, or why that is not known; None without tesseract."""
    tesseract = find_tesseract()
    try:
        return await languages(tesseract) if tesseract else None
    except QaError as error:
        return error


async def _boots(qemu: Qemu, guest: Boot, paths: Paths, config: Config, device: KvmDevice) -> list[Attempt]:
    """A boot under each accelerator that could work; the verdict on KVM is remembered anew."""
    listening = _Listening(guest)
    if config.accel != "tcg" and device.state == "opens":
        with suppress(QaError):  # kept as an attempt that failed
            await verdict_on_kvm(qemu, listening, paths=paths, device=device, again=True)
    if "accel:tcg" in qemu.features:
        with suppress(QaError):
            await listening("tcg")
    return listening.attempts


class _Listening:
    """A boot that keeps how each attempt ended."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self.attempts: list[Attempt] = []

    async def __call__(self, accel: Accel) -> Trial:
        try:
            trial = await self._boot(accel)
        except QaError as error:
            self.attempts.append(Attempt(accel, error))
            raise
        self.attempts.append(Attempt(accel, trial))
        return trial
