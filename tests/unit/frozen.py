"""Frozen machines for tests of the store, and other processes that use it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from qa.snapshots.store import Base, Entry, Kind, Store

TraceFunction = Callable[[FrameType, str, Any], Any]

OTHER = """
import sys
from contextlib import ExitStack
from pathlib import Path
from qa.snapshots.store import Store
store = Store(Path(sys.argv[1]), 1 << 40)
with ExitStack() as stack:
    {what}
    print(getattr(thing, "id", ""), flush=True)
    sys.stdin.read()
"""


def put(
    store: Store,
    *,
    kind: Kind = "template",
    key: str = "",
    title: str = "",
    parents: Iterable[Entry] = (),
    size: int = 1000,
    used: float | None = None,
    bases: Iterable[Base] = (),
) -> Entry:
    """An entry as a freeze leaves it; last used at ``used``."""
    with store.draft(kind, key=key, title=title, parents=[one.id for one in parents]) as draft:
        (draft.folder / "devices").write_bytes(b"d" * 300)
        (draft.folder / "memory").write_bytes(os.urandom(size))
        entry = draft.commit(machine={"cpus": 2, "boot": {"stages": [0.5, 1e-7, "login"]}}, bases=bases)
    if used is not None:
        os.utime(entry.folder / "lock", (used, used))
    return entry


def names(store: Store) -> list[str]:
    """What is in the store's folder, hidden or not, apart from its own lock."""
    return sorted(path.name for path in store.root.glob("*") if path.name != ".lock")


@contextlib.contextmanager
def other_process(store: Store, what: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that executes ``what`` with ``store`` and ``stack`` at hand, then stays; with the id of its ``thing``."""
    command = [sys.executable, "-c", OTHER.format(what=what), str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def change(path: Path, old: bytes, new: bytes) -> None:
    """Change a file that is there, keeping its length where ``new`` is as long as ``old``."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def forked(work: Callable[[], object]) -> int:
    """The id of a new process that does ``work``; its exit status is 0 when that is done, 1 when it raised."""
    if process := os.fork():
        return process
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
    raise AssertionError


def killed_at_line(number: int, work: Callable[[], object]) -> bool:
    """Whether another process that does ``work`` came to its ``number``-th line in the code of the store, where it was killed."""

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal number
        if "/qa/snapshots/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            number -= 1
            if number < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        work()

    _, status = os.waitpid(forked(traced), 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)
