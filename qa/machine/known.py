"""What is known of a frozen machine beside its files, and the handle on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qa.errors import SnapshotUnusable
from qa.snapshots.record import Record

if TYPE_CHECKING:
    from qa.machine.power import PowerCycle
    from qa.snapshots.store import Entry, Lease


class Known(BaseModel):
    """What we knew of a machine when it was frozen.

    Attributes:
        name: its name then.
        made_of: what it was made of, see `MachineSetup`.
        recent: bytes of its console since it was last started.
        shell: of the root shell, see `ShellChannel.known`.
        booted: it had come up.
        channel: how commands reached it; empty while it was not ready.
        ssh: of its SSH access, see `SshAccess.known`; secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    made_of: dict[str, str]
    recent: int = Field(ge=0)
    shell: dict[str, Any]
    booted: bool
    channel: str
    ssh: dict[str, str] | None

    def tell(self, power: PowerCycle) -> None:
        """Have the parts of ``power`` know it.

        Raises:
            SnapshotUnusable: it is not complete.
        """
        try:
            power.shell.recall(self.shell)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SnapshotUnusable("what was known of the frozen machine's shell is not complete") from error
        if self.booted:
            power.vitals.booted()


def read_known(record: Record) -> Known:
    """What we knew of a machine that was on.

    Raises:
        SnapshotUnusable: this version does not understand it.
    """
    try:
        return Known.model_validate(record.known)
    except ValidationError as error:
        raise SnapshotUnusable("the frozen machine was written by another version of anima-qa") from error


def what_changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The parts that a machine is made of (see `MachineSetup`) that are not what they were when it was frozen."""
    return [part for part in {**then, **now} if then.get(part) != now.get(part)]


@dataclass(frozen=True)
class Kept:
    """A frozen state of a machine, kept from being removed until it is released.

    ``pause_s`` tells for how many seconds the machine stood still.
    """

    entry: Entry
    lease: Lease
    pause_s: float = 0.0

    @property
    def id(self) -> str:
        """Its name in the store."""
        return self.entry.id

    @property
    def title(self) -> str:
        """What it is, for people."""
        return self.entry.manifest.title

    def release(self) -> None:
        """Let it go: whether it stays in the store is then the store's to decide."""
        self.lease.close()
