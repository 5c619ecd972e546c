"""The cache does not believe what it reads, and frees what nobody needs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from qa.errors import ImageError, ImageNotFound, UsageError
from qa.images.locks import exclusive
from qa.images.metadata import Metadata, write_metadata
from qa.images.prune import prune, remove
from qa.images.recipes import recipes
from qa.images.store import Store
from qa.paths import Paths

CONTENT = b"content of an image"
OLD = time.time() - 7 * 24 * 3600


@pytest.fixture
def store(home: Paths) -> Store:
    return Store.of(home)


def put(store: Store, entry: str, **changes: str) -> Path:
    """An entry as a build leaves it, with changes to its record."""
    folder = store.root / entry
    folder.mkdir(parents=True)
    (folder / "image.qcow2").write_bytes(CONTENT)
    record = {
        "name": entry, "origin": "imported", "source": "/somewhere", "file": "image.qcow2", "format": "qcow2",
        "virtual_size": 1 << 20, "file_size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(),
    } | changes  # fmt: skip
    write_metadata(folder, Metadata.model_validate(record))
    return folder


def test_an_entry_is_found_by_its_name(store: Store) -> None:
    folder = put(store, "mine")
    assert store.get("mine").path == folder / "image.qcow2"
    assert store.get("mine").image("mine").identity == hashlib.sha256(CONTENT).hexdigest()


def test_an_unknown_name_is_told(store: Store) -> None:
    with pytest.raises(ImageNotFound, match="no 'yours'"):
        store.get("yours")


@pytest.mark.parametrize("record", ["", "{", "[]", '{"name": "mine"}'])
def test_a_broken_record_is_told_and_never_used(store: Store, record: str) -> None:
    (put(store, "mine") / "metadata.json").write_text(record)
    assert store.find("mine") is None
    with pytest.raises(ImageError, match="damaged") as failure:
        store.get("mine")
    assert "prune mine" in str(failure.value.hint)


def test_a_record_cannot_point_out_of_its_folder(store: Store) -> None:
    folder = put(store, "mine")
    (store.root.parent / "secret").write_bytes(CONTENT)
    record = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(record | {"file": "../../secret"}))
    assert store.find("mine") is None


def test_an_image_that_shrank_is_told(store: Store) -> None:
    (put(store, "mine") / "image.qcow2").write_bytes(b"short")
    with pytest.raises(ImageError, match="5 bytes"):
        store.get("mine")


async def test_verifying_finds_one_changed_byte(store: Store) -> None:
    folder = put(store, "mine")
    (folder / "image.qcow2").write_bytes(b"C" + CONTENT[1:])
    with pytest.raises(ImageError, match="has changed since it was recorded"):
        await store.verify(store.get("mine"))


@pytest.mark.parametrize("name", ["", "../x", "A B", ".hidden"])
async def test_a_name_that_is_no_name_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name an image"):
        await store.add(tmp_path / "image", name)


async def test_a_taken_name_is_refused(store: Store, tmp_path: Path) -> None:
    put(store, "mine")
    with pytest.raises(UsageError, match="already"):
        await store.add(tmp_path / "image", "mine")


def test_removing_frees_what_it_says(store: Store) -> None:
    folder = put(store, "mine")
    assert remove(store, ("mine",)).removed == ("mine",)
    assert not folder.exists()


def test_removing_an_unknown_name_removes_nothing(store: Store) -> None:
    folder = put(store, "mine")
    with pytest.raises(ImageNotFound):
        remove(store, ("mine", "yours"))
    assert folder.exists()


def test_pruning_removes_images_of_recipes_that_changed_and_keeps_the_others(store: Store) -> None:
    put(store, "builtin-0000", name="builtin", origin="built", source="builtin", key="0" * 64)
    put(store, "builtin-now", name="builtin", origin="built", source="builtin", key=recipes()["builtin"].key())
    put(store, "debian-old", name="debian", origin="built", source="debian bookworm", key=recipes()["debian"].key("bookworm"))
    put(store, "mine")
    (put(store, "broken") / "metadata.json").unlink()
    assert set(prune(store).removed) == {"builtin-0000", "broken"}
    assert {folder.name for folder in store.folders()} == {"builtin-now", "debian-old", "mine"}


async def test_pruning_sweeps_what_the_dead_left_and_spares_the_living(store: Store) -> None:
    dead = store.root / ".tmp" / "1-dead"
    dead.mkdir(parents=True)
    (dead / "half").write_bytes(b"x" * 10_000)
    os.utime(dead, (OLD, OLD))
    async with store.workshop() as living:
        os.utime(living, (OLD, OLD))
        assert prune(store).freed >= 10_000
        assert living.is_dir()
    assert not dead.exists()
    assert not living.exists()


def test_pruning_keeps_young_downloads_for_the_next_try(store: Store) -> None:
    parts = store.root / ".partial"
    parts.mkdir(parents=True)
    for name, age in (("young.part", time.time()), ("old.part", OLD)):
        (parts / name).write_bytes(b"x")
        os.utime(parts / name, (age, age))
    prune(store)
    assert [part.name for part in parts.iterdir()] == ["young.part"]


async def test_a_lock_is_free_again_when_its_holder_is_done(tmp_path: Path) -> None:
    waited: list[bool] = []
    async with exclusive(tmp_path / "lock", lambda: waited.append(True)):
        pass
    async with exclusive(tmp_path / "lock", lambda: waited.append(True)):
        pass
    assert not waited
