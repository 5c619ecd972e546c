"""What an entry of the store says of the machine that was frozen, beside its files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qa.errors import SnapshotUnusable
from qa.snapshots.store import Entry

DEVICES = "devices"
"""State of the devices."""
MEMORY = "memory"
"""The whole memory; forks map it."""
CHANGES = "changes"
"""Memory that differs from the whole memory of another entry."""
DISPLAY = "display"
"""Memory of the display."""
VARIABLES = "variables.fd"
"""The firmware's variables."""
CONSOLE = "console"
"""The last of the serial console."""


def layer(number: int) -> str:
    """A disk as it was."""
    return f"disk{number}.qcow2"


def overlay(number: int) -> str:
    """An empty overlay on that disk, to be copied for each fork: making one anew would start a program."""
    return f"disk{number}.new"


def attached(number: int) -> str:
    """A disk that guests only read, such as the seed."""
    return f"disk{number}.attached"


class Record(BaseModel):
    """The machine as it was.

    Attributes:
        running: it was on; else there are disks and variables only.
        paused: its processors stood still already before it was frozen.
        frozen_at: time of the host, in seconds since the epoch, at which its processors stopped.
        memory: bytes of main memory.
        memory_entry: the entry that holds the whole memory; empty for this one.
        points: name of each restore point to the id of its entry, which is among those that this one builds on.
        known: what we knew of it while it was on, as the floors above wrote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    running: bool
    paused: bool = False
    frozen_at: float
    memory: int = Field(gt=0)
    memory_entry: str = ""
    points: dict[str, str] = {}
    known: dict[str, Any] = {}


def read_record(entry: Entry) -> Record:
    """The record of ``entry``.

    Raises:
        SnapshotUnusable: it has none that this version understands.
    """
    try:
        return Record.model_validate(entry.manifest.machine)
    except ValidationError as error:
        raise SnapshotUnusable(f"the frozen machine {entry.id} was written by another version of anima-qa") from error
