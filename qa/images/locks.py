"""Locks between processes that the kernel drops when their holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

POLL_S = 0.2
"""How often a lock that somebody holds is tried again: nothing tells when one becomes free, and builds take seconds."""


@contextlib.asynccontextmanager
async def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock file ``path``; ``on_wait`` is called once if somebody else holds it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _try(descriptor):
            if on_wait is not None:
                on_wait()
                on_wait = None
            await asyncio.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` if nobody does now; gives whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _try(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
