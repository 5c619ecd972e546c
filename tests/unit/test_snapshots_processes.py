"""Many processes use one store at the same time, and die at any point: it stays sound, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from frozen import forked, killed_at_line, names, put

from qa.errors import SnapshotError, SnapshotNotFound, SnapshotUnusable
from qa.snapshots.store import Entry, Store

WORKERS = 4
ACTIONS = 600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "snapshots", 60_000)


def assert_sound(store: Store) -> list[Entry]:
    """Sweep; then there is nothing but sound entries."""
    store.sweep()
    entries = [one for one in store.entries() if isinstance(one, Entry)]
    assert names(store) == sorted(one.id for one in entries)
    for one in entries:
        one.check()
    return entries


def draft(store: Store, parent: Entry) -> None:
    put(store, key="new", parents=[parent])


def restore_point(store: Store, parent: Entry) -> None:
    with store.draft("snapshot", parents=[parent.id], ephemeral=True) as draft:
        (draft.folder / "memory").write_bytes(b"x")
        lease = draft.commit().hold()
    lease.close()


def remove(store: Store, parent: Entry) -> None:
    store.remove(*(one.id for one in store.entries() if one.id != parent.id))


def prune(store: Store, parent: Entry) -> None:
    store.prune(0)


@pytest.mark.parametrize("work", [draft, restore_point, remove, prune])
def test_killed_at_any_line_it_leaves_nothing_half(store: Store, work: Callable[[Store, Entry], None]) -> None:
    outcomes = set()
    line = 0
    while True:
        store.prune(0)
        parent = put(store)
        put(store, parents=[parent])
        alive = not killed_at_line(line, lambda parent=parent: work(store, parent))  # type: ignore[misc]
        left = assert_sound(store)
        outcomes.add(len(left))
        if work is not prune:
            assert parent.id in {one.id for one in left}
        if alive:
            break
        line += 1 + line // 15
    assert line > 60
    assert outcomes == {draft: {2, 3}, restore_point: {2}, remove: {1, 2}, prune: {0, 1, 2}}[work]


def test_many_processes_that_are_killed_at_random_break_nothing(store: Store, tmp_path: Path) -> None:
    dice = random.Random(1)  # the order of processes is chance all the same
    reader, writer = os.pipe()
    complaints = tmp_path / "complaints"

    def worker(seed: int) -> None:
        os.close(reader)
        try:
            use_at_random(Store(store.root, store.limit), random.Random(seed), lambda: os.write(writer, b"."))
        except BaseException:
            complaints.write_text(traceback.format_exc())
            os.write(writer, b"!")
            raise

    processes = [forked(lambda seed=seed: worker(seed)) for seed in range(WORKERS)]  # type: ignore[misc]
    try:
        actions = killed = 0
        while actions < ACTIONS and not complaints.exists():
            done = os.read(reader, dice.randint(1, 20))
            actions += len(done)
            if dice.random() < 0.1:
                victim = dice.randrange(WORKERS)
                os.kill(processes[victim], signal.SIGKILL)
                os.waitpid(processes[victim], 0)
                killed += 1
                processes[victim] = forked(lambda seed=1000 + killed: worker(seed))  # type: ignore[misc]
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        os.close(reader)
        os.close(writer)
    assert not complaints.exists(), complaints.read_text()
    assert killed > 5
    assert_sound(store)
    store.prune(0)
    assert names(store) == []


def use_at_random(store: Store, dice: random.Random, tell: Callable[[], object]) -> None:
    """Until killed. Nothing that is sound is ever seen as damaged, and what is held is there."""
    while True:
        there = store.entries()
        assert all(isinstance(one, Entry) for one in there), there
        chosen = dice.choice(there) if there else None
        action = dice.choice(["draft", "draft", "draft", "use", "use", "prune", "remove", "sweep"])
        try:
            if action == "draft":
                kind = dice.choice(["template", "snapshot"])
                parents = [chosen.id] if chosen and dice.random() < 0.7 else []
                with store.draft(kind, key="k", parents=parents, ephemeral=kind == "snapshot") as draft:
                    (draft.folder / "memory").write_bytes(os.urandom(5000))
                    entry = draft.commit()
                    lease = entry.hold()
                with lease:
                    assert_usable(store, entry)
            elif action == "use" and chosen:
                entry = store.get(chosen.id)
                with entry.hold():
                    assert_usable(store, entry)
            elif action == "prune":
                store.prune()
            elif action == "remove" and chosen:
                store.remove(chosen.id)
            elif action == "sweep":
                store.sweep()
        except SnapshotUnusable:
            raise
        except SnapshotNotFound:
            pass
        except SnapshotError as error:
            if "is using" not in error.message and "on it" not in error.message:
                raise
        tell()


def assert_usable(store: Store, entry: Entry) -> None:
    for one in (*entry.ancestors, entry):
        Store(store.root).get(one.id).check()
        os.sched_yield()
