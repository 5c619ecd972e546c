"""The folder of the store: whether it is there and can be trusted, who may change it, and how much may be in it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from qa.errors import NoSpace, SnapshotError
from qa.snapshots import locks
from qa.snapshots.manifest import distrust

MOST = 20 << 30
"""Bytes that the store takes at most where no setting says otherwise."""


class StoreFolder:
    """The folder ``root``, with at most ``limit`` bytes in it."""

    def __init__(self, root: Path, limit: int | None) -> None:
        self.root = root
        self.limit = limit

    @contextlib.contextmanager
    def writing(self, *, only_space: bool = False) -> Iterator[None]:
        """Errors of the file system, in words; ``only_space`` leaves all but a full disk as they are."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NoSpace(
                    f"no space is left for frozen machines in {self.root}",
                    hint="anima-qa template prune --to SIZE makes room; the setting snapshots names another folder",
                ) from error
            if only_space:
                raise
            raise SnapshotError(
                f"the store of frozen machines {self.root} cannot be used: {error.strerror}",
                hint="the setting snapshots names another folder",
            ) from error

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """While entries come and go: one process at a time."""
        return locks.changing(self.root)

    def make(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            OSError: it cannot be made.
            SnapshotError: it is not to be trusted.
        """
        if not self.is_there():
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.is_there()

    def is_there(self) -> bool:
        """Whether there is a store.

        Raises:
            SnapshotError: there is something that is not to be trusted.
        """
        try:
            status = self.root.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise SnapshotError(
                f"the store of frozen machines {self.root} cannot be read: {error.strerror}",
                hint="set ANIMA_QA_HOME to a folder that is yours",
            ) from error
        if reason := distrust(status):
            hint = "the setting snapshots names another folder"
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                hint = f"chmod 700 {self.root}, or use another folder: {hint}"
            raise SnapshotError(f"the store of frozen machines {self.root} is not used: it {reason}", hint=hint)
        return True

    def allowance(self, taken: int) -> int:
        """How many bytes it may take, when it takes ``taken`` now."""
        return min(MOST, (shutil.disk_usage(self.root).free + taken) // 2) if self.limit is None else self.limit
