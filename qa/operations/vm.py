"""One machine on the desk: who has it, what it is, how it does, and until when it may live."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qa.deadline import format_duration
from qa.errors import HostError, MachineOff, NoSpace, QaError
from qa.events import Bus, ConsoleLine, Event, MachineStage
from qa.machine import Machine
from qa.operations.blueprint import Blueprint
from qa.operations.vm_facts import SnapshotFacts, State, VmFacts

_now = time.monotonic

__all__ = ["SnapshotFacts", "State", "Vm", "VmFacts"]


@dataclass(eq=False)
class Vm:
    """A machine of a client.

    Attributes:
        image: as it was asked for.
        results: the folder of its logs and pictures.
        bus: what happens to it is told here.
        blueprint: known as soon as the image is.
        last_frame: the picture that its client saw last, whatever that is for a surface.
    """

    name: str
    client: str
    image: str
    results: Path
    bus: Bus
    lease_s: float | None = None
    life_s: float | None = None
    forked_from: str = ""
    blueprint: Blueprint | None = None
    last_frame: Any = None
    note: str = ""
    failure: QaError | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = 0.0
    _used: float = 0.0
    _users: int = 0
    _machine: Machine | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _why: str = ""
    _said: str = ""
    _given_up: bool = False
    _told: State = "booting"

    def __post_init__(self) -> None:
        self._began = self._used = _now()
        self.bus.subscribe(self._listen)

    # use

    @property
    def machine(self) -> Machine:
        """The machine, ready or not any more.

        Raises:
            MachineOff: it is still booting, or it is gone.
        """
        if self.is_gone:
            raise MachineOff(f"{self.name} is gone: {self._why or self.why}", hint="boot another one")
        if self._machine is None:
            raise MachineOff(f"{self.name} is still booting: {self._said or 'it has just begun'}", hint="wait until it is ready")
        return self._machine

    @contextmanager
    def use(self) -> Iterator[Machine]:
        """The machine, with its lease renewed; it does not run out in the block.

        Raises:
            MachineOff: it is still booting, or it is gone.
        """
        machine = self.machine
        with self.busy():
            yield machine

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Renew the lease; it does not run out in the block."""
        self._users += 1
        self._used = _now()
        try:
            yield
        finally:
            self._users -= 1
            self._used = _now()

    async def wait_ready(self) -> Machine:
        """Wait until it is ready. Being cancelled does not end it.

        Raises:
            QaError: it did not come up.
            MachineOff: it was destroyed meanwhile.
        """
        await self._ready.wait()
        if self.failure is not None:
            raise self.failure
        return self.machine

    # facts

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left, or will be in a moment."""
        return self._end.is_set() or (self._task is not None and self._task.done())

    @property
    def state(self) -> State:
        """How it does."""
        if self.is_gone or self.failure is not None:
            return "gone"
        return self._machine.power_state if self._machine else "booting"

    @property
    def why(self) -> str:
        """Why it is off, dead, paused or gone; while it boots, what it does."""
        if self.failure is not None:
            return self.failure.message
        if self.is_gone:
            return self._why
        if self._machine is None:
            return self._said
        return self.note if self.state in {"paused", "ready"} else (self._machine.ended or self.note)

    @property
    def lease_ends_s(self) -> float | None:
        """Seconds until it is destroyed, if nobody uses it; None: never."""
        now = _now()
        ends = [self._began + self.life_s - now] if self.life_s is not None else []
        if self.lease_s is not None:
            ends.append(self.lease_s if self._users else self._used + self.lease_s - now)
        return max(0.0, min(ends)) if ends else None

    def facts(self) -> VmFacts:
        """What is told of it."""
        machine, blueprint = self._machine, self.blueprint
        ends = self.lease_ends_s
        points = machine.restore_points if machine else {}
        return VmFacts(
            name=self.name,
            state=self.state,
            why=self.why,
            image=self.image,
            memory=blueprint.memory if blueprint else 0,
            cpus=blueprint.options.cpus if blueprint else 0,
            start=machine.start if machine else "",
            forked_from=self.forked_from,
            since=_iso(self.since),
            last_use=_iso(datetime.now(UTC) - timedelta(seconds=_now() - self._used)),
            lease_ends_s=None if ends is None else round(ends),
            channel=machine.channel_name if machine else "",
            forwards=dict(machine.forwards) if machine else {},
            snapshots=tuple(SnapshotFacts(name, one.manifest.created, one.size) for name, one in points.items()),
            results=self.results,
        )

    def fell(self) -> bool:
        """Whether its state is another one than when this was asked last."""
        before, self._told = self._told, self.state
        return self._told != before

    def _listen(self, event: Event) -> None:
        if isinstance(event, MachineStage):
            self._said = event.stage
        elif isinstance(event, ConsoleLine) and self._machine is None:
            self._said = f"the console shows: {event.text.strip()[:120]}"

    # its keeper

    def keep(self, opening: AbstractAsyncContextManager[Machine], gone: Callable[[Vm], None]) -> None:
        """Have a task of its own open the machine, keep it, and close it; ``gone`` is called after that."""

        async def work() -> None:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    with self.busy():
                        self._machine = await stack.enter_async_context(opening)
                    self._ready.set()
                    await self._end.wait()
            except QaError as error:
                self.failure = error
            finally:
                self._machine = None

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                self.failure = _as_ours(self.name, error)
            self._why = self._why or (self.failure.message if self.failure else "it was given up")
            self._ready.set()
            gone(self)

        self._task = asyncio.create_task(work(), name=f"machine {self.name} of {self.client}")
        self._task.add_done_callback(ended)

    async def end(self, why: str) -> None:
        """Destroy it, and wait until nothing of it is left. A second call waits too."""
        self._why = self._why or why
        self._end.set()
        if self._task is None or self._task.done():
            return
        if not self._ready.is_set() and not self._given_up:
            self._given_up = True  # once: a second cancellation would cut its cleaning up short
            self._task.cancel()
        await asyncio.shield(asyncio.wait({self._task}))

    def expired(self) -> str:
        """Why it must end now; empty while it may live."""
        if self.life_s is not None and _now() - self._began >= self.life_s:
            return f"it has lived for {format_duration(self.life_s)}, which is the most that is allowed"
        ends = self.lease_ends_s
        if ends is not None and ends <= 0:
            return f"nobody used it for {format_duration(self.lease_s or 0)}"
        return ""


def _as_ours(name: str, error: BaseException) -> QaError:
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        message = f"{name} could not be kept: {error.strerror or error}"
        return NoSpace(message, hint="anima-qa gc and image prune free space") if full else HostError(message)
    return QaError(f"{name} ended by a defect of anima-qa: {type(error).__name__}: {error}", hint="please report it")


def _iso(time_: datetime) -> str:
    return time_.isoformat(timespec="seconds").replace("+00:00", "Z")
