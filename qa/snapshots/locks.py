"""Locks on files of the store. The kernel drops them when their holder dies; a lock on a file that was removed is none."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from qa.errors import SnapshotError

POLL_S = 0.2
"""How often the lock of what somebody builds is tried again: nothing tells when it is free, and a build takes seconds."""
SHORT_POLL_S = 0.002
PATIENCE_S = 30.0
"""How long to wait for locks that are held for milliseconds: longer means that their holder was stopped."""

BUILDING = ".building-"
_STORE = ".lock"


def shared(path: Path) -> int | None:
    """An open descriptor that holds ``path`` together with others; None when it is being removed.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    return _take(path, fcntl.LOCK_SH, os.O_RDONLY, patience_s=PATIENCE_S)


def alone(path: Path) -> int | None:
    """An open descriptor that holds ``path`` alone; None when somebody else holds it.

    Raises:
        OSError: there is no such file, or it cannot be opened.
    """
    return _take(path, fcntl.LOCK_EX, os.O_RDWR, patience_s=0)  # some network file systems want it writable


@contextlib.contextmanager
def changing(root: Path) -> Iterator[None]:
    """Change what the store has, one process at a time. For milliseconds only: others wait.

    Raises:
        SnapshotError: another process does not let go.
        OSError: the store cannot be written to.
    """
    descriptor = _take(root / _STORE, fcntl.LOCK_EX, os.O_RDWR | os.O_CREAT, patience_s=PATIENCE_S)
    if descriptor is None:
        raise SnapshotError(
            f"another process has kept {root} locked for {PATIENCE_S:.0f} seconds",
            hint="see what hangs: fuser " + str(root / _STORE),
        )
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def building(root: Path, key: str, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Be the only one that builds ``key``; ``on_wait`` is called once if somebody else does so now.

    Raises:
        OSError: the store cannot be written to.
    """
    path = root / f"{BUILDING}{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    while (descriptor := _take(path, fcntl.LOCK_EX, os.O_RDWR | os.O_CREAT, patience_s=0)) is None:
        if on_wait is not None:
            on_wait()
            on_wait = None
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _take(path: Path, operation: int, flags: int, *, patience_s: float) -> int | None:
    end = time.monotonic() + patience_s
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= end:
                return None
            time.sleep(SHORT_POLL_S)
            continue
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # removed between opening and locking: look again what is there now


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
