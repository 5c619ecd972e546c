"""Everything the doctor looks at, as a list of checks with what to do about each."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from qa import __version__
from qa.doctor.judge import OLD_TCG, Accel, Choice, Trial, cause
from qa.errors import QaError, SnapshotError
from qa.host.accelerators import KvmDevice
from qa.host.children import HINT as CHILDREN_HINT
from qa.host.firmware import find_firmware
from qa.host.helpers import Found, find_helpers
from qa.host.packages import install_hint
from qa.host.qemu import Qemu, find_qemu_img
from qa.host.resources import Resources, free_space
from qa.snapshots.store import Store

Status = Literal["ok", "warning", "missing"]

GIB = 1 << 30
ENOUGH_MEMORY = 2 * GIB
"""A cloud guest of 1 GiB, QEMU's own memory beside it, and room for the host."""
LEAST_MEMORY = 400 << 20
"""The built-in guest has 256 MiB, and software emulation takes up to 100 MiB more."""
ENOUGH_DISK = 5 * GIB
"""A cloud image as it was pulled (0.5 GiB), its overlay, and a saved state of 1 GiB, for a few machines."""
NEWER_FEATURES = {
    "file-migration": "8.2",
    "exit-with-parent": "10.2",
}
"""What is used when QEMU has it, and the version it came with."""

NEEDED_FEATURES = (
    *("sandbox", "vmgenid", "pvpanic-pci", "virtio-rng-pci", "virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci"),
    *("virtconsole", "VGA", "qemu-xhci", "usb-tablet"),
)
"""What is on the command line of every machine."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        status: ``missing`` means that it is not there or does not work.
        detail: what was found.
        hint: what to do about it, where there is something to do.
        needed: whether scripts cannot run here without it.
    """

    name: str
    status: Status
    detail: str
    hint: str | None = None
    needed: bool = False


@dataclass(frozen=True)
class Attempt:
    """A boot that was tried for ``doctor --boot``: what ran, or the error that ended it."""

    accel: Accel
    outcome: Trial | QaError


