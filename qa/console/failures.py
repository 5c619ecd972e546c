"""Texts on the console that mean: this guest will not come up, or has died."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qa.errors import BootFailed, GuestPanic, GuestStalled, MachineError

PANIC = "panic"


@dataclass(frozen=True)
class KnownFailure:
    """One known end. ``always``: also after the guest is up; the others may then appear in any harmless output."""

    name: str
    pattern: re.Pattern[bytes]
    message: str
    hint: str
    always: bool = False
    error: type[MachineError] = BootFailed


KNOWN_FAILURES = (
    KnownFailure(
        PANIC,
        re.compile(rb"Kernel panic - not syncing: ?([^\r\n]*)[\r\n]"),
        "the guest's kernel panicked",
        "the first lines of the panic show where",
        always=True,
        error=GuestPanic,
    ),
    KnownFailure(
        "stalled",
        re.compile(rb"kthread timer wakeup didn't happen"),
        "the guest's kernel stands still: a timer of its virtual processors did not fire",
        "seen under software emulation on an overloaded host: run it again, with less beside it or with cpus: 1",
        error=GuestStalled,
    ),
    KnownFailure(
        "UEFI shell",
        re.compile(rb"UEFI Interactive Shell|\r?\nShell> "),
        "the firmware ended in the UEFI shell",
        "it found nothing to boot: does the image have an EFI system partition with /EFI/BOOT/BOOTX64.EFI?",
    ),
    KnownFailure(
        "no boot device",
        re.compile(rb"No bootable option or device was found"),
        "the firmware found nothing to boot",
        "does the image have an EFI system partition with /EFI/BOOT/BOOTX64.EFI? Images for BIOS only do not boot",
    ),
    KnownFailure(
        "boot loader's prompt",
        re.compile(rb"(?:^|\r|\x1b\[[0-9;?]*[A-Za-z])grub(?: rescue)?> ?$", re.MULTILINE),
        "the boot loader stopped at its prompt (grub>)",
        "it found no configuration or no kernel, or had too little memory for it: console.log has its messages",
    ),
    KnownFailure(
        "initramfs shell",
        re.compile(rb"\(initramfs\) ?|dracut:/# ?|Entering emergency mode\. Exit the shell to continue"),
        "the guest stopped in its initramfs",
        "usually the root file system was not found: compare root= with the disks the kernel lists",
    ),
    KnownFailure(
        "emergency shell",
        re.compile(
            rb"You are in (?:emergency|rescue) mode|Give root password for maintenance|"
            rb"Cannot open access to console, the root account is locked"
        ),
        "the guest came up in emergency mode",
        "a mount or a unit that is needed for booting failed: the console names it",
    ),
)


class FailureScan:
    """Looks for known failures in a console's stream, piece by piece."""

    OVERLAP = 256
    """Bytes carried over from piece to piece: longer than any of the texts."""

    def __init__(self) -> None:
        self._carried = b""
        self.booting = True

    def feed(self, data: bytes) -> tuple[KnownFailure, str] | None:
        """The failure that ``data`` completes, with the detail its text gives; None is the rule."""
        window = self._carried + data
        self._carried = window[-self.OVERLAP :]
        for failure in KNOWN_FAILURES:
            if not (failure.always or self.booting):
                continue
            if match := failure.pattern.search(window):
                detail = match[1].decode(errors="replace").strip() if match.re.groups else ""
                self._carried = b""
                return failure, detail
        return None
