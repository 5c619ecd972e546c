"""A desk whose machines are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa.config import Config
from qa.errors import QaError, UsageError
from qa.host.resources import Resources
from qa.operations.desk import Desk
from qa.operations.options import MachineOptions
from qa.paths import Paths

GIB = 1 << 30


@dataclass
class PlayedPoint:
    """A restore point. ``held`` counts those who hold it."""

    name: str
    size: int = 1000
    held: int = 0
    created: str = "2026-01-01T00:00:00Z"

    @property
    def manifest(self) -> PlayedPoint:
        return self

    @property
    def entry(self) -> PlayedPoint:
        return self

    def hold(self) -> PlayedPoint:
        self.held += 1
        return self

    def release(self) -> None:
        self.held -= 1

    def __enter__(self) -> PlayedPoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class PlayedMachine:
    """Has states and restore points, and nothing behind them."""

    start = "warm"
    channel_name = "shell"
    ended = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.power_state = "ready"
        self.forwards: dict[int, int] = {}
        self.restore_points: dict[str, PlayedPoint] = {}
        self.frozen: list[PlayedPoint] = []
        self.restored: list[str] = []

    async def freeze(self, kind: str, *, title: str) -> PlayedPoint:
        self.frozen.append(PlayedPoint(title, held=1))
        return self.frozen[-1]

    async def snapshot(self, name: str) -> str:
        self.restore_points[name] = PlayedPoint(name)
        return name

    async def restore(self, name: str) -> None:
        if name not in self.restore_points:
            raise UsageError("no such point")
        self.restored.append(name)

    async def forget(self, name: str) -> None:
        del self.restore_points[name]

    async def pause(self) -> None:
        self.power_state = "paused"


@dataclass
class PlayedPlan:
    """A blueprint."""

    name: str
    options: MachineOptions
    memory: int


@dataclass
class PlayedHost:
    """Opens played machines.

    Attributes:
        gate: machines come up when it is set.
        fails: image to what is raised instead.
        open: machines that are there now.
        slow_end: machines go when it is set.
    """

    desk: Desk
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    slow_end: asyncio.Event = field(default_factory=asyncio.Event)
    fails: dict[str, BaseException] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    opened: int = 0
    places: list[Any] = field(default_factory=list)
    seen_points: list[PlayedPoint] = field(default_factory=list)

    async def blueprint(self, name: str, image: str, options: MachineOptions, cloud_init: Any, *, place: Any, bus: Any) -> Any:
        if image in self.fails:
            raise self.fails[image]
        return PlayedPlan(name, options, options.memory or GIB)

    @asynccontextmanager
    async def open_machine(self, blueprint: Any, *, place: Any, bus: Any, start: str) -> AsyncGenerator[Any]:
        with self.desk.quota.machine(place.called, blueprint.memory):
            async with self._machine(place) as machine:
                yield machine

    @asynccontextmanager
    async def open_fork(self, blueprint: Any, entry: PlayedPoint, *, place: Any, bus: Any) -> AsyncGenerator[Any]:
        assert entry.held > 0, "nobody holds what the fork goes on from"
        self.seen_points.append(entry)
        with self.desk.quota.machine(place.called, blueprint.memory, fork=True):
            async with self._machine(place) as machine:
                assert entry.held > 0
                yield machine

    @asynccontextmanager
    async def _machine(self, place: Any) -> AsyncGenerator[Any]:
        self.places.append(place)
        self.open.append(place.called)
        self.opened += 1
        try:
            await self.gate.wait()
            if error := self.fails.get(place.called):
                raise error
            yield PlayedMachine(place.called)
        finally:
            await self.slow_end.wait()
            self.open.remove(place.called)


def played(paths: Paths, config: Config | None = None, *, free: int = 64 * GIB) -> tuple[Desk, PlayedHost]:
    """A desk, and the host behind it; machines come up and go at once."""
    desk = Desk(paths, config or Config(), base_folder=Path("/base"))
    return desk, play(desk, free=free)


def play(desk: Desk, *, free: int = 64 * GIB) -> PlayedHost:
    """Put a played host behind ``desk``."""
    host = PlayedHost(desk)
    host.gate.set()
    host.slow_end.set()
    desk.__dict__["host"] = host
    desk.quota.look = lambda: Resources(free, free, 8)
    desk.quota.space = lambda folder: 64 * GIB
    return host


def failing(message: str) -> QaError:
    return QaError(message, hint="do something else")
