"""The root shell on the virtio serial ports: the quickest way into a Linux guest, and it needs nothing of the guest's network."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from qa.deadline import Deadline
from qa.errors import ChannelLost
from qa.guest.channel import Call, Channel, CommandResult, Output
from qa.guest.clock import set_within
from qa.guest.port import Port
from qa.guest.shell_script import HELLO, MARK, control_prelude
from qa.guest.slot import Slot
from qa.guest.thaw_program import octal, thaw_input
from qa.guest.vitals import Vitals

T = TypeVar("T")

KILL_LIMIT = 5.0
"""Seconds that a killed command has to go away. One that hangs in the kernel never does: its slot is then given up."""

ANSWER_LIMIT = 60.0
"""Seconds for the control shell's answers, which take milliseconds unless the guest is starved."""


class _Shells:
    """The guest's shells since they last said hello.

    Attributes:
        idle: slots that wait for a command.
        unused: ports at which no slot has been started yet.
        freed: set when there is one of either again.
        lost: done when these shells are no more.
    """

    def __init__(self, ports: int) -> None:
        self.idle: list[Slot] = []
        self.unused = list(range(1, ports - 1, 2))
        self.freed = asyncio.Event()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, slot: Slot) -> None:
        """A slot has nothing to do."""
        if not slot.dead:
            self.idle.append(slot)
            self.freed.set()

    def put_made(self, making: asyncio.Future[Slot]) -> None:
        """A slot was made for somebody who does not want it any more."""
        if not making.cancelled() and making.exception() is None:
            self.put(making.result())

    def take(self) -> Slot | int | None:
        """An idle slot or an unused port. A slot that background children may still write to comes last."""
        clean = [slot for slot in self.idle if not slot.shared]
        if clean or (self.idle and not self.unused):
            slot = (clean or self.idle)[0]
            self.idle.remove(slot)
            return slot
        return self.unused.pop(0) if self.unused else None


