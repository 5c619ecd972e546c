"""What lies in the store is not believed: files get cut short, edited, replaced and planted."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from frozen import change, put

from qa.errors import SnapshotError, SnapshotUnusable
from qa.snapshots.manifest import Manifest
from qa.snapshots.store import Base, Broken, Entry, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "snapshots", 1 << 40)


@pytest.fixture
def entry(store: Store) -> Entry:
    return put(store, key="k", title="Debian 13")


def reason(store: Store, entry: Entry) -> str:
    """Why the entry cannot be used. It says so in one line, whichever way one comes to it, and it can be removed."""
    with pytest.raises(SnapshotUnusable) as caught:
        store.get(entry.id)
    said = caught.value.message
    assert said.startswith(f"the frozen machine {entry.id} cannot be used: ")
    assert "\n" not in said
    assert caught.value.hint == f"remove it: anima-qa template remove {entry.id}"
    (broken,) = [one for one in store.entries() if isinstance(one, Broken)]
    assert broken.error.message == said
    assert [one.id for one in store.remove(entry.id)] == [entry.id]
    assert store.entries() == []
    return said


def rewrite(entry: Entry, **changes: object) -> None:
    """A manifest with changes, and with a digest that fits them."""
    manifest = entry.manifest.model_copy(update=changes)
    data = manifest.sealed().render() if isinstance(changes.get("files", {}), dict) else b""
    (entry.folder / "manifest.json").write_bytes(data)


def test_any_changed_byte_of_a_manifest_shows(store: Store, entry: Entry) -> None:
    file = entry.folder / "manifest.json"
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SnapshotUnusable):
            store.get(entry.id)
    file.write_bytes(content)
    assert store.get(entry.id).manifest == entry.manifest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"cpus": 2', b'"cpus": 3'),
        (b'"cpus": 2', b'"cpus":  2'),
        (b"1e-07", b"1E-07"),
        (b'"key"', b'"key": "k", "key"'),
        (b'"schema": 1', b'"schema": true'),
    ],
)
def test_changes_that_are_sound_json_show_too(store: Store, entry: Entry, old: bytes, new: bytes) -> None:
    change(entry.folder / "manifest.json", old, new)
    assert "changed after it was written" in reason(store, entry)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"\x00" * 500, b"[" * 100_000, b'{"a":' * 100_000, b'{"schema": 2}', b"9" * 100_000],
)
def test_a_manifest_that_is_none_is_told(store: Store, entry: Entry, content: bytes) -> None:
    (entry.folder / "manifest.json").write_bytes(content)
    assert "its manifest is damaged" in reason(store, entry)


def test_a_manifest_that_was_cut_short_is_told_wherever(store: Store, entry: Entry) -> None:
    file = entry.folder / "manifest.json"
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(SnapshotUnusable):
            store.get(entry.id)


def test_a_manifest_of_hostile_size_is_not_read(store: Store, entry: Entry) -> None:
    with (entry.folder / "manifest.json").open("r+b") as file:
        file.truncate(1 << 30)
    assert "more than 16 MiB" in reason(store, entry)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../0123456789abc"},
        {"kind": "picture"},
        {"created": "yesterday"},
        {"created": 1.5},
        {"ephemeral": 0},
        {"parents": ["../../etc"]},
        {"parents": "0123456789abcdef"},
        {"files": {"../secret": {"size": 1, "sha256": None}}},
        {"files": {"/etc/passwd": {"size": 1, "sha256": None}}},
        {"files": {".hidden": {"size": 1, "sha256": None}}},
        {"files": {"memory": {"size": "1000", "sha256": None}}},
        {"files": {"memory": {"size": -1, "sha256": None}}},
        {"files": {"memory": {"size": 1e3, "sha256": None}}},
        {"files": {"memory": {"size": 1000, "sha256": "short"}}},
        {"files": {"memory": {"size": 1000, "sha256": None, "more": 1}}},
        {"files": []},
        {"bases": [{"path": "image.qcow2", "size": 1, "mtime_ns": 1}]},
        {"machine": []},
        {"title": "two\nlines"},
        {"title": None},
        {"more": 1},
    ],
)
def test_wrong_types_and_names_are_told(store: Store, entry: Entry, changes: dict[str, object]) -> None:
    record = entry.manifest.model_dump(mode="json", by_alias=True) | changes
    (entry.folder / "manifest.json").write_text(json.dumps(record, sort_keys=True, indent=1) + "\n")
    assert "its manifest is damaged" in reason(store, entry)


def test_the_manifest_of_another_entry_is_told(store: Store, entry: Entry) -> None:
    other = put(store)
    (entry.folder / "manifest.json").write_bytes((other.folder / "manifest.json").read_bytes())
    store.remove(other.id)
    assert f"belongs to {other.id}" in reason(store, entry)


def test_a_digest_that_fits_makes_no_lie_true(store: Store, entry: Entry) -> None:
    """The digest shows accidents; who can write to the folder can also compute it. So all the rest is checked as well."""
    rewrite(entry, parents=("0123456789abcdef",))
    assert "0123456789abcdef, which it builds on, is gone" in reason(store, entry)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "its file memory is gone"),
        (lambda file: file.write_bytes(b"short"), "its file memory has 5 bytes, and 1000 were written"),
        (lambda file: os.truncate(file, 999), "its file memory has 999 bytes, and 1000 were written"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/passwd")), "its file memory is no ordinary file"),
        (lambda file: (file.unlink(), file.mkdir()), "its file memory is no ordinary file"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "its file memory is no ordinary file"),
    ],
)
def test_damaged_files_are_told(store: Store, entry: Entry, damage: Callable[[Path], object], said: str) -> None:
    damage(entry.folder / "memory")
    assert said in reason(store, entry)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.unlink(), "its manifest is gone"),
        (lambda file: (file.rename(file.with_name("m")), file.symlink_to("m")), "its manifest is a link"),
        (lambda file: (file.unlink(), file.mkdir()), "its manifest is no ordinary file"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "its manifest is no ordinary file"),
        (lambda file: (file.unlink(), file.symlink_to(file)), "its manifest is a link"),
    ],
)
def test_a_manifest_is_an_ordinary_file(store: Store, entry: Entry, damage: Callable[[Path], object], said: str) -> None:
    damage(entry.folder / "manifest.json")
    assert said in reason(store, entry)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_told(store: Store, entry: Entry, mode: int) -> None:
    entry.folder.chmod(mode)
    assert "its folder can be written to by others" in reason(store, entry)


def test_a_folder_of_somebody_else_is_told(store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.snapshots.manifest.os.geteuid", lambda: entry.folder.stat().st_uid + 1)
    monkeypatch.setattr("qa.snapshots.manifest.ROOT", -1)
    with pytest.raises(SnapshotError, match="is not used: it belongs to somebody else") as caught:
        store.get(entry.id)
    assert "chmod" not in str(caught.value.hint)


def test_a_link_or_a_file_in_place_of_an_entry_is_told(store: Store, entry: Entry, tmp_path: Path) -> None:
    entry.folder.rename(tmp_path / entry.id)
    entry.folder.symlink_to(tmp_path / entry.id)
    assert "its folder is no folder" in reason(store, entry)
    assert (tmp_path / entry.id / "memory").exists()
    entry.folder.touch()
    assert "its folder is no folder" in reason(store, entry)


@pytest.mark.parametrize("mode", [0o770, 0o1777])
def test_a_store_that_others_can_write_to_is_not_used(store: Store, entry: Entry, mode: int) -> None:
    store.root.chmod(mode)
    uses: list[Callable[[], object]] = [
        store.entries, store.prune, lambda: store.get(entry.id), lambda: store.remove(entry.id),
        lambda: store.find("template", "k"), lambda: store.draft("template").__enter__(),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(SnapshotError, match="can be written to by others") as caught:
            use()
        assert f"chmod 700 {store.root}" in str(caught.value.hint)
    assert store.sweep() == []
    assert not store.discard(entry)
    assert entry.folder.exists()


def test_a_chain_that_leads_back_to_itself_is_told_and_can_be_removed(store: Store) -> None:
    one = put(store)
    two = put(store, parents=[one])
    rewrite(one, parents=(two.id,))
    for entry in (one, two):
        with pytest.raises(SnapshotUnusable, match="it builds on itself"):
            store.get(entry.id)
    assert len([entry for entry in store.entries() if isinstance(entry, Broken)]) == 2
    assert store.prune() == []
    assert {entry.id for entry in store.remove(one.id, two.id)} == {one.id, two.id}


def test_one_that_builds_on_itself_is_told_and_can_be_removed(store: Store, entry: Entry) -> None:
    rewrite(entry, parents=(entry.id,))
    assert "it builds on itself" in reason(store, entry)


def test_circles_do_not_keep_the_room_they_take(store: Store) -> None:
    one = put(store)
    two = put(store, parents=[one])
    rewrite(one, parents=(two.id,))
    assert {entry.id for entry in store.prune(0)} == {one.id, two.id}


def test_a_long_chain_is_read_and_damage_at_its_root_is_told_at_its_end(store: Store) -> None:
    chain = [put(store)]
    for _ in range(60):
        chain.append(put(store, parents=[chain[-1]]))
    assert [one.id for one in store.get(chain[-1].id).ancestors] == [one.id for one in chain[:-1]]
    (chain[0].folder / "memory").write_bytes(b"")
    with pytest.raises(SnapshotUnusable) as caught:
        store.get(chain[-1].id)
    said = f"{chain[0].id}, which it builds on, cannot be used either: its file memory has 0 bytes, and 1000 were written"
    assert caught.value.message.endswith(said)
    assert caught.value.id == chain[-1].id


def test_a_parent_that_is_gone_is_told(store: Store, entry: Entry, tmp_path: Path) -> None:
    parent = put(store)
    rewrite(entry, parents=(parent.id,))
    parent.folder.rename(tmp_path / "gone")
    assert f"{parent.id}, which it builds on, is gone" in reason(store, entry)


@pytest.mark.parametrize("name", ["devices", "memory"])
def test_content_of_the_same_size_is_found_out_when_it_is_used(store: Store, entry: Entry, name: str) -> None:
    read = store.get(entry.id)
    read.check()
    content = (entry.folder / name).read_bytes()
    (entry.folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(SnapshotUnusable, match=f"its file {name} was changed after it was written"):
        store.get(entry.id).check()


def test_content_of_what_it_builds_on_is_checked_too(store: Store, entry: Entry) -> None:
    child = put(store, parents=[entry])
    (entry.folder / "devices").write_bytes(b"e" * 300)
    with pytest.raises(SnapshotUnusable, match=f"{entry.id} cannot be used: its file devices was changed"):
        child.check()


def test_large_files_are_not_read(store: Store) -> None:
    entry = put(store, size=5 << 20)
    assert entry.manifest.files["memory"].sha256 is None
    assert entry.manifest.files["devices"].sha256
    (entry.folder / "memory").write_bytes(bytes(5 << 20))
    entry.check()


def test_a_file_becomes_a_link_between_reading_and_use(store: Store, entry: Entry) -> None:
    (entry.folder / "devices").rename(entry.folder / "other")
    (entry.folder / "devices").symlink_to("other")
    with pytest.raises(SnapshotUnusable, match="its file devices is a link"):
        entry.check()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda image: image.write_bytes(b"another one"), "has changed since"),
        (lambda image: os.utime(image, ns=(1, 1)), "has changed since"),
        (lambda image: image.unlink(), "is gone"),
        (lambda image: (image.unlink(), image.symlink_to(image)), "cannot be looked at"),
    ],
)
def test_an_image_that_is_not_what_it_was_is_told(
    store: Store, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"image")
    entry = put(store, bases=[Base.of(image)])
    assert store.get(entry.id)
    damage(image)
    assert f"{image}, which its disks build on, {said}" in reason(store, entry)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lock: lock.unlink(), "its lock is gone"),
        (lambda lock: (lock.unlink(), lock.symlink_to("memory")), "its lock is a link"),
    ],
)
def test_a_lock_that_is_none_is_told(store: Store, entry: Entry, damage: Callable[[Path], object], said: str) -> None:
    damage(entry.folder / "lock")
    with pytest.raises(SnapshotUnusable, match=said):
        entry.hold()
    assert [one.id for one in store.remove(entry.id)] == [entry.id]


@pytest.mark.parametrize("what", ["read_manifest", "survey"])
def test_being_short_of_file_descriptors_breaks_nothing(
    store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    module = {"read_manifest": "manifest", "survey": "cleanup"}[what]
    monkeypatch.setattr(f"qa.snapshots.{module}.read_bounded", refuse)
    with pytest.raises(SnapshotError, match="Too many open files") as caught:
        store.prune(0)
    assert not isinstance(caught.value, SnapshotUnusable)
    monkeypatch.undo()
    assert store.get(entry.id)


def test_a_hostile_title_reaches_no_terminal(store: Store, entry: Entry) -> None:
    content = (entry.folder / "manifest.json").read_text()
    (entry.folder / "manifest.json").write_text(content.replace("Debian 13", "\\u001b[2J"))
    (gone,) = store.remove(entry.id)
    assert gone.title == "[2J"


def test_all_that_is_recorded_is_in_the_digest(entry: Entry) -> None:
    record = json.loads(entry.manifest.render())
    assert set(record) == {field.alias or name for name, field in Manifest.model_fields.items()}
    assert re.fullmatch(r"[0-9a-f]{64}", record["digest"])
    others: dict[str, object] = {
        "id": "0" * 16, "kind": "failure", "key": "l", "title": "", "created": "2000-01-01T00:00:00Z", "ephemeral": True,
        "parents": ("0" * 16,), "files": {}, "place": "/", "bases": (Base(path="/", size=0, mtime_ns=0),), "machine": {},
    }  # fmt: skip
    assert set(others) == set(record) - {"digest", "schema"}
    for name, value in others.items():
        assert entry.manifest.model_copy(update={name: value}).sealed().digest != record["digest"], name


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_disks_name_each_other_by_their_place_so_a_store_cannot_be_moved(store: Store, entry: Entry, way: str) -> None:
    elsewhere = Store(store.root.with_name("elsewhere"), store.limit)
    if way == "moved":
        store.root.rename(elsewhere.root)
    else:
        shutil.copytree(store.root, elsewhere.root)
    assert f"it was moved or copied from {entry.folder}, " in reason(elsewhere, entry)


def test_a_store_can_be_reached_through_links(store: Store, entry: Entry) -> None:
    linked = store.root.with_name("linked")
    linked.symlink_to(store.root)
    assert Store(linked, store.limit).get(entry.id).manifest == entry.manifest


def test_a_store_whose_path_is_a_link_to_where_it_was_moved_works(store: Store, entry: Entry) -> None:
    store.root.rename(store.root.with_name("elsewhere"))
    store.root.symlink_to("elsewhere")
    assert store.get(entry.id).manifest == entry.manifest


def test_a_file_in_the_place_of_the_store_is_told(store: Store) -> None:
    store.root.write_text("precious")
    for use in (store.entries, store.prune, lambda: store.draft("snapshot").__enter__()):
        with pytest.raises(SnapshotError, match="is not used: it is no folder") as caught:
            use()
        assert caught.value.hint == "the setting snapshots names another folder"
    assert store.root.read_text() == "precious"
