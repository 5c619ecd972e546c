"""What may leave the store, and how it goes: out of sight by one rename, while nobody can come or go; then piece by piece."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa.snapshots import locks
from qa.snapshots.entry import LOCK, disk_size, last_use
from qa.snapshots.manifest import FILE_NAME, ID, one_line, read_bounded

DRAFT = ".draft-"
TRASH = ".trash-"


@dataclass(frozen=True)
class Gone:
    """What was removed: an entry, or what a dead process left. ``folder`` is where it was, ``size`` its bytes on the disk."""

    id: str
    kind: str
    title: str
    folder: Path
    size: int


@dataclass(frozen=True)
class Item:
    """An entry as its manifest claims to be. That is enough to keep what somebody may need, and never enough to use it."""

    id: str
    folder: Path
    kind: str
    title: str
    ephemeral: bool
    parents: frozenset[str]
    bases: frozenset[str]
    size: int
    last_use: float


def survey(root: Path) -> dict[str, Item]:
    """All entries, sound or not.

    Raises:
        OSError: one cannot be read now, so that nobody knows what it builds on.
    """
    return {folder.name: _item(folder) for folder in folders(root)}


def folders(root: Path) -> list[Path]:
    """Whatever has the name of an entry."""
    try:
        return sorted(folder for folder in root.iterdir() if ID.fullmatch(folder.name))
    except FileNotFoundError:
        return []


def _item(folder: Path) -> Item:
    claims = _claims(folder)
    parents, bases = claims.get("parents"), claims.get("bases")
    return Item(
        id=folder.name,
        folder=folder,
        kind=one_line(str(claims.get("kind", ""))),
        title=one_line(str(claims.get("title", ""))),
        ephemeral=claims.get("ephemeral") is True,
        parents=_texts(parents),
        bases=_texts([one.get("path") for one in bases if isinstance(one, dict)] if isinstance(bases, list) else None),
        size=disk_size(folder),
        last_use=last_use(folder),
    )


def _texts(claimed: object) -> frozenset[str]:
    return frozenset(one for one in claimed if isinstance(one, str)) if isinstance(claimed, list) else frozenset()


def _claims(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_bounded(folder / FILE_NAME))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    except OSError:
        if (folder / FILE_NAME).is_symlink() or folder.is_symlink():
            return {}
        raise
    return data if isinstance(data, dict) else {}


def children(items: Iterable[Item], parent: str) -> list[str]:
    """The entries that build directly on ``parent``."""
    return [item.id for item in items if parent in item.parents]


def take_out(root: Path, items: dict[str, Item], wanted: Iterable[str], *, all_or_none: bool = False) -> list[Item]:
    """Move those of ``wanted`` that nobody holds and nothing else builds on out of sight, and out of ``items``.

    The store must be locked by `locks.changing`.

    Args:
        all_or_none: leave all of them where one must stay.
    """
    wanted = set(wanted)
    locked: dict[str, int | None] = {}
    try:
        free = {one for one in wanted if _lock(items[one].folder / LOCK, one, locked)}
        while needed := {one for one in free if set(children(items.values(), one)) - free}:
            free -= needed
        if all_or_none and free != wanted:
            return []
        return [_hide(root, items, one) for one in _leaves_first(items, free)]
    finally:
        _unlock(locked)


def _lock(path: Path, name: str, locked: dict[str, int | None]) -> bool:
    try:
        descriptor = locks.alone(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) or path.is_symlink() or path.parent.is_symlink():
            return True  # nobody can hold what has no lock
        raise
    locked[name] = descriptor
    return descriptor is not None


def _unlock(locked: dict[str, int | None]) -> None:
    for descriptor in locked.values():
        if descriptor is not None:
            os.close(descriptor)


def held(items: dict[str, Item], wanted: Iterable[str]) -> set[str]:
    """Those that somebody holds now."""
    locked: dict[str, int | None] = {}
    try:
        return {one for one in wanted if not _lock(items[one].folder / LOCK, one, locked)}
    finally:
        _unlock(locked)


def _leaves_first(items: dict[str, Item], chosen: set[str]) -> list[str]:
    """So that a death in between leaves nothing whose parents are gone. Damaged entries may build on each other in a circle."""
    ordered: list[str] = []
    left = set(chosen)
    while left:
        leaves = sorted(one for one in left if not any(one in items[other].parents for other in left - {one}))
        ordered += leaves or sorted(left)
        left -= set(leaves or left)
    return ordered


def _hide(root: Path, items: dict[str, Item], name: str) -> Item:
    item = items[name]
    item.folder.rename(root / f"{TRASH}{name}-{secrets.token_hex(4)}")
    return items.pop(name)


def take_out_least_used(root: Path, items: dict[str, Item], limit: int, now: float) -> list[Item]:
    """Move the least recently used ones out of sight until the others take at most ``limit`` bytes, or all are needed.

    The store must be locked by `locks.changing`.
    """

    def age(item: Item) -> tuple[bool, float]:
        # The clock was set back since a use "in the future", so that tells nothing: such entries go first.
        return item.last_use <= now + 60, item.last_use

    gone: list[Item] = []
    needed: set[str] = set()
    while sum(item.size for item in items.values()) > limit:
        leaves = [item for item in items.values() if item.id not in needed and not children(items.values(), item.id)]
        if not leaves:
            break
        oldest = min(leaves, key=age)
        gone += take_out(root, items, [oldest.id])
        needed.add(oldest.id)
    return gone


def take_out_leftovers(root: Path) -> list[Gone]:
    """Move the drafts of dead processes out of sight; tell also what was on its way out when a process died.

    The store must be locked by `locks.changing`.
    """
    found = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(DRAFT) and _is_dead(path):
            size = disk_size(path)
            path.rename(root / f"{TRASH}{path.name.removeprefix(DRAFT)}-{secrets.token_hex(4)}")
            found.append(Gone(path.name.removeprefix(DRAFT), "", "unfinished", path, size))
        elif path.name.startswith(TRASH):
            found.append(Gone(path.name.removeprefix(TRASH)[:16], "", "half removed", path, disk_size(path)))
        elif path.name.startswith(locks.BUILDING):
            _remove_if_free(path)
    return found


def _is_dead(draft: Path) -> bool:
    locked: dict[str, int | None] = {}
    try:
        return _lock(draft / LOCK, draft.name, locked)
    finally:
        _unlock(locked)


def _remove_if_free(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = locks.alone(path)
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def empty_trash(root: Path) -> None:
    """Delete what is out of sight. Takes its time, needs no lock, and may be done by several at once."""
    with contextlib.suppress(OSError):
        for path in list(root.iterdir()):
            if path.name.startswith(TRASH):
                if path.is_symlink() or not path.is_dir():
                    path.unlink(missing_ok=True)
                else:
                    shutil.rmtree(path, ignore_errors=True)