class ShellChannel(Channel):
    """Commands over pairs of virtio serial ports, several at once.

    Attributes:
        factor: limits of our own are multiplied by it under software emulation.
    """

    name = "shell"

    def __init__(self, ports: Sequence[Port], vitals: Vitals, factor: float = 1.0) -> None:
        super().__init__(vitals, ANSWER_LIMIT * factor)
        self._ports = ports
        self._factor = factor
        self._control = ports[0]
        self._control.listener = self._hear
        self._heard = b""
        self._ready = asyncio.Event()
        self._answers: dict[str, asyncio.Future[list[str]]] = {}
        self._shells = _Shells(len(ports))
        self._armed = False

    def _forget(self) -> None:
        """The guest's side is new: nothing of what was known of it holds."""
        self._ready.clear()
        self._armed = False
        before, self._shells = self._shells, _Shells(len(self._ports))
        before.lost.set_result(None)

    # the control shell

    def _hear(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        self._heard = self._heard[-4096:]
        for line in lines:
            _, mark, text = line.rpartition(MARK)
            words = text.decode(errors="replace").split()
            if not mark or not words:
                continue
            if words[0] == HELLO and words[1:] == ["ready"]:
                self._ready.set()
                if self._vitals.resets:  # up again after a restart, whoever wished it
                    self._vitals.booted()
            elif words[0] == HELLO:
                self._forget()
                self._control.write(control_prelude().encode())
            elif (answer := self._answers.pop(words[0], None)) and not answer.done():
                answer.set_result(words[1:])

    def on_reset(self) -> None:
        """The guest was reset: its shells are gone, and the next hello starts anew."""
        self._forget()

    async def _ask_control(self, function: str, *arguments: str) -> list[str]:
        identity = secrets.token_hex(6)
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._answers[identity] = answer
        self._control.write(" ".join([function, identity, *arguments, "\n"]).encode())
        try:
            return await Deadline.after(ANSWER_LIMIT, self._factor).wait_for(answer, "the control shell's answer")
        finally:
            self._answers.pop(identity, None)

    async def wait_until_there(self) -> None:
        """Wait for the shell, and until a first command can go. The caller guards it."""
        await self._ready.wait()
        async with self._slot():
            pass

    # a guest that is frozen, and goes on elsewhere

    async def arm(self) -> None:
        """Before the guest is frozen: have it keep what `freshen` needs. A guest that cannot run it is freshened otherwise."""
        if self._ready.is_set() and not self._armed:
            self._armed = await self._ask_control("q_arm") == ["0"]

    async def freshen(self) -> bool:
        """After the guest was thawed: renew its kernel's randomness and set its clock; False where it has no means to do so."""
        if not self._armed:
            return False

        async def thaw(now: float) -> bool:
            return await self._ask_control("q_thaw", f"'{octal(thaw_input(now))}'") == ["0"]

        return await set_within(thaw)

    def known(self) -> dict[str, Any]:
        """What must be known of the guest's shells to go on with them in a fork: nothing in there says hello again."""
        idle = [slot.known() for slot in self._shells.idle]
        return {"ready": self._ready.is_set(), "armed": self._armed, "idle": idle, "unused": list(self._shells.unused)}

    def recall(self, known: Mapping[str, Any]) -> None:
        """Go on with the shells of which ``known`` was kept. Slots that ran a command then are not used again.

        Raises:
            KeyError, TypeError, ValueError: it is not what was kept.
        """
        for one in known["idle"]:
            number = int(one["number"])
            slot = Slot(number, self._ports[number], self._ports[number + 1])
            slot.recall(one)
            self._shells.put(slot)
        self._shells.unused = [int(number) for number in known["unused"]]
        self._armed = bool(known["armed"])
        if known["ready"]:
            self._ready.set()

    # slots

    async def _new_slot(self, number: int) -> Slot:
        async def start(token: str) -> str:
            return (await self._ask_control("q_slot", str(number), token))[0]

        slot = Slot(number, self._ports[number], self._ports[number + 1])
        await slot.prepare(start)
        return slot

    async def _while_there(self, shells: _Shells, awaitable: Awaitable[T]) -> T:
        """Await ``awaitable``, or the end of the guest's shells."""
        task: asyncio.Future[T] = asyncio.ensure_future(awaitable)
        try:
            both: set[asyncio.Future[Any]] = {task, shells.lost}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ChannelLost(f"{self._vitals.name}: the root shell in the guest has ended, and with it what it ran")
            return task.result()
        finally:
            task.cancel()

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[Slot]:
        """A slot of one's own."""
        await self._ready.wait()
        shells = self._shells
        while (taken := shells.take()) is None:
            shells.freed.clear()
            await self._while_there(shells, shells.freed.wait())
        if isinstance(taken, int):
            making = asyncio.ensure_future(self._new_slot(taken))
            try:
                slot = await self._while_there(shells, asyncio.shield(making))
            except asyncio.CancelledError:  # its shell starts all the same: keep it for the next
                making.add_done_callback(shells.put_made)
                raise
        else:
            slot = taken
        try:
            yield slot
        except asyncio.CancelledError:
            # Whoever gave up leaves a command behind: end it, so that the slot serves the next.
            if not (self._vitals.failure or self._vitals.ended or shells.lost.done()):
                await asyncio.shield(self._kill(slot))
            raise
        finally:
            shells.put(slot)

    async def _kill(self, slot: Slot) -> None:
        """Kill what the slot runs; where that does not help, the slot is given up."""
        try:
            async with asyncio.timeout(KILL_LIMIT * self._factor):
                await self._ask_control("q_kill", slot.process)
                await slot.resync()
        except TimeoutError:
            slot.dead = True

    async def _run(self, call: Call) -> CommandResult:
        async with self._slot() as slot:
            output = Output(call)
            code: int | None = None
            try:
                async with asyncio.timeout(call.limit):
                    running = slot.run(call.command, call.stdin, output.stdout, output.stderr)
                    code = await self._while_there(self._shells, running)
            except TimeoutError:
                await self._kill(slot)
            return output.result(code, timed_out=code is None)

    async def close(self) -> None:
        """See Channel. The ports stay open: the shell is there again after a reboot."""
