"""Is the guest alive? Every wait races with the answer, so that none outlives the guest."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from qa.console.failures import PANIC, FailureScan
from qa.console.serial import SerialConsole
from qa.deadline import Deadline
from qa.errors import ChannelLost, GuestPanic, MachineOff, NoSpace, QaError, QemuExited, QemuFailed

T = TypeVar("T")

NO_MEMORY_HINT = "no memory could be had for the guest: is the file system of the frozen machines in memory, and full?"
"""For SIGBUS: a private mapping of a file with holes takes space in a file system in memory when the guest first looks there."""

LAST_WORDS = 0.2
"""Seconds from the first sign of a failure to its report: what the guest still prints (a panic's trace) is evidence."""


PANIC_LINES = 16
"""Lines of a panic that are shown: the reason, the process, and the top of the call trace."""


class Vitals:
    """The state of one power cycle: from power-on to off, told by QMP events, the console, and QEMU's exit.

    Attributes:
        resets: how often the guest was reset; each reset ends all running commands.
        ended: why the machine is off, or empty.
    """

    def __init__(self, name: str, console: SerialConsole) -> None:
        self.name = name
        self.console = console
        self.resets = 0
        self.ended = ""
        self.failure: QaError | None = None
        self._stopped = False
        self._awaited = True
        self._scan = FailureScan()
        self._loop = asyncio.get_running_loop()
        self._waiters: set[asyncio.Future[str]] = set()
        self._due: asyncio.TimerHandle | None = None
        self._unsubscribe = console.subscribe(self._hear)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        if self._due:
            self._due.cancel()

    # what is observed

    @property
    def is_booted(self) -> bool:
        """Whether only a panic is a failure by now."""
        return not self._scan.booting

    def await_boot(self, awaited: bool) -> None:
        """Whether somebody wants the guest to come up. Else it may stop in the UEFI shell or at ``grub>``: that is looked at."""
        self._awaited = self._scan.booting = awaited

    def booted(self) -> None:
        """From now on only a panic is a failure: a prompt may appear in any output."""
        self._scan.booting = False

    def forgive(self) -> None:
        """Forget a failure that a reset ends: what the guest says from now on is another boot's."""
        if self._due:
            self._due.cancel()
        self.failure = self._due = None
        self._scan = FailureScan()
        self._scan.booting = self._awaited

    def _hear(self, data: bytes) -> None:
        if self.failure or not (found := self._scan.feed(data)):
            return
        failure, detail = found
        message = f"{failure.message}: {detail}" if detail else failure.message
        self._fail_soon(failure.error(f"{self.name}: {message}", hint=failure.hint))
        if failure.name == PANIC:
            self.ended = self.ended or "guest panicked"

    def on_qmp(self, event: str, data: dict[str, Any]) -> None:
        """Take a QMP event."""
        if event == "GUEST_PANICKED":
            self.ended = "guest panicked"
            self._fail_soon(
                GuestPanic(f"{self.name}: the guest's kernel panicked", hint="the first lines of the panic show where")
            )
        elif event == "SHUTDOWN" and data.get("reason") != "guest-panic":
            self.ended = self.ended or ("guest shut down" if data.get("guest") else "shut down")
            self._wake("off")
        elif event == "RESET" and data.get("guest"):
            self.resets += 1
            self._scan = FailureScan()
            self._scan.booting = self._awaited
            self._wake("reset")

    def on_internal_error(self) -> None:
        """QEMU or the accelerator could not run the guest any further."""
        self.ended = self.ended or "internal error"
        hint = "with KVM this usually means that the host's virtualisation does not work: anima-qa doctor --boot tells"
        self._fail(QemuFailed(f"{self.name}: QEMU stopped the guest with an internal error", hint=hint))

    def on_io_error(self, *, no_space: bool) -> None:
        """The guest was stopped because the host could not read or write its disk."""
        self.ended = self.ended or "disk error on the host"
        if no_space:
            hint = "free some, or let ANIMA_QA_HOME name a folder on a larger disk"
            self._fail(NoSpace(f"{self.name}: no space is left on the host for what the guest writes", hint=hint))
        else:
            self._fail(QemuFailed(f"{self.name}: the host could not read or write the guest's disk", hint="see qemu.log"))

    def on_exit(self, status: int, log_tail: str) -> None:
        """QEMU is gone."""
        if self._stopped or self.ended in {"guest shut down", "shut down"}:
            self._wake("off")
            return
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        if self.failure is None:
            self.ended = f"QEMU {how}"
            hint = NO_MEMORY_HINT if status == -signal.SIGBUS else "its own messages are in qemu.log"
            error = QemuExited(f"{self.name}: QEMU {how}", hint=hint)
            error.evidence["QEMU's last messages"] = log_tail
            self._fail(error)
        self._wake("off")

    def on_stop(self, reason: str) -> None:
        """We end the machine ourselves."""
        self._stopped = True
        self.ended = self.ended or reason
        self._wake("off")

    def _fail_soon(self, error: QaError) -> None:
        if self._due is None and self.failure is None:
            self._due = self._loop.call_later(LAST_WORDS, self._fail, error)

    def _fail(self, error: QaError) -> None:
        if self.failure is None:
            if isinstance(error, GuestPanic):  # its first lines tell more than its last, which are registers
                error.evidence.setdefault("panic", self.console.tail_from("Kernel panic", PANIC_LINES))
            error.evidence.setdefault("console, last lines", self.console.tail())
            self.failure = error
        self._wake("failed")

    def _wake(self, why: str) -> None:
        for waiter in tuple(self._waiters):
            if not waiter.done():
                waiter.set_result(why)

    # what waits use

    async def off(self) -> None:
        """Wait until the machine is off.

        Raises:
            QaError: it did not go off, it failed.
        """
        while not self.ended or (self._due and not self.failure):  # a failure is known before it is told
            await self._change()
        if self.failure:
            raise self.failure

    async def reset_after(self, count: int) -> None:
        """Wait until the guest has been reset more than ``count`` times."""
        while self.resets <= count:
            await self._change()

    async def _change(self) -> str:
        waiter: asyncio.Future[str] = self._loop.create_future()
        self._waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)

    def check(self) -> None:
        """Raise what ended the machine, if anything did."""
        if self.failure:
            raise self.failure
        if self.ended:
            raise MachineOff(f"{self.name} is off: {self.ended}", hint="boot it first")

    async def guard(
        self,
        awaitable: Awaitable[T],
        deadline: Deadline,
        what: str,
        *,
        seen: Callable[[], str] | None = None,
        off_is_fine: bool = False,
        reset_is_fine: bool = True,
    ) -> T:
        """Await ``awaitable`` until it is done, the guest is known to be dead, or ``deadline`` passes.

        Args:
            what: what is waited for, for the message (``unit nginx``).
            seen: tells what was seen last, for a deadline's evidence; the console's tail where it is None.
            off_is_fine: do not take the machine's shutdown for a failure.
            reset_is_fine: do not take the guest's reset for a failure.

        Raises:
            MachineError: the guest failed; with the console's tail as evidence.
            ChannelLost: it was reset meanwhile, where that is not fine.
            DeadlineExceeded: it took too long.
        """
        task: asyncio.Future[T] = asyncio.ensure_future(awaitable)
        try:
            while True:
                if not task.done() and not (off_is_fine and self.failure is None):
                    self.check()
                waiter: asyncio.Future[str] = self._loop.create_future()
                self._waiters.add(waiter)
                try:
                    both: set[asyncio.Future[Any]] = {task, waiter}
                    await asyncio.wait(both, timeout=deadline.remaining, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._waiters.discard(waiter)
                if task.done():
                    return task.result()
                if not waiter.done():
                    raise deadline.exceeded(f"{self.name}: {what}", seen() if seen else self.console.tail(12))
                if waiter.result() == "reset" and not reset_is_fine:
                    raise ChannelLost(f"{self.name}: the guest was reset while it waited for {what}")
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
