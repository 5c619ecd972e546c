"""QEMU as a child: its channels are inherited sockets, its end is an event, and it never outlives its owner."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from qa.errors import QemuFailed, ToolMissing

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl

END_LIMIT = 1.0
"""Seconds between the end of its channels and its own end: releasing a guest's memory takes the kernel some time."""

LOG_TAIL = 4096
"""Bytes of QEMU's own messages that are shown when it ends."""


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does before it becomes QEMU: ask the kernel to be killed when its parent dies."""

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died in between
            os._exit(1)

    return prepare


class QemuProcess:
    """A running QEMU.

    Attributes:
        sockets: our ends of its channels, by name.
        exited: a future with the exit status (negative for a signal); never an exception.
    """

    def __init__(self, popen: subprocess.Popen[bytes], sockets: dict[str, socket.socket], log: Path) -> None:
        self._popen = popen
        self.sockets = sockets
        self.log = log
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        status = self._popen.wait()
        if not self.exited.done():
            self.exited.set_result(status)

    def log_tail(self) -> str:
        """The last of what QEMU itself printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
                return file.read().decode(errors="replace")
        except OSError as error:
            return f"({self.log} cannot be read: {error.strerror})"

    async def has_ended(self) -> bool:
        """Whether it ended without us, now that its channels are closed: the kernel tells that a moment later."""
        await asyncio.wait({self.exited}, timeout=END_LIMIT)
        return self.exited.done()

    def kill(self) -> None:
        """SIGKILL, now. Nothing happens when it is gone already."""
        if not self.exited.done():
            self._popen.kill()

    async def stop(self) -> int:
        """Kill it and wait until the kernel has taken it away."""
        self.kill()
        status = await asyncio.shield(self.exited)
        for end in self.sockets.values():
            end.close()
        return status


def start_qemu(names: Iterable[str], make_argv: Callable[[dict[str, int]], list[str]], log: Path) -> QemuProcess:
    """Start QEMU with a socketpair for each channel in ``names``; ``make_argv`` gets the descriptors of its ends.

    Its messages go to ``log``, after a line with the command. It gets a session of its own, so that Ctrl-C in a terminal
    reaches us and not it. Must be called from the main thread: the kernel ties "die with the parent" to the thread.

    Raises:
        ToolMissing: the program is not there or not executable.
    """
    if threading.current_thread() is not threading.main_thread():
        raise QemuFailed("QEMU can be started from the main thread only", hint="it would die when its thread ends")
    ours: dict[str, socket.socket] = {}
    theirs: dict[str, socket.socket] = {}
    try:
        for name in names:
            ours[name], theirs[name] = socket.socketpair()
        argv = make_argv({name: end.fileno() for name, end in theirs.items()})
        with log.open("ab") as output:
            output.write((" ".join(argv) + "\n").encode())
            output.flush()
            popen = _spawn(argv, [end.fileno() for end in theirs.values()], output)
    except BaseException:
        for end in ours.values():
            end.close()
        raise
    finally:
        for end in theirs.values():
            end.close()
    for end in ours.values():
        end.setblocking(False)
    return QemuProcess(popen, ours, log)


def _spawn(argv: list[str], descriptors: list[int], output: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=descriptors,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 -- prctl and getppid are safe between fork and exec
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ToolMissing(f"{argv[0]} cannot be started: {error.strerror}", hint="anima-qa doctor tells how to get it") from error
