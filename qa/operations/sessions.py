"""Folders for what the machines of a server leave: logs, pictures, output. They stay for a while when it has ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from qa.errors import HostError

KEPT_DAYS = 14
"""For how long: a person who wants to know what an agent did looks within days."""

_LOCK = ".lock"


@contextmanager
def session_folder(root: Path) -> Iterator[Path]:
    """A new folder in ``root``, locked for the length of the block. Old ones whose server has ended are removed before.

    Raises:
        HostError: it cannot be made.
    """
    _remove_old(root)
    folder = root / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"no folder for the machines' logs can be made in {root}: {error.strerror}"
        raise HostError(message, hint="set ANIMA_QA_HOME to a folder that is yours") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(lock)


def new_folder(around: Path, name: str) -> Path:
    """A new folder ``name`` in ``around``, or ``name.2`` and so on: what a bearer of the same name left stays."""
    number, folder = 1, around / name
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = around / f"{name}.{number}"
        else:
            return folder


def file_name(text: str) -> str:
    """``text`` as the name of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:40].strip("-.") or "client"


def _remove_old(root: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86400
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if not folder.is_symlink() and (folder / _LOCK).is_file() and folder.stat().st_mtime < oldest and not _in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _in_use(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(lock)
