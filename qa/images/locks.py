"""Locks between processes that the kernel drops when their holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from qa.errors import HostError, NoSpace

POLL_S = 0.2
"""How often a lock that somebody holds is tried again: nothing tells when one becomes free, and builds take seconds."""


@contextlib.asynccontextmanager
async def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock file ``path``; ``on_wait`` is called once if somebody else holds it now.

    Raises:
        HostError: the image cache cannot be written to.
    """
    descriptor = _open(path)
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
    """Hold the lock file ``path`` if nobody does now; gives whether it is held.

    Raises:
        HostError: the image cache cannot be written to.
    """
    descriptor = _open(path)
    try:
        yield _try(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(f"no space left for {path}", hint="anima-qa image prune and anima-qa gc free space") from error
        raise HostError(
            f"the image cache cannot be written to: {path}: {error.strerror}", hint="set ANIMA_QA_HOME to a folder that is yours"
        ) from error


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
