"""What the store has, as people and programs are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from qa.snapshots.cleanup import Item
from qa.snapshots.entry import Broken, Entry
from qa.snapshots.manifest import reason
from qa.snapshots.store import Store


@dataclass(frozen=True)
class Row:
    """One entry. Of one that cannot be used, ``problem`` says why, and the rest is what it claims to be.

    Attributes:
        created, last_used: times in UTC, as ISO 8601; empty where they cannot be told.
        size: bytes on the disk that are its own.
        parents: the entries that it builds on directly.
        in_use: a machine runs from it, or from what builds on it.
    """

    id: str
    kind: str
    title: str
    key: str
    created: str
    last_used: str
    size: int
    ephemeral: bool
    parents: tuple[str, ...]
    in_use: bool
    problem: str | None
    folder: str

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def overview(store: Store) -> list[Row]:
    """All entries, the oldest first, those that cannot be used at the end.

    Raises:
        SnapshotError: the store cannot be read.
    """
    entries = store.entries()
    items = store.survey()
    in_use = store.in_use(items)
    return [_row(one, items[one.id], one.id in in_use) for one in entries if one.id in items]


def _row(entry: Entry | Broken, item: Item, in_use: bool) -> Row:
    sound = entry.manifest if isinstance(entry, Entry) else None
    return Row(
        id=item.id,
        kind=item.kind,
        title=item.title,
        key=sound.key if sound else "",
        created=sound.created if sound else "",
        last_used=_time(item.last_use),
        size=item.size,
        ephemeral=item.ephemeral,
        parents=sound.parents if sound else tuple(sorted(item.parents)),
        in_use=in_use,
        problem=None if isinstance(entry, Entry) else reason(entry.error),
        folder=str(item.folder),
    )


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
    except (ValueError, OverflowError, OSError):
        return ""


def family(rows: Iterable[Row], snapshot: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What each entry builds on, and what builds on each; only those that have to do with ``snapshot``."""
    rows = list(rows)
    there = {row.id for row in rows}
    above = {row.id: [parent for parent in row.parents if parent in there] for row in rows}
    below: dict[str, list[str]] = {row.id: [] for row in rows}
    for row in rows:
        for parent in above[row.id]:
            below[parent].append(row.id)
    return _reachable(above, snapshot), _reachable(below, snapshot)


def _reachable(links: dict[str, list[str]], start: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    todo = [start]
    while todo:
        if (current := todo.pop()) not in found:
            found[current] = links[current]
            todo += links[current]
    return found
