"""The desk of a server: the machines of its clients, each kept by a task of its own, and gone with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qa.config import Config
from qa.errors import HostError, QaError, UsageError
from qa.events import Bus, Event, Notice
from qa.fleet import Owner
from qa.host.resources import use_all_descriptors
from qa.machine import Machine
from qa.operations.boot import Host, Place
from qa.operations.caretaker import Caretaker
from qa.operations.limits import Quota
from qa.operations.options import MachineOptions
from qa.operations.roll import Roll
from qa.operations.sessions import file_name, new_folder, session_folder
from qa.operations.vm import SnapshotFacts, Vm, VmFacts
from qa.paths import Paths

GUEST_NAME = "machine"
"""What guests are called inside, as in scripts that name none: the ready state that machines start from has it in it."""

CLOSE_LIMIT_S = 60.0
"""For closing all machines, in which QEMU is killed when it does not end by itself: many times what that takes."""


class Desk:
    """The machines of a server. A context: nothing is started or locked before the first machine, and at its end all are gone.

    Args:
        base_folder: where relative paths of images begin.
        needles: folders in which needles are looked for, the nearest first.
        ended: told of each machine that was destroyed though nobody asked for it, and why.
    """

    def __init__(
        self,
        paths: Paths,
        config: Config,
        *,
        base_folder: Path,
        needles: tuple[Path, ...] = (),
        ended: Callable[[Vm, str], Awaitable[None]] | None = None,
    ) -> None:
        self.paths = paths
        self.config = config
        self.base_folder = base_folder
        self.needles = needles
        self._ended = ended
        self.quota = Quota.for_agents(config.limits, lambda: self._owner.folder if self._owner else paths.work, self._besides)
        self._owner: Owner | None = None
        self._stack = contextlib.ExitStack()
        self._roll = Roll()
        self._caretaker = Caretaker(self._roll, self.quota, lambda vm, why: self._end_all([vm], why, unasked=True))
        self._folders: dict[str, Path] = {}
        self._closed = False

    async def __aenter__(self) -> Desk:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        self._caretaker.stop()
        try:
            await to_its_end(self._end_all(self.of(), "the server ends", unasked=True))
        finally:
            self._stack.close()

    @cached_property
    def host(self) -> Host:
        """This host, with a folder for machines' files that is ours from now on."""
        if self._closed:
            raise HostError("the server ends", hint="start it again")
        use_all_descriptors()
        self._owner = self._stack.enter_context(Owner.register(self.paths))
        host = Host(self.paths, self.config, self._owner, quota=self.quota)
        host.store.sweep()
        return host

    @cached_property
    def folder(self) -> Path:
        """Logs, pictures and output of this server's machines; it stays when the server ends."""
        return self._stack.enter_context(session_folder(self.paths.sessions))

    def folder_of(self, client: str) -> Path:
        """The part of `folder` that is one client's alone."""
        if client not in self._folders:
            self._folders[client] = new_folder(self.folder, file_name(client))
        return self._folders[client]

    def folders_of(self, client: str) -> tuple[Path, ...]:
        """The same, if there is one already."""
        return (self._folders[client],) if client in self._folders else ()

    # finding

    def get(self, name: str, client: str) -> Vm:
        """The machine of that name.

        Raises:
            UsageError: the client has none of that name; the message says what became of it.
        """
        return self._roll.get(name, client)

    def of(self, client: str | None = None) -> list[Vm]:
        """The machines of a client, or of all, the oldest first."""
        return self._roll.of(client)

    def facts(self, client: str | None = None) -> list[VmFacts]:
        """What is told of them."""
        return [vm.facts() for vm in self.of(client)]

    def news(self, client: str) -> list[str]:
        """What happened to the client's machines by itself since this was asked last: sentences."""
        return self._roll.news(client)

    # making

    def begin(
        self,
        client: str,
        image: str,
        *,
        name: str | None = None,
        options: MachineOptions | None = None,
        cloud_init: Mapping[str, Any] | None = None,
        start: Literal["warm", "cold"] = "warm",
    ) -> Vm:
        """A machine that begins to boot: `Vm.wait_ready` waits for it. It is there until `destroy`, or until its lease ends.

        Args:
            name: unique among the client's; ``vm1``, ``vm2`` and so on where it is not given.

        Raises:
            UsageError: the name is taken, or is none.
            LimitReached: there are too many machines.
        """
        self.quota.check_count()
        host = self.host
        vm = self._new(client, name, image)

        @asynccontextmanager
        async def opening() -> AsyncGenerator[Machine]:
            place = self._place(vm)
            blueprint = await host.blueprint(
                GUEST_NAME, image, options or MachineOptions(), cloud_init or {}, place=place, bus=vm.bus
            )
            vm.blueprint = blueprint
            async with host.open_machine(blueprint, place=place, bus=vm.bus, start=start) as machine:
                yield machine

        return self._keep(vm, opening())

    async def boot(self, client: str, image: str, **more: Any) -> Vm:
        """`begin`, and wait until it is ready. When that fails, or this is cancelled, nothing of the machine is left.

        Raises:
            QaError: it did not come up.
        """
        vm = self.begin(client, image, **more)
        await self._ready([vm])
        return vm

    async def fork(self, vm: Vm, *, count: int = 1, names: tuple[str, ...] = (), snapshot: str | None = None) -> list[Vm]:
        """Machines that go on from this moment of ``vm``, each on its own; ``vm`` goes on too. They are ready.

        Args:
            names: of the forks; where there are fewer than ``count``, ``web-fork1`` and so on.
            snapshot: the restore point from which they go on, instead of now.

        Raises:
            UsageError: a name is taken, or there is no such restore point.
            LimitReached: there are too many machines.
            QaError: the machine cannot be frozen, or a fork did not come up; then there is none of them.
        """
        count = max(count, len(names))
        if count < 1:
            raise UsageError(f"{count} forks cannot be made", hint="ask for 1 or more")
        self.quota.check_count(count)
        self._roll.check(vm.client, *names)
        async with vm.changing:
            with vm.use() as machine, contextlib.ExitStack() as held:
                if snapshot is None:
                    kept = await machine.freeze("snapshot", title=f"fork of {vm.name}")
                    held.callback(kept.release)
                    entry = kept.entry
                else:
                    points = machine.restore_points
                    if snapshot not in points:
                        there = ", ".join(points) or "none"
                        raise UsageError(f"{vm.name} has no snapshot {snapshot!r}", hint=f"there are: {there}")
                    entry = points[snapshot]
                    held.enter_context(entry.hold())
                blueprint = vm.blueprint
                assert blueprint is not None  # it is ready
                forks: list[Vm] = []
                try:
                    for number in range(count):
                        name = names[number] if number < len(names) else self._roll.fork_name(vm)
                        fork = self._new(vm.client, name, vm.image)
                        fork.forked_from, fork.blueprint = vm.name, blueprint
                        place = self._place(fork)
                        forks.append(self._keep(fork, self.host.open_fork(blueprint, entry, place=place, bus=fork.bus)))
                except BaseException:
                    await to_its_end(self._end_all(forks, "another fork could not be made"))
                    raise
                await self._ready(forks)
                return forks

    # snapshots

    async def save(self, vm: Vm, name: str) -> SnapshotFacts:
        """Make a restore point of the machine as it is. A name that was used before stands for the new one from now on.

        Raises:
            QaError: it cannot be frozen.
        """
        async with vm.changing:
            with vm.use() as machine:
                await machine.snapshot(name)
                entry = machine.restore_points[name]
                return SnapshotFacts(name, entry.manifest.created, entry.size)

    async def restore(self, vm: Vm, name: str) -> None:
        """Go back to a restore point: all that happened since is undone.

        Raises:
            UsageError: there is none of that name.
            QaError: the machine cannot go on from it.
        """
        async with vm.changing:
            with vm.use() as machine:
                await machine.restore(name)
                vm.note, vm.last_frame = "", None

    async def forget(self, vm: Vm, name: str) -> None:
        """Remove a restore point.

        Raises:
            UsageError: there is none of that name.
        """
        async with vm.changing:
            with vm.use() as machine:
                await machine.forget(name)

    # ending

    async def destroy(self, vm: Vm, why: str = "it was destroyed") -> None:
        """Switch it off, and remove all that is left of it but its results folder. Commands that run in it end with an error."""
        await vm.end(why)

    async def leave(self, client: str, why: str = "its client has gone") -> None:
        """Destroy all machines of a client, and forget what was to be told to it. Its folder stays, and is nobody's any more."""
        try:
            await to_its_end(self._end_all(self.of(client), why, unasked=True))
        finally:
            self._roll.forget(client)
            self._folders.pop(client, None)

    # how

    def _new(self, client: str, name: str | None, image: str) -> Vm:
        if self._closed:
            raise HostError("the server ends", hint="start it again")
        if name is not None:
            self._roll.check(client, name)
        name = name or self._roll.next_name(client)
        limits = self.quota.limits
        results = new_folder(self.folder_of(client), name)
        vm = Vm(name, client, image, results, Bus(), lease_s=limits.lease, life_s=limits.run_time)
        self._roll.add(vm)
        vm.bus.subscribe(lambda event: self._tell(vm, event))
        return vm

    def _keep(self, vm: Vm, opening: contextlib.AbstractAsyncContextManager[Machine]) -> Vm:
        vm.keep(opening, self._roll.strike)
        self._caretaker.look()
        return vm

    async def _ready(self, vms: list[Vm]) -> None:
        try:
            for vm in vms:
                await vm.wait_ready()
        except BaseException as error:
            why = error.message if isinstance(error, QaError) else "its start was cancelled"
            await to_its_end(self._end_all(vms, why))
            raise

    async def _end_all(self, vms: list[Vm], why: str, *, unasked: bool = False) -> None:
        """At once. What hangs in closing is left to ``gc``."""

        async def end(vm: Vm) -> None:
            was_gone = vm.is_gone
            await vm.end(why)
            if unasked and self._ended and not was_gone:
                await self._ended(vm, why)

        if vms:
            await asyncio.wait([asyncio.create_task(end(vm)) for vm in vms], timeout=CLOSE_LIMIT_S)

    def _besides(self) -> tuple[tuple[Path, ...], int]:
        """Folders and bytes that the machines that are there take beside those of their disks: logs, output and pictures, and
        restore points. What others have left is not counted: nobody could make room by destroying a machine."""
        vms = self.of()
        points = sum(point.size for vm in vms for point in vm.facts().snapshots)
        return tuple(vm.results for vm in vms), points

    def _place(self, vm: Vm) -> Place:
        return Place(
            results=vm.results,
            console_log=vm.results / "console.log",
            qemu_log=vm.results / "qemu.log",
            base_folder=self.base_folder,
            needles=self.needles,
            called=vm.name,
        )

    def _tell(self, vm: Vm, event: Event) -> None:
        if isinstance(event, Notice) and event.level == "warning":
            self._roll.note(vm.client, event.message)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await ``work`` also when we are cancelled meanwhile: nothing of a machine may be left."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
