"""What is told of a machine on the desk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["booting", "ready", "paused", "off", "dead", "gone"]
"""``off``: it can be switched on again; ``dead``: guest or QEMU failed, it can be looked at; ``gone``: nothing of it is left."""


@dataclass(frozen=True)
class SnapshotFacts:
    """A restore point. ``size`` is bytes on the disk of its own."""

    name: str
    created: str
    size: int


@dataclass(frozen=True)
class VmFacts:
    """What is told of a machine.

    Attributes:
        why: of a machine that is off, dead or gone; while it boots, what it does.
        since, last_use: UTC, as ISO 8601.
        lease_ends_s: seconds until it is destroyed, if nobody uses it; None where it lives as long as its server.
        forwards: port of the guest to port of 127.0.0.1 on this host.
        results: the folder of its logs and pictures.
    """

    name: str
    state: State
    why: str
    image: str
    memory: int
    cpus: int
    start: str
    forked_from: str
    since: str
    last_use: str
    lease_ends_s: int | None
    channel: str
    forwards: dict[int, int]
    snapshots: tuple[SnapshotFacts, ...]
    results: Path
