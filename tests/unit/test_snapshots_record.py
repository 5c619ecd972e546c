"""What an entry says of its machine: it comes back as it was, and nothing else is understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qa.errors import SnapshotUnusable
from qa.snapshots.record import Record, attached, layer, overlay, read_record
from qa.snapshots.store import Entry, Store

WHOLE: dict[str, Any] = {
    "running": True,
    "paused": True,
    "frozen_at": 1795184377.0,
    "memory": 128 << 20,
    "memory_entry": "0123456789abcdef",
    "known": {"name": "vm", "shell": {"idle": [{"number": 1}], "ready": True}, "ssh": None, "text": "ü\n"},
}


def entry_with(folder: Path, machine: dict[str, Any]) -> Entry:
    with Store(folder / "store", 1 << 40).draft("snapshot") as draft:
        return draft.commit(machine=machine)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    record = Record.model_validate(WHOLE)
    assert read_record(entry_with(tmp_path, record.model_dump(mode="json"))) == record


def test_what_is_not_said_of_a_machine_that_was_off(tmp_path: Path) -> None:
    record = read_record(entry_with(tmp_path, {"running": False, "frozen_at": 1.5, "memory": 1}))
    assert (record.paused, record.memory_entry, record.known) == (False, "", {})


@pytest.mark.parametrize(
    "changed",
    [
        {"new": 1},
        {"running": 1},
        {"running": None},
        {"paused": "yes"},
        {"frozen_at": "now"},
        {"memory": 0},
        {"memory": -1},
        {"memory": 1.5},
        {"memory": "128M"},
        {"memory_entry": None},
        {"known": []},
    ],
)
def test_another_version_s_is_not_guessed_at(tmp_path: Path, changed: dict[str, Any]) -> None:
    entry = entry_with(tmp_path, {**WHOLE, **changed})
    with pytest.raises(SnapshotUnusable, match=f"the frozen machine {entry.id} was written by another version of anima-qa"):
        read_record(entry)


@pytest.mark.parametrize("gone", ["running", "frozen_at", "memory"])
def test_what_must_be_said(tmp_path: Path, gone: str) -> None:
    entry = entry_with(tmp_path, {name: value for name, value in WHOLE.items() if name != gone})
    with pytest.raises(SnapshotUnusable):
        read_record(entry)


def test_files_of_several_disks_never_meet() -> None:
    names = [name(number) for name in (layer, overlay, attached) for number in range(3)]
    assert len(set(names)) == 9