@dataclass(frozen=True)
class Report:
    """What this host can do."""

    checks: tuple[Check, ...]
    accel: Accel | None

    @property
    def can_run(self) -> bool:
        """Whether scripts can run here."""
        return not any(check.needed and check.status == "missing" for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For ``doctor --json``; its layout only grows."""
        return {
            "schema": 1,
            "can_run": self.can_run,
            "accel": self.accel,
            "checks": [asdict(check) for check in self.checks],
        }


def check_system(resources: Resources, cache: Path) -> Iterator[Check]:
    """This program and where it is, and the machine itself: kernel, Python, processors, memory, disk."""
    yield Check("anima-qa", "ok", f"{__version__} in {Path(__file__).parents[2]}")
    cpus = f"{resources.cpus} processor{'s' if resources.cpus > 1 else ''}"
    yield Check("system", "ok", f"Linux {platform.release()} on {platform.machine()}, {cpus}, Python {platform.python_version()}")
    free, total = resources.memory, resources.memory_total
    detail = f"{_size(free)} of {_size(total)} available"
    if free < LEAST_MEMORY:
        hint = f"free some: the smallest guest needs {_size(LEAST_MEMORY)}"
        yield Check("memory", "missing", detail, hint, needed=True)
    elif free < ENOUGH_MEMORY:
        yield Check("memory", "warning", detail, f"guests of 1 GiB want {_size(ENOUGH_MEMORY)}; set machine.memory in scripts")
    else:
        yield Check("memory", "ok", detail, needed=True)
    yield _check_cache(cache)


def _check_cache(cache: Path) -> Check:
    nearest = next(folder for folder in (cache, *cache.parents) if os.access(folder, os.F_OK))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        hint = "make it writable, or choose another folder with ANIMA_QA_HOME"
        return Check("cache folder", "missing", f"{cache} cannot be written ({nearest} does not allow it)", hint, needed=True)
    free = free_space(cache)
    detail = f"{_size(free)} free for {cache}"
    if free < ENOUGH_DISK:
        hint = "'anima-qa image prune' removes images that are not used; ANIMA_QA_HOME chooses another disk"
        return Check("cache folder", "warning", detail, hint)
    return Check("cache folder", "ok", detail)


def check_qemu(qemu: Qemu | QaError) -> Iterator[Check]:
    """QEMU, what it offers, and qemu-img."""
    if isinstance(qemu, QaError):
        yield failed("QEMU", qemu)
    else:
        package = f" ({qemu.package})" if qemu.package else ""
        yield Check("QEMU", "ok", f"{qemu.version_text}{package} at {qemu.path}", needed=True)
        lacking = [feature for feature in NEEDED_FEATURES if feature not in qemu.features]
        has = [name for name in NEWER_FEATURES if name in qemu.features]
        later = [f"{name} (QEMU {version})" for name, version in NEWER_FEATURES.items() if name not in qemu.features]
        detail = "has " + (", ".join(has) or "none of the newer ones") + (f"; not yet {', '.join(later)}" if later else "")
        if lacking:
            hint = "this build leaves them out; " + install_hint("qemu")
            yield Check("QEMU features", "missing", f"no {', '.join(lacking)}", hint, needed=True)
        else:
            yield Check("QEMU features", "ok", detail)
    try:
        yield Check("qemu-img", "ok", str(find_qemu_img()), needed=True)
    except QaError as error:
        yield failed("qemu-img", error)


def check_warm_starts(qemu: Qemu, store: Store, denied: str | None) -> Check:
    """Whether machines can start from frozen states. ``denied``: why memory of children cannot be reached."""
    name, boots = "warm starts", "machines boot each time"
    if "file-migration" not in qemu.features:
        hint = f"QEMU {NEWER_FEATURES['file-migration']} and newer can"
        return Check(name, "warning", f"{boots}: QEMU {qemu.version_text} cannot go on from a frozen state", hint)
    if denied:
        return Check(name, "warning", f"{boots}: the memory of a child process cannot be reached ({denied})", CHILDREN_HINT)
    if not store.root.exists():
        return Check(name, "ok", f"nothing is kept yet in {store.root}")
    try:
        taken = sum(one.size for one in store.entries())
        limit = store.allowance(taken)
    except (SnapshotError, OSError) as error:
        detail = error.message if isinstance(error, SnapshotError) else f"{store.root} cannot be read: {error.strerror}"
        return Check(name, "warning", f"{boots}: {detail}", getattr(error, "hint", None))
    return Check(name, "ok", f"{_size(taken)} of {_size(limit)} in {store.root}")


def check_firmware() -> Check:
    """The UEFI firmware for guests."""
    try:
        firmware = find_firmware()
    except QaError as error:
        return failed("UEFI firmware", error)
    return Check("UEFI firmware", "ok", f"{firmware.code} with {firmware.vars.name}", needed=True)


def check_accelerator(choice: Choice, device: KvmDevice) -> Check:
    """What scripts will run with."""
    if choice.warning:
        return Check("accelerator", "warning", f"{choice.reason}; {choice.warning}", install_hint("qemu"), needed=True)
    if choice.accel == "tcg":
        hint = device.hint or "guests run several times slower than with KVM; 'anima-qa doctor --boot' judges again"
        return Check("accelerator", "warning", choice.reason, hint, needed=True)
    return Check("accelerator", "ok", choice.reason, needed=True)


def check_attempt(attempt: Attempt, qemu: Qemu) -> Check:
    """A boot that was tried. Only the one under software emulation is needed: KVM may be missing."""
    name = f"boot with {attempt.accel}"
    outcome = attempt.outcome
    if isinstance(outcome, QaError):
        return Check(name, "missing", cause(outcome), outcome.hint, needed=attempt.accel == "tcg")
    if attempt.accel == "tcg" and not qemu.tcg_trusted:
        return Check(name, "warning", f"{outcome.describe()}; {OLD_TCG.format(version=qemu.version_text)}", install_hint("qemu"))
    return Check(name, "ok", outcome.describe())


def check_helpers(found: list[Found] | None = None, languages: list[str] | QaError | None = None) -> Iterator[Check]:
    """Optional programs; without them some features do not work, and the rest does.

    The tools that build images are told as one as long as they are all there. ``languages``: what tesseract has data for, or
    why it did not say so.
    """
    helpers = find_helpers() if found is None else found
    tools = [one for one in helpers if one.helper.build]
    complete = tools and all(one.path for one in tools)
    for one in helpers:
        helper = one.helper
        if one.path is None:
            yield Check(helper.name, "missing", f"for {helper.purpose}", one.hint)
        elif helper.name == "tesseract" and languages is not None:
            yield _check_languages(one, languages)
        elif not (complete and helper.build):
            yield Check(helper.name, "ok", f"{one.path}, for {helper.purpose}")
    if complete:
        yield Check("image tools", "ok", ", ".join(one.helper.name for one in tools))


def _check_languages(tesseract: Found, languages: list[str] | QaError) -> Check:
    name, purpose = tesseract.helper.name, tesseract.helper.purpose
    if isinstance(languages, QaError):
        return Check(name, "warning", f"{tesseract.path}: {languages.message}", languages.hint)
    if not languages:
        return Check(name, "warning", f"{tesseract.path} has no data for any language", install_hint("tesseract"))
    return Check(name, "ok", f"{tesseract.path}, for {purpose} in {', '.join(languages)}")


def failed(name: str, error: QaError, *, needed: bool = True) -> Check:
    """The check that ``error`` ended."""
    return Check(name, "missing", error.message, error.hint, needed=needed)


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / (1 << 20):.0f} MiB"
