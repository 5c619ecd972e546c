"""The program as its users run it: a process of its own, what it prints, what it writes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qa.paths import Paths
from qa.zipapp.gate import CLEAN

if os.environ.get("CI") == "true" and not os.environ.get("ANIMA_QA_PROGRAM"):
    raise RuntimeError("CI drives the single file: ANIMA_QA_PROGRAM must name it, as ./test.sh sees to")

PROGRAM = Path(os.environ.pop("ANIMA_QA_PROGRAM", "") or Path(sys.executable).with_name("anima-qa")).absolute()
"""What is driven: ``./test.sh`` names the single file; else it is what the tests' own environment has."""

COMMAND = [sys.executable, CLEAN, str(PROGRAM)] if PROGRAM.suffix == ".pyz" else [str(PROGRAM)]
"""How it is started. Its first line is tried by tests of its own: what stands for ``python3`` in PATH can be a script."""

LIMIT_S = 240.0
"""A program that hangs must not hang the tests; the slowest run, of the Debian guest on a busy host, takes 150 s."""

SHARED_CACHE = Path(os.environ.get("ANIMA_QA_TEST_CACHE") or Paths.from_environment().cache).absolute()
SHARED_IMAGES = SHARED_CACHE / "images"


def new_home(folder: Path) -> Path:
    """A home whose images are those of this machine, and in which the single file need not unpack itself again."""
    (folder / "cache").mkdir(parents=True)
    for name in ("images", "zipapp"):
        (SHARED_CACHE / name).mkdir(parents=True, exist_ok=True)
        (folder / "cache" / name).symlink_to(SHARED_CACHE / name)
    return folder


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    status: int
    stdout: str
    stderr: str
    cwd: Path

    @property
    def text(self) -> str:
        """All that a person saw."""
        return self.stderr + self.stdout

    @property
    def folder(self) -> Path:
        """The results folder of the last run."""
        return (self.cwd / "results" / "latest").resolve()

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return result

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]


class Program:
    """``anima-qa`` with a home of its own, started in ``cwd``."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self.home = home
        self.cwd = cwd

    def script(self, text: str, name: str = "script.yaml") -> Path:
        """Write a script; its path."""
        path = self.cwd / name
        path.write_text(text)
        return path

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Ours, with the home, and with ``changes``: None takes a variable away."""
        merged = {**os.environ, "ANIMA_QA_HOME": str(self.home), **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, *arguments: object, before: Sequence[object] = (), stdin: str = "", **env: str | None) -> Ended:
        """Run to the end. ``before`` goes before the program in the command line."""
        done = subprocess.run(
            [str(word) for word in (*before, *COMMAND, *arguments)],
            cwd=self.cwd, env=self.environment(env), input=stdin, text=True, errors="replace",
            capture_output=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr, self.cwd)

    def run_script(self, text: str, *arguments: object, **env: str | None) -> Ended:
        """Run a script that is given as text."""
        return self.run("run", self.script(text), *arguments, **env)

    def start(self, *arguments: object, **env: str | None) -> Running:
        """Start in a process group of its own, as a shell does, with all that it prints in one stream."""
        popen = subprocess.Popen(
            [*COMMAND, *(str(word) for word in arguments)],
            cwd=self.cwd, env=self.environment(env), text=True, errors="replace", process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Running(popen, self.cwd)

    def leftovers(self) -> list[str]:
        """Files of machines that nobody swept."""
        work = self.home / "cache" / "work"
        return sorted(path.name for path in work.iterdir()) if work.exists() else []


class Running:
    """A program that runs."""

    def __init__(self, popen: subprocess.Popen[str], cwd: Path) -> None:
        self._popen = popen
        self._cwd = cwd
        self._seen: list[str] = []
        self._qemus: set[int] = set()
        self._guard = threading.Timer(LIMIT_S, popen.kill)

    def __enter__(self) -> Self:
        self._guard.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.cancel()
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()

    def wait_for(self, text: str) -> str:
        """Read until a line has ``text``; that line."""
        assert self._popen.stdout
        for line in self._popen.stdout:
            self._seen.append(line)
            if text in line:
                self._qemus.update(qemus_of(self._popen.pid))
                return line
        raise AssertionError(f"{text!r} never came:\n{''.join(self._seen)}")

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal: to the program alone, or to its process group as a terminal does."""
        (os.killpg if group else os.kill)(self._popen.pid, number)

    def signal_qemu(self, number: signal.Signals) -> None:
        """Send a signal to its QEMU."""
        (pid,) = self._qemus
        os.kill(pid, number)

    def end(self) -> Ended:
        """Wait for its end."""
        assert self._popen.stdout
        self._seen += self._popen.stdout
        return Ended(self._popen.wait(), "", "".join(self._seen), self._cwd)

    def qemus_are_gone(self) -> bool:
        """Whether each QEMU that it had is dead. They are no children of ours, so a moment is theirs."""
        assert self._qemus
        return eventually(lambda: not any(is_alive(pid) for pid in self._qemus))


def qemus_of(parent: int) -> set[int]:
    """The QEMUs that are children of ``parent``."""
    found = set()
    for listing in Path(f"/proc/{parent}/task").glob("*/children"):
        found |= {int(pid) for pid in listing.read_text().split() if "qemu" in _name_of(pid)}
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    """Whether ``condition`` comes true within ``limit_s``."""
    waiting = threading.Event()
    for _ in range(int(limit_s / 0.02)):
        if condition():
            return True
        waiting.wait(0.02)
    return condition()


def _name_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
