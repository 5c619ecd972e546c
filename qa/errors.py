"""The error tree: what can go wrong, in the words of the person who reads it.

Every error says what happened, may carry a hint (what to do about it) and evidence (what was seen last, each piece under a
title). Only the surfaces print errors; everything below raises them. ``exit_code`` is the program's exit status when the
error ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class QaError(Exception):
    """Root of all expected errors.

    Args:
        message: what happened, one sentence without a full stop at its end.
        hint: what the reader can do about it.
        evidence: title to text, most telling first (for example ``{"console, last lines": "..."}``).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, evidence: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence: dict[str, str] = dict(evidence or {})


class UsageError(QaError):
    """The command line, the configuration or an argument is wrong."""

    exit_code = 2


class ScriptError(UsageError):
    """A script cannot be run as it is written."""


class PolicyRefused(UsageError):
    """A rule of this host's owner does not allow it. ``rule`` is the setting that says so, such as ``policy.deny_commands``."""

    def __init__(self, message: str, *, rule: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class HostError(QaError):
    """This host cannot do what was asked."""

    exit_code = 3


class ToolMissing(HostError):
    """A program that is needed is not installed; the hint has the command that installs it."""


class FirmwareMissing(HostError):
    """No UEFI firmware for the guest's architecture is installed."""


class AcceleratorUnavailable(HostError):
    """The accelerator that was asked for does not run guests on this host."""


class NoSpace(HostError):
    """A file system is full, or would be."""


class AuditFailed(HostError):
    """What is done cannot be written down, so it is not done."""


class LimitReached(HostError):
    """The owner of this host allows no more of it: machines, memory, disk."""


class ImageError(HostError):
    """An image cannot be used."""


class ImageNotFound(ImageError):
    """There is no image of that name or at that place."""


class ImageRefused(ImageError):
    """An image was refused because using it would be unsafe, for example because it reads files outside itself."""


class DownloadFailed(ImageError):
    """An image could not be fetched, or what came was not what was promised."""


class SnapshotError(HostError):
    """A frozen machine cannot be stored, read or removed."""


class SnapshotUnusable(SnapshotError):
    """A frozen machine is there and cannot be used: it is damaged, or what it depends on has changed. ``id`` is its own."""

    def __init__(
        self, message: str, *, hint: str | None = None, evidence: Mapping[str, str] | None = None, snapshot: str = ""
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.id = snapshot


class SnapshotNotFound(UsageError):
    """There is no frozen machine of that name."""


class MachineError(QaError):
    """The guest or QEMU died, or cannot do what a live machine must."""

    exit_code = 4


class GuestPanic(MachineError):
    """The guest's kernel panicked."""


class BootFailed(MachineError):
    """The guest stopped on its way up: the UEFI shell, a boot loader's prompt, an emergency shell."""


class GuestStalled(BootFailed):
    """The guest's kernel waits for a timer that never fires: a fault of software emulation, not of the guest."""


class QemuExited(MachineError):
    """QEMU ended without having been asked to."""


class QemuFailed(MachineError):
    """QEMU lives but cannot run the guest any further, or refused a command."""


class MachineOff(MachineError):
    """The machine is not running."""


class ChannelLost(MachineError):
    """The way into the guest (shell, SSH, serial login) broke while the guest itself lives."""


class CheckFailed(QaError):
    """What a step expected did not come true."""


class CommandFailed(CheckFailed):
    """A command in the guest did not end as expected. ``result`` is what it gave; the evidence has its output."""

    def __init__(
        self, message: str, *, hint: str | None = None, evidence: Mapping[str, str] | None = None, result: Any = None
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.result = result


class DeadlineExceeded(QaError):
    """A wait reached its deadline; the message says what was waited for and what was seen last."""

    exit_code = 5


class Interrupted(QaError):
    """The user or the system asked us to stop."""

    exit_code = 130
