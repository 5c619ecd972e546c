"""What `anima-qa template` shows, removes and refuses."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from frozen import put

from qa.cli.frozen import ago
from qa.cli.gc import command as gc
from qa.cli.run import command as run_command
from qa.cli.template import command
from qa.config import Config
from qa.errors import QaError, SnapshotError, SnapshotNotFound, UsageError
from qa.paths import Paths
from qa.snapshots.store import Entry, Store


@pytest.fixture
def store(home: Paths) -> Store:
    return Store.of(home, Config())


@pytest.fixture
def entries(store: Store) -> tuple[Entry, Entry, Entry]:
    """A template, a checkpoint on it, and a failed step on both."""
    template = put(store, title="debian-13, 1 GiB", key="k", size=3 << 20)
    checkpoint = put(store, kind="checkpoint", title="the page is there: step 3", parents=[template])
    failure = put(store, kind="failure", title="[red]step 4 :bug:", parents=[checkpoint, template])
    return template, checkpoint, failure


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def raised(*arguments: str) -> QaError:
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, QaError), error
    return error


def complete(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    monkeypatch.setenv("COMP_WORDS", " ".join(("template", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setenv("_TEMPLATE_COMPLETE", "bash_complete")
    return CliRunner().invoke(command, prog_name="template").output.split()


def test_an_empty_store_says_where_it_would_be(home: Paths) -> None:
    assert run("list") == f"no frozen machines in {home.snapshots}\n"
    assert as_json("list") == []
    assert as_json("prune") == {"removed": [], "freed": 0, "left": []}
    assert not home.snapshots.exists()


def test_the_list_has_a_header_and_a_line_for_each(store: Store, entries: tuple[Entry, Entry, Entry]) -> None:
    template, checkpoint, failure = entries
    os.utime(checkpoint.folder / "lock", (1e9, 1e9))
    with template.hold():
        head, *lines, total = run("list").splitlines()
    assert head.split() == ["ID", "KIND", "SIZE", "CREATED", "USED", "TITLE"]
    assert [line.split()[0] for line in lines] == [template.id, checkpoint.id, failure.id]
    assert lines[0].split("  ")[0:2] == [template.id, "template"]
    assert "3.0 MiB" in lines[0]
    assert " now " in lines[0]
    assert lines[0].endswith("debian-13, 1 GiB")
    assert "days ago" in lines[1]
    assert lines[2].endswith("[red]step 4 :bug:")
    assert total.startswith("3 frozen machines, 3.0 MiB of ")


def test_restore_points_are_listed_on_request(store: Store) -> None:
    template = put(store)
    point = put(store, kind="snapshot", parents=[template])
    assert point.id not in run("list")
    assert run("list").endswith("; --all shows 1 more of running scripts\n")
    assert point.id in run("list", "--all")
    assert [one["id"] for one in as_json("list", "--all")] == [template.id, point.id]


def test_what_cannot_be_used_is_listed_with_the_reason(store: Store) -> None:
    put(store, title="sound")
    broken = put(store, kind="snapshot", title="broken")
    (broken.folder / "memory").unlink()
    assert run("list").splitlines()[2].endswith("cannot be used: its file memory is gone")
    assert [one["problem"] for one in as_json("list")] == [None, "its file memory is gone"]


def test_json_has_all_that_is_known(store: Store, entries: tuple[Entry, Entry, Entry]) -> None:
    template, checkpoint, _ = entries
    one = as_json("list")[1]
    assert one == {
        "id": checkpoint.id, "kind": "checkpoint", "title": "the page is there: step 3", "key": "",
        "created": checkpoint.manifest.created, "last_used": one["last_used"], "size": checkpoint.size, "ephemeral": False,
        "parents": [template.id], "in_use": False, "problem": None, "folder": str(checkpoint.folder),
    }  # fmt: skip
    assert datetime.fromisoformat(one["last_used"])


def test_info_shows_the_family_each_once(entries: tuple[Entry, Entry, Entry]) -> None:
    template, checkpoint, failure = entries
    below = run("info", template.id[:10]).partition("what builds on it:\n")[2].splitlines()
    assert below[0].endswith(f"{checkpoint.id} checkpoint the page is there: step 3")
    assert below[1].endswith(f"{failure.id} failure [red]step 4 :bug:")
    assert below[1].index(failure.id) > below[0].index(checkpoint.id)
    assert below[2].endswith(f"{failure.id} failure [red]step 4 :bug: (see above)")
    above = run("info", failure.id).partition("builds on:\n")[2]
    assert above.count(template.id) == 2
    assert above.count("(see above)") == 1
    assert as_json("info", template.id)["children"] == [checkpoint.id, failure.id]


def test_info_looks_closely(store: Store) -> None:
    entry = put(store)
    assert "problem: none" in run("info", entry.id)
    assert as_json("info", entry.id)["files"] == {"devices": 300, "memory": 1000}
    (entry.folder / "devices").write_bytes(b"e" * 300)
    assert "problem: its file devices was changed after it was written" in run("info", entry.id)
    assert [one["problem"] for one in as_json("list")] == [None]
    (entry.folder / "manifest.json").write_text("{}")
    assert as_json("info", entry.id)["problem"] == "its manifest is damaged"


def test_an_unknown_id_gets_a_suggestion(store: Store) -> None:
    entry = put(store)
    mistyped = entry.id[:-1] + ("0" if entry.id[-1] != "0" else "1")
    for arguments in (("info", mistyped), ("remove", mistyped)):
        error = raised(*arguments)
        assert isinstance(error, SnapshotNotFound)
        assert error.hint == f"did you mean {entry.id}?"


def test_removing_says_what_went(store: Store, entries: tuple[Entry, Entry, Entry]) -> None:
    template, checkpoint, failure = entries
    assert run("remove", failure.id[:12]).splitlines()[0].startswith(f"removed {failure.id} failure [red]step 4 :bug: (")
    result = as_json("remove", template.id, checkpoint.id, template.id)
    assert [one["id"] for one in result["removed"]] == [checkpoint.id, template.id]
    assert result["freed"] > 3 << 20
    assert result["left"] == []


def test_removing_what_others_build_on_says_how(entries: tuple[Entry, Entry, Entry]) -> None:
    error = raised("remove", entries[1].id)
    assert isinstance(error, SnapshotError)
    assert f"{entries[2].id} builds on it" in error.message
    proposed = str(error.hint).partition("anima-qa template ")[2].split()
    run(*proposed)
    assert [one["id"] for one in as_json("list")] == [entries[0].id]


def test_removing_all_spares_what_is_in_use(store: Store, entries: tuple[Entry, Entry, Entry]) -> None:
    other = put(store)
    (put(store).folder / "manifest.json").unlink()
    with entries[1].hold():
        result = as_json("remove", "--all")
    assert other.id in {one["id"] for one in result["removed"]}
    assert set(result["left"]) == {entries[0].id, entries[1].id}


@pytest.mark.parametrize("arguments", [("remove",), ("remove", "--all", "0123")])
def test_what_is_to_be_removed_must_be_clear(arguments: tuple[str, ...]) -> None:
    assert isinstance(raised(*arguments), UsageError)


def test_pruning_goes_down_to_a_size_and_takes_what_cannot_be_used(store: Store) -> None:
    old, new = put(store, size=2 << 20, used=1e9), put(store, size=2 << 20)
    broken = put(store)
    (broken.folder / "memory").unlink()
    assert [one["id"] for one in as_json("prune")["removed"]] == [broken.id]
    result = as_json("prune", "--to", "3M")
    assert [one["id"] for one in result["removed"]] == [old.id]
    assert result["left"] == [new.id]
    assert "0 frozen machines left" in run("prune", "--to", "0")


@pytest.mark.parametrize("size", ["much", "-1", "", "1e9", "9" * 400, "5X"])
def test_a_size_that_is_none_is_told(size: str) -> None:
    error = raised("prune", "--to", size)
    assert isinstance(error, UsageError)
    assert "is not a size" in error.message


def test_shells_complete_ids_with_what_they_mean(
    entries: tuple[Entry, Entry, Entry], monkeypatch: pytest.MonkeyPatch, home: Paths
) -> None:
    assert complete(monkeypatch, "info", entries[0].id[:15]) == [f"plain,{entries[0].id}"]
    ids = {entry.id for entry in entries}
    assert {one.removeprefix("plain,") for one in complete(monkeypatch, "remove", "")} == ids
    assert {one.removeprefix("plain,") for one in complete(monkeypatch, "remove", entries[0].id, "")} == ids - {entries[0].id}
    home.snapshots.chmod(0o777)
    assert complete(monkeypatch, "info", "") == []


def test_a_store_that_is_not_to_be_trusted_is_told(entries: tuple[Entry, Entry, Entry], home: Paths) -> None:
    home.snapshots.chmod(0o777)
    for arguments in (("list",), ("info", entries[0].id), ("remove", entries[0].id), ("remove", "--all"), ("prune",)):
        assert "can be written to by others" in raised(*arguments).message


def test_the_settings_hold(store: Store, entries: tuple[Entry, Entry, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMA_QA_SNAPSHOT_LIMIT", "1M")
    assert run("list").splitlines()[-1] == "3 frozen machines, 3.0 MiB of 1.0 MiB"
    assert [one["id"] for one in as_json("prune")["left"]] == []
    monkeypatch.setenv("ANIMA_QA_SNAPSHOTS", str(store.root.parent / "elsewhere"))
    assert "elsewhere" in run("list")
    monkeypatch.setenv("ANIMA_QA_SNAPSHOT_LIMIT", "lots")
    assert "'lots' is not a size" in raised("list").message


def test_gc_removes_what_dead_processes_left(store: Store, entries: tuple[Entry, Entry, Entry]) -> None:
    (store.root / ".draft-0123456789abcdef").mkdir()
    result: Result = CliRunner().invoke(gc, ["--json"], catch_exceptions=False)
    assert [one["folder"] for one in json.loads(result.stdout)["removed"]] == [str(store.root / ".draft-0123456789abcdef")]
    assert len(as_json("list")) == 3


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-100, "just now"),
        (59, "just now"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (90_000, "1 day ago"),
        (9e6, "104 days ago"),
    ],
)
def test_ages_are_readable(seconds: float, said: str) -> None:
    assert ago((datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()) == said


def test_what_has_no_age_has_none() -> None:
    assert ago("") == ""


def test_every_run_removes_what_dead_processes_left(store: Store, tmp_path: Path) -> None:
    put(store)
    (store.root / ".draft-0123456789abcdef").mkdir()
    script = tmp_path / "script.yaml"
    script.write_text("name: no such image\nimage: ./gone.qcow2\nsteps: [shutdown]\n")
    CliRunner().invoke(run_command, [str(script), "--out", str(tmp_path / "results")], standalone_mode=False)
    assert (tmp_path / "results").exists()
    assert not (store.root / ".draft-0123456789abcdef").exists()
