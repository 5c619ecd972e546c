"""Freeing the cache of what nobody will ask for again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from qa.errors import ImageError, ImageNotFound
from qa.images.recipes import recipes
from qa.images.store import Entry, Store

KEEP_PARTS_S = 24 * 3600.0
"""Seconds for which what has arrived of a broken-off download is kept, so that the next try can go on there."""


@dataclass(frozen=True)
class Pruned:
    """What was removed: names of entries (and of leftovers, in words), and the bytes that came free."""

    removed: tuple[str, ...]
    freed: int


def remove(store: Store, names: tuple[str, ...]) -> Pruned:
    """Remove the entries of these names, sound or not; a recipe's name removes all that was built from it.

    Raises:
        ImageNotFound: one of them is not there; nothing is removed then.
    """
    folders = {}
    for name in names:
        found = [folder for folder in store.folders() if name in {folder.name, _name_of(store, folder.name)}]
        if not found:
            raise ImageNotFound(f"the image cache has no {name!r}", hint="anima-qa image list shows what it has")
        folders.update({folder.name: folder for folder in found})
    freed = sum(store.remove(folder) for folder in folders.values())
    return Pruned(tuple(folders), freed)


def prune(store: Store, *, everything: bool = False) -> Pruned:
    """Remove what interrupted work left, broken entries, and images of recipes that have changed since.

    Args:
        everything: remove sound images too.
    """
    removed, freed = [], 0
    for folder in store.folders():
        try:
            stale = _is_stale(store.open(folder))
        except ImageError:
            stale = True
        if stale or everything:
            removed.append(folder.name)
            freed += store.remove(folder)
    parts = store.root / ".partial"
    for part in list(parts.iterdir()) if parts.is_dir() else []:
        status = part.stat()
        if everything or time.time() - status.st_mtime > KEEP_PARTS_S:
            removed.append(f"the broken-off download {part.name}")
            freed += status.st_blocks * 512
            part.unlink()
    if left := store.sweep():
        removed.append("leftovers of interrupted work")
        freed += left
    return Pruned(tuple(removed), freed)


def _is_stale(entry: Entry) -> bool:
    """Whether it was built from a recipe that is no more, or has changed."""
    data = entry.metadata
    if data.origin != "built":
        return False
    name, _, suite = data.source.partition(" ")
    recipe = recipes().get(name)
    return recipe is None or recipe.key(suite or None) != data.key


def _name_of(store: Store, folder: str) -> str:
    try:
        return store.open(store.root / folder).metadata.name
    except ImageError:
        return ""
