"""A person at a machine's shell or serial console, in this terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from qa.events import Bus, CommandOutput, Event

if TYPE_CHECKING:
    from qa.guest.channel import CommandResult
    from qa.machine import Machine

LEAVE = b"\x1d"
"""Ctrl-]: what telnet and virsh take."""
LONGEST_COMMAND_S = LONGEST_SESSION_S = 24 * 3600.0
"""No limit that a person meets: who has waited enough leaves."""
HISTORY = 24
"""Lines of the console that are shown at first: a screen full."""


async def shell(machine: Machine, bus: Bus) -> None:
    """Run each line that is typed in the guest, until ``exit`` or Ctrl-D. Each has a shell of its own; ``cd`` is remembered."""
    _say(f"a root shell on {machine.name}, as it was then; each line is a command of its own; exit or Ctrl-D leaves")
    session = _Shell(machine)
    unsubscribe = bus.subscribe(_print_output)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, session.interrupt)
    try:
        async with _typed() as typed:
            session.prompt()
            while (line := await typed.get()) is not None and line.split() != ["exit"]:
                if line.strip():
                    await session.run(line)
                session.prompt()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        unsubscribe()
        sys.stdout.write("\n")


class _Shell:
    """A root shell of which only the folder lasts from one line to the next."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._folder = "/"
        self._running: asyncio.Future[CommandResult] | None = None

    def prompt(self) -> None:
        """Ask for a line."""
        sys.stdout.write(f"{self._machine.name}:{self._folder}# ")
        sys.stdout.flush()

    def interrupt(self) -> None:
        """Ctrl-C: end the command, or begin another line."""
        if self._running:
            self._running.cancel()
        else:
            sys.stdout.write("\n")
            self.prompt()

    async def run(self, line: str) -> None:
        """Run a line and say how it ended, where it was not well.

        Raises:
            MachineError: the machine is off.
        """
        changes = line.split(maxsplit=1)[0] == "cd"
        command = f"cd {shlex.quote(self._folder)}\n{line}" + (" && pwd" if changes else "")
        self._running = asyncio.ensure_future(self._machine.execute(command, timeout=LONGEST_COMMAND_S))
        try:
            await asyncio.wait([self._running])
        except asyncio.CancelledError:
            self._running.cancel()
            raise
        ended, self._running = self._running, None
        if ended.cancelled():
            _say("ended by Ctrl-C")
        elif error := ended.exception():
            self._machine.check_alive()
            _say(str(error))
        elif (result := ended.result()).exit_code:
            _say(f"exit code {result.exit_code}")
        elif changes:
            self._folder = result.stdout_text.splitlines()[-1]


def _print_output(event: Event) -> None:
    if isinstance(event, CommandOutput):
        stream = sys.stdout if event.stream == "stdout" else sys.stderr
        stream.write(event.text)
        stream.flush()


@contextlib.asynccontextmanager
async def _typed() -> AsyncIterator[asyncio.Queue[str | None]]:
    """The lines that are typed, as the terminal's own line editing gives them; None is the end."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        data = os.read(descriptor, 1 << 16)
        if not data:
            loop.remove_reader(descriptor)
            lines.put_nowait(None)
        for line in data.decode(errors="replace").splitlines():
            lines.put_nowait(line)

    loop.add_reader(descriptor, read)
    try:
        yield lines
    finally:
        loop.remove_reader(descriptor)


async def console(machine: Machine) -> None:
    """The machine's serial console, until Ctrl-] is pressed or the machine is off."""
    _say(f"the serial console of {machine.name}, as it was then; Ctrl-] leaves")
    left = asyncio.Event()
    loop, typing, showing = asyncio.get_running_loop(), sys.stdin.fileno(), sys.stdout.fileno()

    def type_on() -> None:
        data = os.read(typing, 4096)
        before, key, _ = data.partition(LEAVE)
        machine.type_console(before)
        if key or not data:
            left.set()

    waiting = [asyncio.ensure_future(left.wait()), asyncio.ensure_future(machine.wait_for_shutdown(LONGEST_SESSION_S))]
    with _raw(typing), machine.watching_console(lambda data: _write(showing, data)):
        _write(showing, machine.console_tail(HISTORY).replace("\n", "\r\n").encode())
        loop.add_reader(typing, type_on)
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(typing)
            for one in waiting:
                one.cancel()
    sys.stdout.write("\n")
    if waiting[1] in done:
        waiting[1].result()
        _say(f"{machine.name} is off")


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too; afterwards the terminal is as it was."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed meanwhile is not lost
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _say(text: str) -> None:
    sys.stderr.write(f"[{text}]\n")
    sys.stderr.flush()
