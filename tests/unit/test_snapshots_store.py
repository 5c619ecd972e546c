"""The store of frozen machines: an entry appears whole or not at all, stays while it is needed, and goes when it is not."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from frozen import names, other_process, put

from qa.config import Config
from qa.errors import NoSpace, SnapshotError, SnapshotNotFound, SnapshotUnusable
from qa.paths import Paths
from qa.snapshots.manifest import read_manifest
from qa.snapshots.store import Base, Store

MB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "snapshots", 1 << 40)


def test_what_was_stored_is_read_back(store: Store) -> None:
    written = put(store, key="k1", title="Debian 13")
    read = Store(store.root).get(written.id)
    assert read.manifest == written.manifest
    assert read.folder == store.root / written.id
    assert (read.manifest.kind, read.manifest.key, read.manifest.title) == ("template", "k1", "Debian 13")
    assert read.manifest.machine == {"cpus": 2, "boot": {"stages": [0.5, 1e-7, "login"]}}
    assert read.has("devices")
    assert not read.has("lock")
    read.check()


def test_a_draft_is_hidden_knows_its_place_and_is_private(store: Store) -> None:
    with store.draft("template") as draft:
        assert draft.folder.stat().st_mode & 0o777 == 0o700
        assert draft.final == store.root / draft.id
        assert store.entries() == []
        assert draft.commit().folder == draft.final
    assert names(store) == [draft.id]


def test_a_draft_that_is_not_committed_leaves_nothing(store: Store) -> None:
    with store.draft("template") as draft:
        (draft.folder / "memory").write_bytes(b"x")
    assert names(store) == []


@pytest.mark.parametrize("committed", [False, True])
def test_a_draft_whose_block_fails_leaves_nothing(store: Store, committed: bool) -> None:
    def fail() -> None:
        with store.draft("template") as draft:
            if committed:
                draft.commit()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(store) == []


def test_a_draft_is_committed_once(store: Store) -> None:
    with store.draft("template") as draft:
        draft.commit()
        with pytest.raises(SnapshotError, match="committed before"):
            draft.commit()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_only_ordinary_files_are_stored(store: Store, make: Callable[[Path], object]) -> None:
    with store.draft("template") as draft:
        make(draft.folder / "memory")
        with pytest.raises(SnapshotError, match="no ordinary file"):
            draft.commit()
    assert names(store) == []


@pytest.mark.parametrize("machine", [{"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"a": Path("/")}])
def test_a_record_that_cannot_be_read_back_is_not_written(store: Store, machine: dict[str, object]) -> None:
    with pytest.raises(SnapshotError, match="cannot be recorded"), store.draft("template") as draft:
        draft.commit(machine=machine)
    assert names(store) == []


def test_a_record_of_hostile_size_is_not_written(store: Store) -> None:
    with pytest.raises(SnapshotError, match=r"the record of .* more than 16 MiB"), store.draft("template") as draft:
        draft.commit(machine={"console": "x" * (17 * MB)})
    assert names(store) == []


def test_titles_cannot_move_the_cursor(store: Store) -> None:
    assert put(store, title="a\x1b[2Jb\nc").manifest.title == "a [2Jb c"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_nothing(store: Store, number: int) -> None:
    def write() -> None:
        with store.draft("template") as draft:
            (draft.folder / "memory").write_bytes(b"x")
            raise OSError(number, os.strerror(number))

    with pytest.raises(NoSpace, match="no space is left") as caught:
        write()
    assert "prune" in str(caught.value.hint)
    assert names(store) == []


def test_a_commit_on_a_full_disk_is_told_and_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with store.draft("template") as draft:
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(NoSpace):
            draft.commit()
    assert names(store) == []


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "snapshots")
    with pytest.raises(SnapshotError, match="cannot be used") as caught, store.draft("template"):
        pass
    assert "snapshots" in str(caught.value.hint)
    assert store.sweep() == []


def test_the_newest_of_a_kind_and_key_is_found(store: Store) -> None:
    put(store, key="k", used=1000)
    newest = put(store, key="k", used=2000)
    put(store, key="other")
    put(store, kind="checkpoint", key="k")
    found = store.find("template", "k")
    assert found is not None
    assert found.id == newest.id
    assert store.find("template", "nobody's") is None


def test_a_damaged_one_is_told_when_it_is_looked_for(store: Store) -> None:
    entry = put(store, key="k")
    (entry.folder / "manifest.json").write_bytes(b"")
    with pytest.raises(SnapshotUnusable, match="damaged") as caught:
        store.find("template", "k")
    assert caught.value.id == entry.id
    assert store.find("template", "other") is None
    sound = put(store, key="k")
    found = store.find("template", "k")
    assert found is not None
    assert found.id == sound.id


@pytest.mark.parametrize("name", ["", "..", "../etc", "0123", "0123456789abcdeg", "0123456789ABCDEF", "0123456789abcdef\n", "."])
def test_what_is_no_id_is_not_found(store: Store, name: str) -> None:
    put(store)
    for use in (store.get, store.remove, lambda name: store.draft("snapshot", parents=[name]).__enter__()):
        with pytest.raises(SnapshotNotFound, match="no frozen machine"):
            use(name)
    assert not store.discard(name)


def test_the_beginning_of_an_id_is_enough_when_only_one_begins_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["aaaa000000000000", "aaab000000000000"])
    monkeypatch.setattr("qa.snapshots.draft.secrets.token_hex", lambda _: next(ids))
    put(store)
    put(store)
    monkeypatch.undo()
    assert store.full_id("aaaa") == "aaaa000000000000"
    with pytest.raises(SnapshotNotFound, match="2 frozen machines begin with 'aaa'"):
        store.full_id("aaa")
    with pytest.raises(SnapshotNotFound) as caught:
        store.full_id("aaaa000000000001")
    assert caught.value.hint == "did you mean aaaa000000000000?"
    with pytest.raises(SnapshotNotFound):
        store.full_id("")


def test_reading_a_store_that_is_not_there_makes_none(store: Store) -> None:
    assert store.entries() == []
    assert store.find("template", "k") is None
    assert store.sweep() == []
    assert store.prune() == []
    assert not store.root.exists()


def test_what_has_children_stays(store: Store) -> None:
    parent = put(store)
    child = put(store, parents=[parent])
    grandchild = put(store, parents=[child])
    with pytest.raises(SnapshotError, match=f"{child.id} builds on it") as caught:
        store.remove(parent.id)
    assert all(one.id in str(caught.value.hint) for one in (parent, child, grandchild))
    assert not store.discard(parent)
    assert [one.id for one in store.remove(parent.id, grandchild.id, child.id)] == [grandchild.id, child.id, parent.id]
    assert names(store) == []


def test_what_is_held_stays_with_all_that_it_builds_on(store: Store) -> None:
    parent = put(store)
    child = put(store, parents=[parent])
    lease = child.hold()
    with pytest.raises(SnapshotError, match=f"a machine is using {child.id}$"):
        store.remove(child.id)
    assert store.prune(0) == []
    lease.close()
    lease.close()
    assert {one.id for one in store.prune(0)} == {parent.id, child.id}


def test_what_another_process_holds_stays_until_it_dies(store: Store) -> None:
    entry = put(store)
    what = f"thing = store.get({entry.id!r}); stack.enter_context(thing.hold())"
    with other_process(store, what) as (process, _):
        with pytest.raises(SnapshotError, match="is using"):
            store.remove(entry.id)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [one.id for one in store.remove(entry.id)] == [entry.id]


def test_removing_takes_all_or_none(store: Store) -> None:
    one, two = put(store), put(store)
    with one.hold(), pytest.raises(SnapshotError, match="is using"):
        store.remove(one.id, two.id)
    assert len(store.entries()) == 2


def test_parents_are_held_while_a_draft_is_written(store: Store) -> None:
    parent = put(store)
    with store.draft("snapshot", parents=[parent.id]) as draft:
        assert store.prune(0) == []
        draft.commit()
    assert store.get(draft.id).manifest.parents == (parent.id,)


def test_a_parent_that_is_gone_is_told_before_anything_is_written(store: Store) -> None:
    parent = put(store)
    store.remove(parent.id)
    with pytest.raises(SnapshotNotFound), store.draft("snapshot", parents=[parent.id]):
        pytest.fail("it began")
    assert names(store) == []


def test_what_was_removed_just_now_cannot_be_held(store: Store) -> None:
    entry = put(store)
    store.remove(entry.id)
    with pytest.raises(SnapshotNotFound, match="removed just now"):
        entry.hold()


def test_a_restore_point_goes_with_its_last_user(store: Store) -> None:
    base = put(store)
    with store.draft("snapshot", parents=[base.id], ephemeral=True) as draft:
        first = draft.commit()
        lease = first.hold()
    with store.draft("snapshot", parents=[first.id], ephemeral=True) as draft:
        second = draft.commit()
        fork = second.hold()
    assert store.sweep() == []
    assert store.prune(1 << 40) == []
    lease.close()
    assert len(store.entries()) == 3
    fork.close()
    assert names(store) == [base.id]


@pytest.mark.parametrize("clean", ["sweep", "prune"])
def test_restore_points_of_a_dead_process_go(store: Store, clean: str) -> None:
    what = 'draft = stack.enter_context(store.draft("snapshot", ephemeral=True)); thing = draft.commit()'
    with other_process(store, what) as (process, name):
        assert getattr(store, clean)() == []
        process.kill()
        process.wait()
    assert [one.id for one in getattr(store, clean)()] == [name]
    assert names(store) == []


def test_a_draft_of_a_living_process_is_not_touched_and_one_of_a_dead_is_swept(store: Store) -> None:
    what = 'thing = stack.enter_context(store.draft("template")); (thing.folder / "memory").write_bytes(b"x" * 50000)'
    with other_process(store, what) as (process, name):
        assert store.sweep() == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        (swept,) = store.sweep()
    assert (swept.id, swept.title, swept.folder) == (name, "unfinished", store.root / f".draft-{name}")
    assert swept.size >= 50_000
    assert names(store) == []


def test_what_a_dead_process_was_removing_goes(store: Store) -> None:
    put(store).folder.rename(store.root / ".trash-0123456789abcdef-12345678")
    assert [one.id for one in store.sweep()] == ["0123456789abcdef"]
    assert names(store) == []


def test_a_draft_whose_maker_died_before_its_lock_goes(store: Store) -> None:
    put(store)
    (store.root / ".draft-0123456789abcdef").mkdir()
    assert [one.id for one in store.sweep()] == ["0123456789abcdef"]


def test_what_is_not_ours_stays(store: Store) -> None:
    entry = put(store)
    (store.root / "notes").mkdir()
    (store.root / ".hidden").touch()
    store.sweep()
    store.prune(0, broken=True)
    assert not entry.folder.exists()
    assert names(store) == [".hidden", "notes"]


def test_links_are_not_followed_when_something_goes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").touch()
    entry = put(store)
    (entry.folder / "way").symlink_to(tmp_path / "precious")
    (store.root / "0123456789abcdef").symlink_to(tmp_path / "precious")
    (store.root / ".draft-0123456789abcdef").symlink_to(tmp_path / "precious")
    store.sweep()
    store.prune(0, broken=True)
    assert names(store) == []
    assert (tmp_path / "precious" / "data").exists()


def test_the_least_recently_used_go_first_until_the_limit_holds(store: Store) -> None:
    old, middle, new = (put(store, size=MB, used=used) for used in (1000, 2000, 3000))
    with store.get(old.id).hold():
        pass  # used now
    assert [one.id for one in store.prune(2 * MB + 100_000)] == [middle.id]
    assert [one.id for one in store.prune(MB + 100_000)] == [new.id]
    assert store.prune(2 * MB) == []


def test_a_parent_is_as_recently_used_as_its_children(store: Store) -> None:
    parent = put(store, size=MB, used=1000)
    child = put(store, size=MB, parents=[parent], used=1000)
    other = put(store, size=MB, used=2000)
    with store.get(child.id).hold():
        pass
    assert [one.id for one in store.prune(2 * MB + 100_000)] == [other.id]
    assert [one.id for one in store.prune(MB + 100_000)] == [child.id]


def test_a_use_in_the_future_protects_from_nothing(store: Store) -> None:
    future = put(store, size=MB, used=9e9)
    put(store, size=MB, used=1000)
    assert [one.id for one in store.prune(MB + 100_000)] == [future.id]


def test_what_cannot_be_used_makes_room_first(store: Store) -> None:
    sound, broken = put(store, size=MB, used=1000), put(store, size=MB, used=2000)
    (broken.folder / "devices").unlink()
    assert store.prune(4 * MB) == []
    assert [one.id for one in store.prune(MB + 100_000)] == [broken.id]
    assert [one.id for one in store.entries()] == [sound.id]


def test_what_cannot_be_used_goes_when_that_is_asked_for_with_what_builds_on_it(store: Store) -> None:
    sound, broken = put(store), put(store)
    child = put(store, parents=[broken])
    (broken.folder / "devices").unlink()
    assert [one.id for one in store.prune(4 * MB, broken=True)] == [child.id, broken.id]
    assert [one.id for one in store.entries()] == [sound.id]


def test_each_commit_makes_room_and_never_with_what_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path / "snapshots", 2 * MB + 100_000)
    put(store, size=MB)
    kept = put(store, size=MB)
    os.utime(kept.folder / "lock", (3000, 3000))
    newest = put(store, size=3 * MB, used=1000)
    assert [one.id for one in store.entries()] == [newest.id]


def test_without_a_setting_the_limit_follows_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store, size=4 * MB)
    unlimited = Store(store.root)
    usage = SimpleNamespace(free=5 * MB)
    monkeypatch.setattr("qa.snapshots.folder.shutil.disk_usage", lambda _: usage)
    assert unlimited.prune() == []
    usage.free = 3 * MB
    assert [one.id for one in unlimited.prune()] == [entry.id]


def test_sizes_are_those_on_the_disk_and_links_count_once(store: Store) -> None:
    with store.draft("template") as draft:
        with (draft.folder / "sparse").open("wb") as file:
            file.truncate(1 << 40)
        (draft.folder / "one").write_bytes(os.urandom(MB))
        (draft.folder / "two").hardlink_to(draft.folder / "one")
        entry = draft.commit()
    assert MB <= entry.size < MB + 100_000


def test_what_may_not_survive_a_crash_of_the_host_is_not_used_after_one(store: Store) -> None:
    with store.draft("template") as draft:
        entry = draft.commit()
        mark = entry.folder / "unsettled"
        assert store.get(entry.id)
        mark.write_text("another run of the kernel")
        with pytest.raises(SnapshotUnusable, match="the host went down"):
            store.get(entry.id)
    assert not mark.exists()
    assert store.get(entry.id)


def test_a_host_that_does_not_tell_its_runs_apart_keeps_what_it_froze(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qa.snapshots.reading.BOOT_ID", tmp_path / "gone")
    with store.draft("template") as draft:
        entry = draft.commit()
        assert (entry.folder / "unsettled").exists()
        assert store.get(entry.id)


def test_settings_say_where_and_how_much(home: Paths, tmp_path: Path) -> None:
    assert Store.of(home, Config()).root == home.cache / "snapshots"
    assert Store.of(home, Config()).limit is None
    config = Config.model_validate({"snapshots": str(tmp_path / "fast"), "snapshot_limit": "3G"})
    assert Store.of(home, config).root == tmp_path / "fast"
    assert Store.of(home, config).limit == 3 << 30


def test_the_store_may_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "snapshots").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "snapshots")
    entry = put(store)
    assert not (entry.folder / "unsettled").exists()
    assert store.get(entry.id)


async def test_one_builds_a_key_and_the_others_wait(store: Store) -> None:
    order: list[str] = []
    begun, done = asyncio.Event(), asyncio.Event()

    async def build() -> None:
        async with store.building("k"):
            begun.set()
            await done.wait()
            order.append("built")

    async def wait() -> None:
        await begun.wait()

        def tell() -> None:
            order.append("waiting")
            done.set()

        async with store.building("k", tell):
            order.append("found")

    async with store.building("other", lambda: order.append("disturbed")):
        await asyncio.gather(build(), wait())
    assert order == ["waiting", "built", "found"]
    assert names(store) == []


async def test_a_build_of_a_dead_process_holds_nobody_up(store: Store) -> None:
    what = 'import asyncio; thing = store.building("k"); asyncio.new_event_loop().run_until_complete(thing.__aenter__())'
    with other_process(store, what) as (process, _):
        process.kill()
        process.wait()
    waited: list[bool] = []
    (left,) = names(store)
    assert left.startswith(".building-")
    async with store.building("k", lambda: waited.append(True)):
        store.sweep()
        assert names(store) == [left]
    assert not waited


def test_a_build_that_died_leaves_nothing_after_a_sweep(store: Store) -> None:
    put(store)
    (store.root / ".building-0123").touch()
    store.sweep()
    assert ".building-0123" not in names(store)


def test_a_base_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="which a disk builds on"):
        Base.of(tmp_path / "gone.qcow2")


def test_what_is_built_on_by_something_in_use_stays_even_if_that_lost_its_manifest(store: Store) -> None:
    parent = put(store)
    child = put(store, parents=[parent])
    with child.hold():
        (child.folder / "manifest.json").unlink()
        with pytest.raises(SnapshotError, match=f"is using {parent.id}$"):
            store.remove(parent.id)
        assert store.prune(0, broken=True) == []


def test_a_use_counts_for_all_that_it_builds_on(store: Store) -> None:
    parent = put(store, size=MB, used=1000)
    child = put(store, parents=[parent])
    other = put(store, size=MB, used=2000)
    with child.hold():
        pass
    store.remove(child.id)
    assert [one.id for one in store.prune(MB + 100_000)] == [other.id]


def test_nothing_changes_while_another_process_changes_something(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    with store.draft("template") as draft:
        monkeypatch.setattr("qa.snapshots.locks.PATIENCE_S", 0)
        uses: list[Callable[[], object]] = [
            draft.commit, store.prune, lambda: store.remove(entry.id), lambda: store.draft("template").__enter__()
        ]  # fmt: skip
        with store.changing():
            for use in uses:
                with pytest.raises(SnapshotError, match=r"another process has kept .* locked"):
                    use()
            assert store.sweep() == []
            assert not store.discard(entry)
            assert store.find("template", "") is not None
    assert names(store) == [entry.id]


def meddle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something between the opening of the next lock and its locking."""
    lock = fcntl.flock

    def act_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr("qa.snapshots.locks.fcntl.flock", lock)
        act()
        lock(descriptor, operation)

    monkeypatch.setattr("qa.snapshots.locks.fcntl.flock", act_first)


def test_what_goes_while_it_is_being_locked_is_not_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    meddle(monkeypatch, lambda: store.remove(entry.id))
    with pytest.raises(SnapshotNotFound, match="removed just now"):
        entry.hold()


async def test_the_lock_of_a_build_that_ended_is_not_taken_for_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = asyncio.Event()
    async with store.building("k"):
        (lock,) = names(store)
        meddle(monkeypatch, (store.root / lock).unlink)
        async with store.building("k"), asyncio.timeout(60):
            waiting = asyncio.create_task(store.building("k", waits.set).__aenter__())
            await waits.wait()
            waiting.cancel()
    assert names(store) == []


def test_what_is_read_while_it_goes_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)

    def remove_first(folder: Path) -> object:
        monkeypatch.undo()
        store.remove(entry.id)
        return read_manifest(folder)

    monkeypatch.setattr("qa.snapshots.reading.read_manifest", remove_first)
    with pytest.raises(SnapshotNotFound):
        store.get(entry.id)
    entry = put(store)
    monkeypatch.setattr("qa.snapshots.reading.read_manifest", remove_first)
    assert store.entries() == []
