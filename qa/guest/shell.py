"""The root shell on the virtio serial ports: the quickest way into a Linux guest, and it needs nothing of the guest's network."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO

from qa.deadline import Deadline
from qa.errors import UsageError
from qa.guest.channel import CommandResult, Kept, OutputListener
from qa.guest.port import Port
from qa.guest.shell_script import HELLO, MARK, control_prelude
from qa.guest.slot import Slot
from qa.guest.vitals import Vitals

KILL_LIMIT = 5.0
"""Seconds that a killed command has to go away. One that hangs in the kernel never does: its slot is then given up."""

ANSWER_LIMIT = 60.0
"""Seconds for the control shell's answers, which take milliseconds unless the guest is starved."""


class ShellChannel:
    """Commands over pairs of virtio serial ports, several at once.

    Attributes:
        factor: limits of our own are multiplied by it under software emulation.
    """

    name = "shell"

    def __init__(self, ports: Sequence[Port], vitals: Vitals, factor: float = 1.0) -> None:
        self._ports = ports
        self._vitals = vitals
        self._factor = factor
        self._control = ports[0]
        self._control.listener = self._hear
        self._heard = b""
        self._ready = asyncio.Event()
        self._answers: dict[str, asyncio.Future[list[str]]] = {}
        self._forget()

    def _forget(self) -> None:
        """The guest's side is new: nothing of what was known of it holds."""
        self._ready.clear()
        self._idle: list[Slot] = []
        self._unused = list(range(1, len(self._ports) - 1, 2))
        self._change = asyncio.Condition()

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

    # slots

    async def _new_slot(self, number: int) -> Slot:
        async def start(token: str) -> str:
            return (await self._ask_control("q_slot", str(number), token))[0]

        slot = Slot(self._ports[number], self._ports[number + 1])
        await slot.prepare(start)
        return slot

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[Slot]:
        """A slot of one's own. One that background children may still write to comes last."""
        await self._ready.wait()
        change, idle = self._change, self._idle
        async with change:
            await change.wait_for(lambda: idle or self._unused)
            clean = [slot for slot in idle if not slot.shared]
            number = None
            if clean or not self._unused:
                slot = (clean or idle)[0]
                idle.remove(slot)
            else:
                number = self._unused.pop(0)
        if number is not None:
            slot = await self._new_slot(number)
        try:
            yield slot
        except asyncio.CancelledError:
            # Whoever gave up leaves a command behind: end it, so that the slot serves the next.
            if not (self._vitals.failure or self._vitals.ended) and idle is self._idle:
                await asyncio.shield(self._kill(slot))
            raise
        finally:
            if not slot.dead and idle is self._idle:
                async with change:
                    idle.append(slot)
                    change.notify()

    async def _kill(self, slot: Slot) -> None:
        """Kill what the slot runs; where that does not help, the slot is given up."""
        try:
            async with asyncio.timeout(KILL_LIMIT * self._factor):
                await self._ask_control("q_kill", slot.process)
                await slot.resync()
        except TimeoutError:
            slot.dead = True

    # the channel

    async def run(
        self,
        command: str,
        *,
        limit: float,
        stdin: BinaryIO | None = None,
        on_output: OutputListener | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """See Channel."""
        if "\0" in command:
            raise UsageError("a command cannot contain a NUL character")
        return await self._vitals.guard(
            self._run(command, limit, stdin, on_output, sink),
            Deadline.after(limit + ANSWER_LIMIT * self._factor),
            f"the end of: {command}",
            reset_is_fine=False,
        )

    async def _run(
        self,
        command: str,
        limit: float,
        stdin: BinaryIO | None,
        on_output: OutputListener | None,
        sink: Callable[[bytes], None] | None,
    ) -> CommandResult:
        stdout, stderr = Kept(), Kept()

        def on_stdout(data: bytes) -> None:
            (sink or stdout.add)(data)
            if on_output:
                on_output("stdout", data)

        def on_stderr(data: bytes) -> None:
            stderr.add(data)
            if on_output:
                on_output("stderr", data)

        async with self._slot() as slot:
            started = time.monotonic()
            running = asyncio.ensure_future(slot.run(command, stdin, on_stdout, on_stderr))
            try:
                await asyncio.wait({running}, timeout=limit)
                code = running.result() if running.done() else None
            finally:
                running.cancel()
            if code is None:
                await self._kill(slot)
            return CommandResult(
                command=command,
                exit_code=code,
                stdout=stdout.value(),
                stderr=stderr.value(),
                duration_s=time.monotonic() - started,
                truncated=stdout.truncated or stderr.truncated,
                timed_out=code is None,
            )

    async def close(self) -> None:
        """See Channel. The ports stay open: the shell is there again after a reboot."""
