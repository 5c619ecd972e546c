"""Freezing a machine and going on from a frozen state: restore points, forks, templates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from qa.deadline import format_duration
from qa.errors import SnapshotError, SnapshotNotFound, SnapshotUnusable, UsageError
from qa.events import Bus
from qa.guest.channel import Channel
from qa.guest.entry import go_on_with
from qa.guest.freshen import freshen, renew_identity
from qa.guest.readiness import READY, Ladder
from qa.machine.known import Kept, Known, read_known, what_changed
from qa.machine.power_verbs import Power
from qa.machine.setup import SSH_PORT, MachineSetup
from qa.qemu.argv import disk_node
from qa.snapshots.record import CONSOLE, read_record

if TYPE_CHECKING:
    from qa.machine.power import PowerCycle
    from qa.snapshots.freeze import Subject
    from qa.snapshots.store import Entry, Kind, Lease
    from qa.snapshots.thaw import Thawed

SnapshotName = Annotated[str, Field(min_length=1, max_length=100, description="Name of the restore point.")]

SIGN_OF_LIFE_LIMIT = 10.0
"""Seconds for QEMU to answer before it is frozen: of one that hangs each step of a freeze would wait much longer."""

ANSWER_LIMIT = 60.0
"""Seconds, before the factor, for the first answer of a guest that goes on. On an idle host it takes 0.2 under emulation."""

LONGEST_CHAIN = 100
"""Each freeze puts a layer on every disk, and QEMU and we keep all of them open."""

LOADED = "frozen state loaded"
"""Rung of the ladder to readiness: the guest runs."""


def _release(freezing: asyncio.Future[Kept]) -> None:
    if not freezing.cancelled() and freezing.exception() is None:
        freezing.result().release()


class Freezing(Power):
    """Verbs of state.

    Attributes:
        start: how it came to be what it is: ``cold`` (booted), ``warm`` (from a template), ``fork`` (of another machine).
    """

    start: Literal["cold", "warm", "fork"] = "cold"

    def __init__(self, setup: MachineSetup, bus: Bus) -> None:
        super().__init__(setup, bus)
        self._leases: dict[str, Lease] = {}  # by the entry's id
        self._below: Entry | None = None  # what its disks and its memory build on
        self._changing = asyncio.Lock()
        self._points: dict[str, Entry] = {}
        self._stale = False  # it goes on from a frozen state, and its clock still shows that time

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Names of the restore points, in the order in which they were made."""
        return tuple(self._points)

    @property
    def restore_points(self) -> Mapping[str, Entry]:
        """The restore points by name, in the order in which they were made."""
        return dict(self._points)

    async def forget(self, name: str) -> None:
        """Keep a restore point no longer. What was frozen goes when nothing builds on it any more.

        Raises:
            UsageError: there is none of that name.
        """
        self._point(name)
        self._points.pop(name)
        await asyncio.to_thread(self._hold_what_is_needed)

    async def snapshot(self, name: SnapshotName) -> str:
        """Keep the machine as it is at this moment: memory, devices, all disks, firmware variables. It goes on at once.

        ``restore`` goes back to it, as often as wanted. Of a machine that is off, disks and firmware variables are kept. A name
        that was used before stands for the new restore point from now on. Restore points last as long as the machine, and its
        forks have them too.
        """
        kept = await self._freeze("snapshot", "", f"{name} of {self.name}", {})  # the points stay with this machine anyway
        self._points.pop(name, None)
        self._points[name] = kept.entry
        kept.release()  # this machine itself holds it
        await asyncio.to_thread(self._hold_what_is_needed)
        return f"{name}: {kept.entry.size / (1 << 20):.1f} MB, stood still for {format_duration(kept.pause_s)}"

    async def restore(self, name: SnapshotName) -> None:
        """Go back to a restore point: all that happened since is undone, and the machine is on or off as it was then."""
        await self.go_on_from(self._point(name))

    def _point(self, name: str) -> Entry:
        if name not in self._points:
            there = f"there are: {', '.join(self._points)}" if self._points else "make one with snapshot first"
            raise UsageError(f"{self.name} has no restore point {name!r}", hint=there)
        return self._points[name]

    async def freeze(self, kind: Kind, *, key: str = "", title: str = "") -> Kept:
        """Keep the machine as it is in the store of frozen machines, and go on. It stands still for less than a second.

        Args:
            kind: what for. A ``snapshot`` goes when nobody holds it any more, the others when the store needs room.
            key: by which the store finds it again.
            title: what it is called in lists.

        Returns:
            The frozen state, held until it is released.

        Raises:
            MachineError: the guest or QEMU failed, or QEMU's memory cannot be read.
            SnapshotError: the store cannot be written to.
            NoSpace: it is full.
        """
        return await self._freeze(kind, key, title, dict(self._points))

    async def _freeze(self, kind: Kind, key: str, title: str, points: dict[str, Entry]) -> Kept:
        """See `freeze`. Machines that begin from the frozen state have the restore points ``points``."""
        await self._put_away()
        if self._power is not None:
            self._power.vitals.check()
            await self._power.monitor.execute("query-status", limit=SIGN_OF_LIFE_LIMIT)
            if not self._power.paused:
                deadline = self._deadline(ANSWER_LIMIT)
                await self._guarded(self._power.shell.arm(), deadline, "the shell before the machine is frozen")
        freezing = asyncio.ensure_future(self._freeze_now(kind, key, title, points))
        try:
            return await asyncio.shield(freezing)
        except asyncio.CancelledError:  # half a freeze would be a broken machine: it is brought to its end, and let go
            freezing.add_done_callback(_release)
            await asyncio.wait({freezing})
            raise

    async def _freeze_now(self, kind: Kind, key: str, title: str, points: dict[str, Entry]) -> Kept:
        from qa.snapshots.freeze import freeze  # noqa: PLC0415 -- loads QEMU's monitor

        if self._below and len(self._below.ancestors) >= LONGEST_CHAIN:
            hint = "go back to an earlier restore point first"
            raise UsageError(f"{self.name} was frozen {LONGEST_CHAIN} times on end, which is the most", hint=hint)
        async with self._changing:
            parents = [entry.id for entry in (self._below, *points.values()) if entry]
            with ExitStack() as stack:
                try:
                    draft = stack.enter_context(
                        self.setup.store.draft(kind, key=key, title=title, parents=parents, ephemeral=kind == "snapshot")
                    )
                except SnapshotNotFound as error:  # somebody deleted files: the store itself lets nothing go that is held
                    what = f"{self.name} cannot be frozen: what it runs from was removed from the store"
                    raise SnapshotError(what, hint="leave the files of frozen machines to anima-qa template remove") from error
                frozen = await freeze(self._subject(points), draft)
                self._below = frozen.entry
                self.disks = tuple(node.disk for node in frozen.disks)
                if self._power is not None:
                    self._power.nodes = frozen.disks
                await asyncio.to_thread(self._hold_what_is_needed)
                kept = Kept(frozen.entry, frozen.entry.hold(), frozen.pause_s)
                closing = stack.pop_all()
            await asyncio.to_thread(closing.close)
            return kept

    def _hold_what_is_needed(self) -> None:
        """Keep restore points, and what this machine builds on, in the store. Who holds an entry holds all that it builds on."""
        needed = {entry.id: entry for entry in (*self._points.values(), self._below) if entry}
        covered = {one.id for entry in needed.values() for one in entry.ancestors}
        for identity in needed.keys() - covered - self._leases.keys():
            self._leases[identity] = needed[identity].hold()
        for identity in self._leases.keys() - (needed.keys() - covered):
            self._leases.pop(identity).close()

    def check_alive(self) -> None:
        """Raise what ended the machine, if anything did."""
        self._on()

    async def go_on_from(self, entry: Entry) -> None:
        """Be the machine that was frozen as ``entry``, on or off as it was. What this machine did since is lost.

        Raises:
            SnapshotUnusable: it is damaged, does not fit, or QEMU does not take it.
            MachineError: the guest does not answer.
        """
        async with self._changing:
            await self._go_on_now(entry)

    async def share(self, kept: Kept) -> None:
        """Go on from what was frozen just now, in a QEMU that shares its memory with all forks of it: the next freeze then
        writes what has changed, and not all memory. How the machine came up is told as before.

        Raises:
            SnapshotUnusable, MachineError: see `go_on_from`; the machine is off then.
        """
        stages, ready_s = self.stages, self.ready_s
        await self.go_on_from(kept.entry)
        self.stages, self.ready_s = stages, ready_s

    async def _go_on_now(self, entry: Entry) -> None:
        from qa.snapshots.thaw import thaw  # noqa: PLC0415 -- loads QEMU's monitor

        with entry.hold():
            entry.check()
            record = read_record(entry)
            known = read_known(record) if record.running else None
            if known and (changed := what_changed(known.made_of, self.setup.made_of)):
                raise SnapshotUnusable(f"the frozen machine {entry.id} does not fit any more: {' and '.join(changed)} changed")
            if self._power is not None:
                await self._switch_off("left for a frozen state", tell=False)
            thawed = thaw(entry, record, self.setup.disks, self.setup.variables, self.setup.work)
            for left in self.disks:
                if not left.read_only:
                    left.path.unlink(missing_ok=True)
            self._below, self.disks = entry, thawed.disks
            await asyncio.to_thread(self._hold_what_is_needed)
        if known:
            await self._thaw(thawed, known)
        else:
            self.ended = "frozen while it was off"

    async def _thaw(self, thawed: Thawed, known: Known) -> None:
        from qa.machine.power import PowerCycle  # noqa: PLC0415 -- loads QEMU's monitor

        self.stages, self.ready_s, self.ended, self._channel = {}, None, "", None
        self._started = time.monotonic()
        past = (thawed.entry.folder / CONSOLE).read_bytes() if thawed.entry.has(CONSOLE) else b""

        def recall(power: PowerCycle) -> None:
            self._console.go_on_from(past, min(known.recent, len(past)))
            known.tell(power)

        self._ladder = Ladder(self._console, self._reach, self._tell_line)
        try:
            self._power = await PowerCycle.start(
                self.setup, self._console, self.bus, disks=self.disks, forwards=self.forwards, thawed=thawed, recall=recall
            )
        except BaseException:
            self._ladder.close()
            self.ended = "the frozen state was not taken"
            raise
        self._tell_forwards()
        self._reach(LOADED)
        self.channel_name = known.channel
        self._stale = bool(known.channel)
        if self._stale:
            self._ladder.close()
        elif self.setup.channel == "none":
            self._be_ready_as_it_is(self._power)
        if self._stale and not thawed.record.paused:
            await self._awake()

    async def _awake(self) -> None:
        """The guest answers, and knows what time it is."""
        power, deadline = self._on(), self._deadline(ANSWER_LIMIT)
        channel = await self._guarded(self._same_channel(), deadline, "the guest's first answer")
        for problem in await self._guarded(freshen(channel, deadline.remaining), deadline, "the guest's first answer"):
            self.bus.notice(f"{self.name}: {problem}", "warning")
        self._channel, self._stale = channel, False
        self.ready_s = time.monotonic() - self._started
        self._reach(READY)
        power.vitals.booted()

    async def begin_from(self, entry: Entry, start: Literal["warm", "fork"]) -> None:
        """Come into being as the machine that was frozen as ``entry``; with an identity of its own where that is wished.

        Raises:
            SnapshotUnusable, MachineError: see `go_on_from`.
            CheckFailed: the guest could not be given another identity.
        """
        await self.go_on_from(entry)
        await self._recall_points(entry)
        self.start = start
        if self.setup.renew_identity and self._channel is not None:
            await self.renew_identity()

    async def _recall_points(self, entry: Entry) -> None:
        """Have the restore points that the frozen machine had."""
        points = read_record(entry).points
        there = {one.id: one for one in entry.ancestors}  # in their order: the record has the names in that of the alphabet
        if missing := sorted(set(points.values()) - there.keys()):
            raise SnapshotUnusable(f"the frozen machine {entry.id} names restore points that it does not build on: {missing[0]}")
        names = {identity: name for name, identity in points.items()}
        oldest_first = sorted((there[identity] for identity in there if identity in names), key=lambda one: one.manifest.created)
        self._points = {names[one.id]: one for one in oldest_first}
        await asyncio.to_thread(self._hold_what_is_needed)

    async def renew_identity(self) -> None:
        """Give the guest a hostname of its own (the machine's name), a machine id and SSH host keys that no other fork has.

        Raises:
            CheckFailed: the guest could not do it.
        """
        deadline = self._deadline(ANSWER_LIMIT)
        await renew_identity(await self._way_in(), self.name, deadline.remaining)
        if self.setup.ssh is not None:  # the key that the guest was handed is gone: the next one that it shows counts
            self.setup = replace(self.setup, ssh=replace(self.setup.ssh, host_key=None))

    async def _same_channel(self) -> Channel:
        power = self._on()
        return await go_on_with(
            self.channel_name,
            shell=power.shell,
            ssh=self.setup.ssh,
            ssh_port=power.forwards.get(SSH_PORT),
            console=self._console,
            vitals=power.vitals,
            factor=self.setup.factor,
        )

    async def pause(self) -> None:
        """Stop the machine's processors; its clock stands still."""
        async with self._changing:  # a freeze stops them too, and lets them go on
            await super().pause()

    async def resume(self) -> None:
        """Let a paused machine go on."""
        async with self._changing:
            await super().resume()
            if self._stale:
                await self._awake()

    async def _let_go(self) -> None:
        """Hold no frozen states any more."""
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            await asyncio.to_thread(lease.close)

    def _subject(self, points: dict[str, Entry]) -> Subject:
        from qa.snapshots.freeze import Live, Node, Subject  # noqa: PLC0415 -- loads QEMU's monitor

        power = self._power
        live = None
        handed_on = {name: entry.id for name, entry in points.items()}
        nodes = tuple(Node(disk, disk_node(number)) for number, disk in enumerate(self.disks))
        if power is not None:
            nodes = power.nodes
            live = Live(
                monitor=power.monitor,
                pid=power.process.pid,
                paused=power.paused,
                memory_entry=power.thawed.memory_entry if power.thawed else None,
                quiet=power.quiet,
                receive=power.receive,
                known=self._known,
            )
        return Subject(nodes, self.setup.variables, self.setup.work, self.setup.memory, self.setup.bases, handed_on, live)

    def _known(self, folder: Path) -> dict[str, Any]:
        """What must be known of this machine to go on with it, also in another process."""
        tail, recent = self._console.known()
        (folder / CONSOLE).write_bytes(tail)
        power = self._on()
        known = Known(
            name=self.name,
            made_of=dict(self.setup.made_of),
            recent=recent,
            shell=power.shell.known(),
            booted=power.vitals.is_booted,
            channel=self.channel_name if self._channel or self._stale else "",
            ssh=self.setup.ssh.known() if self.setup.ssh else None,
        )
        return known.model_dump(mode="json")
