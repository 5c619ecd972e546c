"""The one interface to commands in a guest, whatever carries them: shell on a virtio console, SSH, serial login."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Literal

from qa.deadline import Deadline
from qa.errors import UsageError
from qa.guest.vitals import Vitals

Stream = Literal["stdout", "stderr"]
OutputListener = Callable[[Stream, bytes], None]
"""Called with each piece of output while the command runs."""

OUTPUT_LIMIT = 1 << 20
"""Bytes kept of each stream: half from its head, half from its tail. A guest's flood must not become ours."""


@dataclass(frozen=True)
class CommandResult:
    """What a command gave.

    Attributes:
        exit_code: as a shell reports it (128 + N for signal N); None where the command did not end by itself.
        stdout, stderr: what was kept of them; where something was cut out of the middle, a line says how much.
        truncated: whether anything was cut out.
        timed_out: it reached its limit, and its process group was killed.
    """

    command: str
    exit_code: int | None
    stdout: bytes
    stderr: bytes
    duration_s: float
    truncated: bool = False
    timed_out: bool = False

    @property
    def stdout_text(self) -> str:
        """stdout as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", errors="replace")

    @property
    def stderr_text(self) -> str:
        """stderr as text; bytes that are not UTF-8 are replaced."""
        return self.stderr.decode("utf-8", errors="replace")


def in_one_line(command: str) -> str:
    """A command of several lines as one, for messages: joined by spaces, two commands would look like one with arguments."""
    return "; ".join(line for raw in command.splitlines() if (line := " ".join(raw.split())))


class Kept:
    """The head and the tail of a stream."""

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        room = self._half - len(self._head)
        self._head += data[: max(0, room)]
        self._tail += data[max(0, room) :]
        if len(self._tail) > 2 * self._half:  # cut seldom: each cut copies
            self._trim()

    def _trim(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            self._cut += excess
            del self._tail[:excess]

    @property
    def truncated(self) -> bool:
        """Whether something was cut out."""
        return self._cut > 0 or len(self._tail) > self._half

    def value(self) -> bytes:
        """What was kept."""
        self._trim()
        if not self._cut:
            return bytes(self._head + self._tail)
        return bytes(self._head) + b"\n[... %d bytes cut out here ...]\n" % self._cut + bytes(self._tail)


@dataclass(frozen=True)
class Call:
    """What a channel is asked to run; see `Channel.run`."""

    command: str
    limit: float
    stdin: BinaryIO | None = None
    on_output: OutputListener | None = None
    sink: Callable[[bytes], None] | None = None


class Output:
    """Takes what a command prints and makes the result of it."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stdout, self._stderr = Kept(), Kept()
        self._started = time.monotonic()

    def stdout(self, data: bytes) -> None:
        """A piece of stdout."""
        (self._call.sink or self._stdout.add)(data)
        if self._call.on_output and data:
            self._call.on_output("stdout", data)

    def stderr(self, data: bytes) -> None:
        """A piece of stderr."""
        self._stderr.add(data)
        if self._call.on_output and data:
            self._call.on_output("stderr", data)

    def result(self, exit_code: int | None, *, timed_out: bool, duration_s: float | None = None) -> CommandResult:
        """The result. The duration counts from the making of this object where it is not given."""
        return CommandResult(
            command=self._call.command,
            exit_code=None if timed_out else exit_code,
            stdout=self._stdout.value(),
            stderr=self._stderr.value(),
            duration_s=time.monotonic() - self._started if duration_s is None else duration_s,
            truncated=self._stdout.truncated or self._stderr.truncated,
            timed_out=timed_out,
        )


class Channel(ABC):
    """A way to run commands in a guest, as root or as the user who logged in.

    Args:
        vitals: tell when the guest is dead; no command outlives it.
        patience: seconds beyond a command's limit that the channel may need for its own work, killing it included.
    """

    name: ClassVar[str]

    def __init__(self, vitals: Vitals, patience: float) -> None:
        self._vitals = vitals
        self._patience = patience

    async def run(
        self,
        command: str,
        *,
        limit: float,
        stdin: BinaryIO | None = None,
        on_output: OutputListener | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run ``command`` in a POSIX shell and wait for it.

        Args:
            command: a shell command; several lines are fine.
            limit: seconds after which its process group is killed; the result then has ``timed_out``.
            stdin: a file whose whole content it reads; nothing (``/dev/null``) where it is None.
            on_output: called with each piece of output as it comes; on the serial login that is when the command has ended.
            sink: takes stdout whole instead of the result, for transfers.

        Raises:
            UsageError: the command has a character that no command can have.
            MachineError: the guest died, rebooted, or the channel broke.
        """
        if "\0" in command:
            raise UsageError("a command cannot contain a NUL character")
        deadline = Deadline.after(limit + self._patience)
        running = self._run(Call(command, limit, stdin, on_output, sink))
        return await self._vitals.guard(running, deadline, f"the end of: {command}", reset_is_fine=False)

    @abstractmethod
    async def _run(self, call: Call) -> CommandResult:
        """Do it, and end by itself."""

    @abstractmethod
    async def close(self) -> None:
        """Give the channel up. The guest does not notice."""
