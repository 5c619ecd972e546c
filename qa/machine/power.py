"""One power cycle: QEMU, its channels, and everything that hangs on them, from power-on to off."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
import signal
import socket
import termios
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from qa.console import SerialConsole
from qa.errors import QaError, QemuExited, QemuFailed, SnapshotUnusable
from qa.events import Bus, QmpEvent
from qa.guest.port import Port
from qa.guest.shell import ShellChannel
from qa.guest.vitals import Vitals
from qa.machine.setup import SSH_PORT, MachineSetup
from qa.qemu.argv import MONITOR, SERIAL, build_argv, channel_names, disk_node, port_channel
from qa.qemu.forwards import forward_port
from qa.qemu.monitor import Monitor
from qa.qemu.process import QemuProcess, start_qemu
from qa.qemu.spec import Disk, Flash, MachineSpec
from qa.screen.frames import Camera
from qa.screen.keyboard import Keyboard
from qa.screen.mouse import Mouse
from qa.snapshots.freeze import Node
from qa.snapshots.thaw import Thawed


def _spec(setup: MachineSetup, disks: tuple[Disk, ...], thawed: Thawed | None) -> MachineSpec:
    if not setup.variables.exists():  # the second boot of a machine finds what the first one stored
        shutil.copyfile(setup.firmware.vars, setup.variables)
    return MachineSpec(
        name=setup.name,
        accel=setup.accel,
        memory=setup.memory,
        cpus=setup.cpus,
        flash=Flash(setup.firmware.code, setup.firmware.code_format, setup.variables, setup.firmware.vars_format),
        disks=disks,
        network=setup.network,
        boot_menu=setup.boot_menu,
        smbios_strings=setup.smbios_strings,
        exit_with_parent="exit-with-parent" in setup.qemu.features,
        frozen_memory=thawed.memory_file if thawed else None,
    )


QUIET_LIMIT = 2.0
"""Seconds for what was sent to reach QEMU before a machine is frozen."""


def _waiting(end: socket.socket) -> bool:
    """Whether something was received that nobody has read yet."""
    return end.fileno() >= 0 and fcntl.ioctl(end, termios.FIONREAD, b"\0" * 4) != b"\0" * 4


class PowerCycle:
    """A machine that is on.

    Attributes:
        forwards: guest port to host port on 127.0.0.1.
        paused: we stopped its processors.
        nodes: its disks, under the names that QEMU knows them by.
        thawed: the frozen state with which it began; None where it was booted.
    """

    def __init__(
        self,
        setup: MachineSetup,
        console: SerialConsole,
        process: QemuProcess,
        bus: Bus,
        *,
        disks: tuple[Disk, ...],
        thawed: Thawed | None,
    ) -> None:
        self.setup = setup
        self.thawed = thawed
        self.nodes = tuple(Node(disk, disk_node(number)) for number, disk in enumerate(disks))
        self.process = process
        self.monitor = Monitor(setup.name, self._on_event)
        self.vitals = Vitals(setup.name, console)
        self.camera = Camera(self.monitor)
        self.keyboard = Keyboard(self.monitor, setup.factor)
        self.mouse = Mouse(self.monitor, setup.factor, self.keyboard.answered)
        self.shell: ShellChannel
        self.forwards: dict[int, int] = {}
        self.paused = False
        self._bus = bus
        self._console = console
        self._ports: list[Port] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        process.exited.add_done_callback(lambda done: self.vitals.on_exit(done.result(), process.log_tail()))

    @classmethod
    async def start(
        cls,
        setup: MachineSetup,
        console: SerialConsole,
        bus: Bus,
        *,
        disks: tuple[Disk, ...],
        forwards: Mapping[int, int] | None = None,
        thawed: Thawed | None = None,
        recall: Callable[[PowerCycle], None] = lambda _: None,
    ) -> PowerCycle:
        """Start QEMU, connect to it, and let the guest go.

        Args:
            disks: in the guest's order.
            forwards: those of the cycle before; the host's ports stay the same where they can.
            thawed: the frozen state with which it goes on; None to boot.
            recall: called when that state is loaded and does not run yet, to know what was known of it.

        Raises:
            QemuExited: QEMU ended at once; with its messages.
            SnapshotUnusable: the frozen state is damaged, or QEMU does not take it.
        """
        spec = _spec(setup, disks, thawed)
        process = start_qemu(
            channel_names(spec), lambda descriptors: build_argv(setup.qemu.path, spec, descriptors), setup.qemu_log
        )
        power = cls(setup, console, process, bus, disks=disks, thawed=thawed)
        power.forwards.update(forwards or {})
        try:
            await power._connect(spec, recall)
        except BaseException as error:
            ended = False
            try:
                if isinstance(error, QemuExited) or isinstance(error.__cause__, QemuExited | QemuFailed):
                    ended = await process.has_ended()
            finally:
                await asyncio.shield(power.stop("QEMU did not start"))
            if isinstance(error, QemuExited | SnapshotUnusable):
                status = process.exited.result()
                how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
                error.evidence.setdefault(f"QEMU {how}; its last messages", process.log_tail())
                if ended and status == -signal.SIGKILL:  # that came from outside, whatever QEMU was doing just then
                    raise QemuExited(f"QEMU of {setup.name} {how} while it started", evidence=error.evidence) from error
            raise
        return power

    async def _connect(self, spec: MachineSpec, recall: Callable[[PowerCycle], None]) -> None:
        sockets = self.process.sockets
        await self._console.attach(sockets[SERIAL])
        self._ports = [await Port.attach(sockets[port_channel(number)]) for number in range(spec.ports)]
        self.shell = ShellChannel(self._ports, self.vitals, self.setup.factor)
        await self.monitor.connect(sockets[MONITOR])
        if spec.network != "none":
            wanted = {*self.setup.forward, *([SSH_PORT] if self.setup.ssh else [])}
            for port in sorted(wanted):
                self.forwards[port] = await forward_port(self.monitor, port, wish=self.forwards.get(port, 0))
        if self.thawed:
            await self.thawed.load(self.monitor, self.process.pid)
            self.paused = self.thawed.record.paused
            recall(self)
        if not self.paused:
            await self.monitor.execute("cont")

    @asynccontextmanager
    async def quiet(self) -> AsyncGenerator[None]:
        """Nothing of ours is sent to the guest in this block, and nothing is on its way to it when it begins."""
        outlets = [self._console.outlet, *(port.outlet for port in self._ports)]
        for outlet in outlets:
            outlet.hold()
        try:
            with contextlib.suppress(TimeoutError):  # nobody in the guest reads it; QEMU will not take it either
                async with asyncio.timeout(QUIET_LIMIT):
                    while any(outlet.pending for outlet in outlets):  # noqa: ASYNC110 -- a transport tells only "nearly empty"
                        await asyncio.sleep(0.001)
            async with self.keyboard.still(), self.mouse.still():
                yield
        finally:
            for outlet in outlets:
                outlet.release()

    async def receive(self) -> None:
        """Of a machine that stands still: take in everything that it has sent.

        A device whose channel was full goes on sending when there is room again, also while the machine stands still, and
        writes into the guest's memory when it is done. So it is over when QEMU has looked at its channels twice and sent no more.
        """
        guests = [end for name, end in self.process.sockets.items() if name != MONITOR]
        silent = 0
        while silent < 2:
            before = self._received
            await self.monitor.execute("query-status")
            while any(_waiting(end) for end in guests):  # noqa: ASYNC110 -- the loop reads them in between
                await asyncio.sleep(0)
            silent = silent + 1 if self._received == before else 0

    @property
    def _received(self) -> int:
        return self._console.position + sum(port.received for port in self._ports)

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        self._bus.emit(QmpEvent(machine=self.setup.name, name=name, data=data))
        self.vitals.on_qmp(name, data)
        if name == "RESET":
            self.shell.on_reset()
            self.keyboard.flow.forget()
        elif name == "STOP":
            self._spawn(self._why_stopped)
        elif name == "BLOCK_IO_ERROR" and data.get("action") == "stop":
            self.vitals.on_io_error(no_space=bool(data.get("nospace")))

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            with contextlib.suppress(QaError):  # QEMU went away; its exit is told by itself
                await work()

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _why_stopped(self) -> None:
        if (await self.monitor.execute("query-status"))["status"] == "internal-error":
            self.vitals.on_internal_error()

    async def stop(self, reason: str) -> None:
        """Switch off, whatever the guest is doing; nothing of this cycle is left afterwards."""
        self.vitals.on_stop(reason)
        for task in tuple(self._tasks):
            task.cancel()
        self.process.kill()
        await asyncio.shield(self.process.exited)
        await self.monitor.disconnect()
        for port in self._ports:
            port.close()
        self._console.detach()
        await self.process.stop()
        self.vitals.close()
        self.camera.close()
