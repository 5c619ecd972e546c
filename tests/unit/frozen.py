"""Frozen machines for tests of the store, and other processes that use it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from qa.snapshots.store import Base, Entry, Kind, Store

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
    return sorted(path.name for path in store.root.iterdir() if path.name != ".lock")


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
