"""A person at a terminal: the program on a pseudo-terminal, what it shows, and keys for it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from types import TracebackType
from typing import Self

from program import COMMAND, LIMIT_S, Program


class Typist:
    """``anima-qa`` with ``arguments`` on a terminal of its own."""

    def __init__(self, program: Program, *arguments: object) -> None:
        self._seen = ""
        self.status: int | None = None
        environment = program.environment({"TERM": "dumb"})
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(program.cwd)
            os.execve(COMMAND[0], [*COMMAND, *(str(word) for word in arguments)], environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._terminal)

    def wait_for(self, text: str) -> str:
        """Read until ``text`` was shown; all that came before it, with it."""
        until = time.monotonic() + LIMIT_S
        while text not in self._seen:
            ready, _, _ = select.select([self._terminal], [], [], until - time.monotonic())
            assert ready, f"{text!r} never came: {self._seen!r}"
            self._seen += self._read()
        end = self._seen.index(text) + len(text)
        shown, self._seen = self._seen[:end], self._seen[end:]
        return shown

    def _read(self) -> str:
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # nobody has the other end open
            data = b""
        assert data, f"it ended: {self._seen!r}"
        return data.decode(errors="replace")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """Wait for its end; the exit status."""
        _, status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status
