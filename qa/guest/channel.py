"""The one interface to commands in a guest, whatever carries them: shell on a virtio console, SSH, serial login."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

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


class Channel(Protocol):
    """A way to run commands in a guest, as root or as the user who logged in."""

    name: str

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
            on_output: called with each piece of output as it comes.
            sink: takes stdout whole instead of the result, for transfers.

        Raises:
            MachineError: the guest died, rebooted, or the channel broke.
        """

    async def close(self) -> None:
        """Give the channel up. The guest does not notice."""


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
