"""The store of frozen machines: one immutable folder for each. It can be used by any number of processes at once."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from qa.config import Config
from qa.errors import NoSpace, SnapshotError, SnapshotNotFound, SnapshotUnusable
from qa.paths import Paths
from qa.snapshots import cleanup, locks
from qa.snapshots.cleanup import Gone, Item
from qa.snapshots.draft import Draft, claim, drafting
from qa.snapshots.entry import LOCK, Broken, Entry, Lease
from qa.snapshots.folder import StoreFolder
from qa.snapshots.manifest import ID, Base, Kind, one_line, read_bounded
from qa.snapshots.reading import Reader

__all__ = ["Base", "Broken", "Draft", "Entry", "Gone", "Kind", "Lease", "Store"]


class Store(StoreFolder):
    """The frozen machines in the folder ``root``, which is made when the first is stored.

    Args:
        limit: bytes on the disk; more are brought down to that after each commit. None: 20 GiB, or half of what is free
            there and taken by the store, if that is less.
    """

    def __init__(self, root: Path, limit: int | None = None) -> None:
        super().__init__(root, limit)
        self.verified: set[tuple[int, ...]] = set()
        """Files whose content this process has checked, as they were then."""

    @classmethod
    def of(cls, paths: Paths, config: Config) -> Store:
        """The user's."""
        root = config.snapshots.absolute() if config.snapshots else paths.snapshots
        return cls(root, config.snapshot_limit)

    def get(self, snapshot: str) -> Entry:
        """The entry of that id.

        Raises:
            SnapshotNotFound: there is none.
            SnapshotUnusable: there is one that cannot be used.
        """
        if not ID.fullmatch(snapshot) or not self.is_there() or not os.path.lexists(self.root / snapshot):
            raise self._not_found(snapshot)
        try:
            return Reader(self).open(snapshot)
        except SnapshotUnusable:
            if os.path.lexists(self.root / snapshot):
                raise
            raise self._not_found(snapshot) from None

    def find(self, kind: Kind, key: str) -> Entry | None:
        """The newest sound entry of that kind and key.

        Raises:
            SnapshotUnusable: there are only such that cannot be used.
        """
        found: list[Entry] = []
        unusable: SnapshotUnusable | None = None
        for one in self.entries():
            if isinstance(one, Entry):
                if (one.manifest.kind, one.manifest.key) == (kind, key):
                    found.append(one)
            elif _claim_of(one.folder) == claim(kind, key):
                unusable = one.error
        if not found and unusable is not None:
            raise unusable
        return max(found, key=lambda one: (one.manifest.created, one.last_use), default=None)

    def known(self, kind: Kind, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` for which there is something to find, be it usable or not. One look for all of them."""
        entries = self.entries()
        sound = {one.manifest.key for one in entries if isinstance(one, Entry) and one.manifest.kind == kind}
        claims = {_claim_of(one.folder) for one in entries if isinstance(one, Broken)}
        return {key for key in keys if key in sound or claim(kind, key) in claims}

    def entries(self) -> list[Entry | Broken]:
        """All of them, the oldest first, those that cannot be used at the end."""
        if not self.is_there():
            return []
        reader = Reader(self)
        sound: list[Entry] = []
        broken: list[Broken] = []
        for folder in cleanup.folders(self.root):
            try:
                sound.append(reader.open(folder.name))
            except SnapshotUnusable as error:
                if os.path.lexists(folder):  # else it was removed meanwhile
                    broken.append(Broken(folder.name, folder, error))
        return [*sorted(sound, key=lambda one: (one.manifest.created, len(one.ancestors), one.id)), *broken]

    def survey(self) -> dict[str, Item]:
        """All entries by id, as they claim to be, sound or not.

        Raises:
            SnapshotError: one cannot be read now.
        """
        with self.writing():
            return cleanup.survey(self.root) if self.is_there() else {}

    def in_use(self, items: dict[str, Item]) -> set[str]:
        """Those of ``items`` that somebody holds now; none in a store that we cannot write to, where that cannot be told."""
        with contextlib.suppress(SnapshotError, NoSpace), self.writing(), self.changing():
            return cleanup.held(items, items)
        return set()

    def full_id(self, text: str) -> str:
        """The id that begins with ``text``.

        Raises:
            SnapshotNotFound: there is none, or more than one.
        """
        there = [folder.name for folder in cleanup.folders(self.root)] if self.is_there() else []
        fitting = [one for one in there if text and one.startswith(text)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise SnapshotNotFound(f"{len(fitting)} frozen machines begin with {text!r}", hint="they are: " + ", ".join(fitting))
        raise self._not_found(text)

    @contextlib.contextmanager
    def draft(
        self, kind: Kind, *, key: str = "", title: str = "", parents: Iterable[str] = (), ephemeral: bool = False
    ) -> Iterator[Draft]:
        """Make an entry: write its files into the draft's folder and commit it. Without a commit, or when the block fails,
        nothing is left. The parents are held meanwhile.

        Leaving the block brings what was committed safely onto the disk, unless it is ephemeral, and makes room: that can take
        seconds. Hold the entry before, where it is needed on: afterwards it may be the next that makes room.

        Raises:
            SnapshotNotFound, SnapshotUnusable: of a parent.
            NoSpace: the file system is full.
            SnapshotError: the store cannot be written to.
        """
        parents = tuple(dict.fromkeys(parents))
        fields = {"kind": kind, "key": key, "title": one_line(title), "parents": parents, "ephemeral": ephemeral}
        with contextlib.ExitStack() as held:
            for parent in parents:
                held.enter_context(self.get(parent).hold())
            yield held.enter_context(drafting(self, fields))

    def remove(self, *snapshots: str) -> list[Gone]:
        """Remove these entries, all or none.

        Raises:
            SnapshotNotFound: one is not there.
            SnapshotError: one is in use, or another one builds on it.
        """
        for one in snapshots:
            if not ID.fullmatch(one) or not self.is_there() or not os.path.lexists(self.root / one):
                raise self._not_found(one)
        with self.writing(), self.changing():
            items = cleanup.survey(self.root)
            wanted = {one for one in snapshots if one in items}
            self._refuse_parents(items, wanted)
            gone = cleanup.take_out(self.root, items, wanted, all_or_none=True)
            if wanted and not gone:
                users = cleanup.held(items, wanted) or wanted
                raise SnapshotError(f"a machine is using {' and '.join(sorted(users))}", hint="stop it first")
        cleanup.empty_trash(self.root)
        return [_gone(item) for item in gone]

    def discard(self, entry: Entry | str) -> bool:
        """Remove an entry if nobody holds it and nothing builds on it; tells whether it went. It never raises."""
        name = entry if isinstance(entry, str) else entry.id
        try:
            return bool(self.remove(name))
        except (SnapshotError, SnapshotNotFound, NoSpace):
            return False

    def let_go(self, snapshots: Iterable[str]) -> None:
        """Remove those that nobody needs any more. It never raises."""
        wanted = set(snapshots)
        if wanted:
            with contextlib.suppress(SnapshotError, NoSpace), self.writing():
                with self.changing():
                    items = cleanup.survey(self.root)
                    cleanup.take_out(self.root, items, wanted & items.keys())
                cleanup.empty_trash(self.root)

    def prune(self, limit: int | None = None, *, broken: bool = False) -> list[Gone]:
        """Remove restore points that no run needs any more; then, where more than ``limit`` bytes are left (by default the
        store's own limit), what cannot be used, and then what was not used for the longest time. What is in use, or has others
        building on it, stays.

        Args:
            broken: remove what cannot be used in any case.

        Raises:
            SnapshotError: the store cannot be written to.
        """
        if not self.is_there():
            return []
        unusable = {one.id for one in self.entries() if isinstance(one, Broken)}
        with self.writing(), self.changing():
            items = cleanup.survey(self.root)
            gone = cleanup.take_out(self.root, items, [item.id for item in items.values() if item.ephemeral])
            total = sum(item.size for item in items.values())
            most = self.allowance(total) if limit is None else limit
            if broken or total > most:
                gone += cleanup.take_out(self.root, items, unusable & items.keys())
            gone += cleanup.take_out_least_used(self.root, items, most, time.time())
        cleanup.empty_trash(self.root)
        return [_gone(item) for item in gone]

    def sweep(self) -> list[Gone]:
        """Remove what dead processes left: drafts, restore points, what they were removing. A store that cannot be written to
        is left as it is.
        """
        try:
            if not self.is_there():
                return []
            with self.writing(), self.changing():
                left = cleanup.take_out_leftovers(self.root)
                items = cleanup.survey(self.root)
                gone = cleanup.take_out(self.root, items, [item.id for item in items.values() if item.ephemeral])
        except (SnapshotError, NoSpace):
            return []
        cleanup.empty_trash(self.root)
        return [*left, *(_gone(item) for item in gone)]

    @contextlib.asynccontextmanager
    async def building(self, key: str, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
        """Be the only process that builds ``key``; ``on_wait`` is called once if another one does so now. Who has waited looks
        whether it is there now.

        Raises:
            SnapshotError: the store cannot be written to.
        """
        async with contextlib.AsyncExitStack() as stack:
            with self.writing():
                self.make()
                await stack.enter_async_context(locks.building(self.root, key, on_wait))
            yield

    def _not_found(self, text: str) -> SnapshotNotFound:
        there = [folder.name for folder in cleanup.folders(self.root)] if self.is_there() else []
        near = get_close_matches(text, there, n=1)
        hint = f"did you mean {near[0]}?" if near else "anima-qa template list --all shows what there is"
        return SnapshotNotFound(f"there is no frozen machine {text!r}", hint=hint)

    def _refuse_parents(self, items: dict[str, Item], wanted: set[str]) -> None:
        for one in sorted(wanted):
            if others := set(cleanup.children(items.values(), one)) - wanted:
                family = [*sorted(wanted), *sorted(_descendants(items, wanted))]
                raise SnapshotError(
                    f"{one} cannot be removed: {' and '.join(sorted(others))} build{'s' * (len(others) == 1)} on it",
                    hint=f"remove all of them: anima-qa template remove {' '.join(family)}",
                )


def _descendants(items: dict[str, Item], wanted: set[str]) -> set[str]:
    family = set(wanted)
    while more := {item.id for item in items.values() if item.parents & family} - family:
        family |= more
    return family - wanted


def _claim_of(folder: Path) -> bytes:
    try:
        return read_bounded(folder / LOCK)
    except (OSError, ValueError):
        return b""


def _gone(item: Item) -> Gone:
    return Gone(item.id, item.kind, item.title, item.folder, item.size)
