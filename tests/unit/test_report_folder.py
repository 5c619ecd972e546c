"""The results folder: its name, its files, and what happens where it cannot be written."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import report_samples as samples

from qa.errors import HostError, NoSpace, UsageError
from qa.events import Bus, CommandOutput, Notice, QmpEvent
from qa.report import EventLog, ResultsFolder, render, write_reports
from qa.report.folder import evidence_title, slug

NOON = datetime(2025, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Debian serves a page", "debian-serves-a-page"),
        ("../../etc/passwd", "etc-passwd"),
        ("Überprüfung № 7", "uberprufung-no-7"),
        ("日本", "run"),
        ("", "run"),
        ("a" * 500, "a" * 60),
        ("x\x00y\n", "x-y"),
    ],
)
def test_a_name_becomes_a_safe_file_name(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_a_folder_has_name_date_and_its_subfolders(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path / "deep" / "results", "Hello!", now=NOON)
    assert folder.path == tmp_path / "deep" / "results" / "hello-20251120-120000"
    assert folder.shots.is_dir()
    assert folder.evidence.is_dir()


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [ResultsFolder.create(tmp_path, "x", now=NOON).path.name for _ in range(3)]
    assert names == ["x-20251120-120000", "x-20251120-120000-2", "x-20251120-120000-3"]


def test_latest_points_to_the_newest_folder(tmp_path: Path) -> None:
    ResultsFolder.create(tmp_path, "first", now=NOON)
    newest = ResultsFolder.create(tmp_path, "second", now=NOON)
    assert (tmp_path / "latest").resolve() == newest.path.resolve()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_somebody_else_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a" / "latest").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "latest").write_text("mine")
    for out in (tmp_path / "a", tmp_path / "b"):
        ResultsFolder.create(out, "x", now=NOON)
        assert not (out / "latest").is_symlink()


def test_machines_of_one_run_have_their_own_logs(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    assert folder.console_log().name == "console.log"
    assert folder.console_log("Web Server").name == "console-web-server.log"
    assert folder.qemu_log("Web Server").name == "qemu-web-server.log"
    assert folder.console_log("web", "1.1-x").name == "console-web-1.1-x.log"
    assert folder.qemu_log(label="1.1-x-try-2").name == "qemu-1.1-x-try-2.log"


def test_evidence_keeps_its_title(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    path = folder.relative(folder.evidence_path("3.1", "seen last"))
    assert path == "evidence/3.1-seen-last.txt"
    assert evidence_title(path) == "seen last"


def test_out_that_is_a_file_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "results"
    out.write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        ResultsFolder.create(out, "x")
    with pytest.raises(UsageError, match="is not a folder"):
        ResultsFolder.create(out / "inside", "x")


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EACCES, HostError), (errno.EROFS, HostError)]
)
def test_a_folder_that_cannot_be_made_is_the_hosts_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[HostError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HostError) as caught:
        ResultsFolder.create(tmp_path, "x")
    assert type(caught.value) is expected
    assert "--out" in str(caught.value.hint)


def test_a_full_disk_keeps_the_old_result_and_leaves_no_crumbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = samples.passed(tmp_path)
    before = folder.result_json.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="no space left"):
        folder.write_result(folder.read_result().model_copy(update={"name": "other"}))
    assert folder.result_json.read_bytes() == before
    assert not list(folder.path.glob(".*"))


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = samples.nested(tmp_path)
    result = folder.read_result()
    assert json.loads(folder.result_json.read_text())["schema"] == 1
    folder.write_result(result)
    assert folder.read_result() == result


def test_reports_are_made_anew_out_of_result_json_alone(tmp_path: Path) -> None:
    folder = samples.failed_command(tmp_path)
    result = folder.read_result()
    folder.result_json.unlink()
    write_reports(folder, result)
    first = folder.junit_xml.read_text(), folder.report_html.read_text()
    folder.junit_xml.unlink()
    folder.report_html.unlink()
    assert render(ResultsFolder(folder.path)) == result
    assert (folder.junit_xml.read_text(), folder.report_html.read_text()) == first


@pytest.mark.parametrize("content", [None, "", "{}", '{"schema": 1, "name": 3}'])
def test_a_folder_without_a_readable_result_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match=r"result\.json"):
        render(ResultsFolder(tmp_path))


@pytest.mark.parametrize("name", ["../outside.txt", "link.txt", "/etc/hostname", "shots", "missing", "a\x00b"])
def test_files_outside_the_folder_are_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    folder = ResultsFolder.create(tmp_path / "out", "x")
    (folder.path / "link.txt").symlink_to(tmp_path / "outside.txt")
    (folder.path / "inside.txt").write_text("fine")
    assert folder.find(name) is None
    assert folder.find("inside.txt") == (folder.path / "inside.txt").resolve()


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_a_line_at_once(tmp_path: Path) -> None:
    bus, path = Bus(), tmp_path / "events.jsonl"
    bus.subscribe(EventLog(path))
    bus.notice("one")
    assert [line["message"] for line in lines_of(path)] == ["one"]
    bus.emit(QmpEvent(machine="m", name="STOP"))
    assert [line["event"] for line in lines_of(path)] == ["Notice", "QmpEvent"]


def test_long_texts_in_events_are_cut(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log(CommandOutput(machine="m", stream="stdout", text="x" * 1_000_000))
    log(QmpEvent(machine="m", name="X", data={"deep": [{"text": "y" * 1_000_000}], "many": list(range(10_000))}))
    assert (tmp_path / "events.jsonl").stat().st_size < 10_000
    assert str(lines_of(tmp_path / "events.jsonl")[0]["text"]).endswith("… 998000 more")


def test_the_log_ends_at_its_limit_and_says_so(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", max_file=10_000)
    for _ in range(1000):
        log(Notice(message="x" * 100))
    lines = lines_of(tmp_path / "events.jsonl")
    assert (tmp_path / "events.jsonl").stat().st_size < 10_200
    assert [line["event"] for line in lines].count("LogEnded") == 1
    assert lines[-1]["event"] == "LogEnded"
    assert "limit" in log.problem


def test_a_log_that_cannot_be_written_does_not_disturb_the_run(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "missing" / "events.jsonl")
    log(Notice(message="x"))
    log.close()
    assert "cannot write" in log.problem


def test_data_that_is_no_json_does_not_disturb_the_run(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    endless: dict[str, object] = {"path": Path("/x"), "bytes": b"\xff"}
    log(QmpEvent(machine="m", name="odd", data=endless))
    endless["self"] = endless
    log(QmpEvent(machine="m", name="endless", data=endless))
    log(Notice(message="after \udcff"))
    events = [line["event"] for line in lines_of(tmp_path / "events.jsonl")]
    assert events == ["QmpEvent", "Notice"]
