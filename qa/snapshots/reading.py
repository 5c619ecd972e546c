"""Reading entries back: their manifests, their files, all that they build on. Nothing is believed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import SnapshotUnusable
from qa.snapshots.entry import Entry
from qa.snapshots.manifest import Manifest, one_line, read_bounded, read_manifest, reason, unreadable, unusable

if TYPE_CHECKING:
    from qa.snapshots.store import Store

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNSETTLED = "unsettled"
"""A file that is there until all others are safely on the disk; says in which run of the host's kernel they were written."""


@dataclass
class Reader:
    """Reads entries of one store, each once."""

    store: Store
    found: dict[str, Entry] = field(default_factory=dict)

    def open(self, snapshot: str) -> Entry:
        """The entry of that id, with all that it builds on. No recursion: chains may be long.

        Raises:
            SnapshotUnusable: it is damaged, or one that it builds on is, or a file that it builds on has changed.
        """
        path: dict[str, Manifest] = {}
        todo = [snapshot]
        while todo:
            current = todo[-1]
            if current not in self.found:
                if current not in path:
                    path[current] = self._read(current, snapshot)
                missing = [parent for parent in path[current].parents if parent not in self.found]
                if missing:
                    if missing[0] in path:
                        raise unusable(snapshot, "it builds on itself")
                    todo.append(missing[0])
                    continue
                self.found[current] = self._entry(path[current])
            todo.pop()
        return self.found[snapshot]

    def _read(self, current: str, asked: str) -> Manifest:
        folder = self.store.root / current
        if current != asked and not os.path.lexists(folder):
            raise unusable(asked, f"{current}, which it builds on, is gone")
        try:
            manifest = read_manifest(folder)
            _look(folder, manifest)
        except SnapshotUnusable as error:
            if current == asked:
                raise
            why = f"{current}, which it builds on, cannot be used either: {reason(error)}"
            raise unusable(asked, why, evidence=error.evidence) from error
        return manifest

    def _entry(self, manifest: Manifest) -> Entry:
        ancestors: dict[str, Entry] = {}
        for parent in (self.found[name] for name in manifest.parents):
            ancestors.update((one.id, one) for one in (*parent.ancestors, parent))
        return Entry(self.store.root / manifest.id, manifest, tuple(ancestors.values()), self.store)


def _look(folder: Path, manifest: Manifest) -> None:
    """Whether the files are what the manifest says and where it says, as far as their sizes tell."""
    if not _is_at(folder, manifest.place):
        raise unusable(manifest.id, f"it was moved or copied from {one_line(manifest.place)}, and its disks work only there")
    for name, record in manifest.files.items():
        try:
            status = (folder / name).lstat()
        except FileNotFoundError as error:
            raise unusable(manifest.id, f"its file {name} is gone") from error
        except OSError as error:
            raise unreadable(manifest.id, f"its file {name}", error) from error
        if not stat.S_ISREG(status.st_mode):
            raise unusable(manifest.id, f"its file {name} is no ordinary file")
        if status.st_size != record.size:
            raise unusable(manifest.id, f"its file {name} has {status.st_size} bytes, and {record.size} were written")
    if _is_lost(folder / UNSETTLED):
        raise unusable(manifest.id, "the host went down before it was safely on the disk")
    for base in manifest.bases:
        if problem := base.problem():
            raise unusable(manifest.id, f"{base.path}, which its disks build on, {problem}")


def _is_at(folder: Path, place: str) -> bool:
    """Whether ``place`` leads to ``folder``, by whatever links."""
    try:
        return folder.samefile(place)
    except OSError:
        return False


def boot_id() -> str:
    """Of this run of the host's kernel; empty where that cannot be told, as in some sandboxes."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _is_lost(mark: Path) -> bool:
    try:
        return read_bounded(mark).decode("ascii", "replace") != boot_id()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
