"""The audit log: appended to by many, and whatever is done to it by others shows."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from qa.errors import UsageError
from qa.operations import audit
from qa.operations.audit import AuditLog
from qa.operations.audit_check import SHOWN, Checked, verify


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.jsonl")


def fill(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.append({"at": audit.now(), "tool": "vm_exec", "arguments": {"number": number}})


def change(log: AuditLog, edit: Any) -> None:
    """Change the file by hand, as its lines."""
    lines = log.file.read_bytes().splitlines(keepends=True)
    log.file.write_bytes(b"".join(edit(lines)))


def records(log: AuditLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.file.read_text().splitlines()]


def test_lines_are_chained(log: AuditLog) -> None:
    fill(log, 3)
    lines = records(log)
    assert [line["n"] for line in lines] == [1, 2, 3]
    assert lines[0]["prev"] == audit.START
    assert [line["prev"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]
    assert verify(log.file) == Checked(3, lines[-1]["hash"], (), ())


def test_an_empty_log_is_sound(log: AuditLog) -> None:
    log.file.touch()
    assert verify(log.file).sound


def test_a_log_that_is_not_there_is_an_error(log: AuditLog) -> None:
    with pytest.raises(UsageError, match="no audit log"):
        verify(log.file)


def _edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"number":2', b'"number":7'), *lines[3:]]


def _edited_and_sealed(lines: list[bytes]) -> list[bytes]:
    """A clever hand: the changed line has the right digest of its own."""
    record = json.loads(lines[2]) | {"tool": "vm_list"}
    record["hash"] = audit.digest_of(record)
    return [*lines[:2], json.dumps(record).encode() + b"\n", *lines[3:]]


def _renumbered(lines: list[bytes]) -> list[bytes]:
    record = json.loads(lines[-1]) | {"n": 9}
    record["hash"] = audit.digest_of(record)
    return [*lines[:-1], json.dumps(record).encode() + b"\n"]


@pytest.mark.parametrize(
    ("edit", "line", "why"),
    [
        (_edited, 3, "was changed"),
        (_edited_and_sealed, 4, "does not follow"),
        (lambda lines: [*lines[:1], *lines[2:]], 2, "does not follow"),
        (lambda lines: lines[1:], 1, "does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2, "does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "does not follow"),
        (lambda lines: [*lines[:2], b"rubbish\n", *lines[2:]], 3, "is no record"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3, "is no record"),
        (lambda lines: [*lines[:2], b"[1]\n", *lines[2:]], 3, "is no record"),
        (lambda lines: [*lines[:2], b"\xff\xfe\n", *lines[2:]], 3, "is no record"),
        (lambda lines: [*lines[:2], b'{"n":3,"hash":5,"prev":{}}\n', *lines[2:]], 3, "was changed"),
        (lambda lines: [*lines, b"rubbish\n"], 6, "is no record"),
        (_renumbered, 5, "does not follow"),
        (lambda lines: lines[:-1], 4, "missing at the end"),
        (lambda lines: [], 0, "missing at the end"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 5, "is cut short"),
        (lambda lines: [*lines, b'{"n":6'], 6, "is cut short"),
    ],
)
def test_whatever_is_done_to_it_shows_with_its_first_line(log: AuditLog, edit: Any, line: int, why: str) -> None:
    fill(log, 5)
    change(log, edit)
    checked = verify(log.file)
    assert not checked.sound
    assert checked.broken[0].line == line
    assert why in checked.broken[0].why


def test_a_log_that_was_cut_back_shows_also_after_further_calls(log: AuditLog) -> None:
    fill(log, 5)
    change(log, lambda lines: lines[:3])
    fill(log, 2)
    checked = verify(log.file)
    assert [(one.line, "4 to 5 are missing" in one.why) for one in checked.broken] == [(4, True)]
    assert [one["n"] for one in records(log)] == [1, 2, 3, 6, 7, 8]


def test_a_log_that_was_taken_away_shows_after_further_calls(log: AuditLog) -> None:
    fill(log, 3)
    log.file.unlink()
    fill(log, 1)
    assert "1 to 3 are missing" in verify(log.file).broken[0].why


def test_the_end_can_be_held_against_one_that_was_kept_elsewhere(log: AuditLog) -> None:
    fill(log, 3)
    kept = records(log)[1]["hash"]
    assert verify(log.file, holds=kept).sound
    log.head_file.unlink()
    change(log, lambda lines: lines[:1])
    assert verify(log.file).sound, "this cannot show by itself"
    checked = verify(log.file, holds=kept)
    assert "has no line with the digest" in checked.broken[0].why


# crashes


@pytest.mark.parametrize("cut", [2, 20, 100])
def test_a_line_that_a_crash_cut_short_is_marked_and_not_hidden(log: AuditLog, cut: int) -> None:
    fill(log, 3)
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-cut])
    # The crash came before the head was written, too.
    with log.head_file.open("r+b") as head:
        head.write(json.dumps({"n": 2, "hash": json.loads(whole.splitlines()[1])["hash"]}).encode() + b"\n")
    assert "is cut short" in verify(log.file).broken[0].why
    fill(log, 1)
    checked = verify(log.file)
    assert checked.sound
    assert [one.line for one in checked.mended] == [3]
    assert log.file.read_bytes().startswith(whole[:-cut])


def test_a_line_of_which_only_the_end_is_missing_is_whole(log: AuditLog) -> None:
    fill(log, 2)
    head = log.head_file.read_bytes()
    fill(log, 1)
    log.file.write_bytes(log.file.read_bytes()[:-1])
    log.head_file.write_bytes(head)
    fill(log, 1)
    assert verify(log.file) == Checked(4, records(log)[-1]["hash"], (), ())


def test_a_mended_line_cannot_be_exchanged(log: AuditLog) -> None:
    fill(log, 3)
    log.file.write_bytes(log.file.read_bytes() + b'{"n":4,"tool":"secret deed"')
    fill(log, 1)
    assert verify(log.file).sound
    change(log, lambda lines: [line.replace(b"secret", b"lawful") for line in lines])
    assert verify(log.file).broken[0].line == 4


def test_a_mended_line_cannot_be_doubled(log: AuditLog) -> None:
    fill(log, 1)
    log.file.write_bytes(log.file.read_bytes() + b'{"n":2')
    fill(log, 1)
    change(log, lambda lines: [lines[0], lines[1], *lines[1:]])
    assert verify(log.file).broken[0].line == 2


@pytest.mark.parametrize("rubbish", [b"x" * 300_000, b"x\n" * 150_000])
def test_the_last_line_is_found_before_much_rubbish(log: AuditLog, rubbish: bytes) -> None:
    fill(log, 2)
    log.file.write_bytes(log.file.read_bytes() + rubbish)
    fill(log, 1)
    numbers = [json.loads(line)["n"] for line in log.file.read_bytes().splitlines() if line.startswith(b"{")]
    assert numbers[:3] == [1, 2, 3]


def test_of_many_faults_the_first_are_told(log: AuditLog) -> None:
    fill(log, 1)
    change(log, lambda lines: [*lines, *[b"rubbish\n"] * 1000])
    assert [one.line for one in verify(log.file).broken] == list(range(2, 2 + SHOWN))


def test_a_crash_between_the_line_and_the_head_changes_nothing(log: AuditLog) -> None:
    fill(log, 2)
    head = log.head_file.read_bytes()
    fill(log, 1)
    log.head_file.write_bytes(head)
    assert verify(log.file).sound
    fill(log, 1)
    assert verify(log.file) == Checked(4, records(log)[-1]["hash"], (), ())


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 4096])
def test_a_head_that_cannot_be_read_stops_nobody(log: AuditLog, content: bytes) -> None:
    fill(log, 2)
    log.head_file.write_bytes(content)
    fill(log, 1)
    assert verify(log.file).sound


def test_long_lines_are_found_again(log: AuditLog) -> None:
    log.append({"at": audit.now(), "tool": "x", "arguments": ["y" * 400] * 120})
    fill(log, 1)
    log.append({"at": audit.now(), "tool": "x", "arguments": "z" * 100_000, "result": "z" * 100_000})
    fill(log, 1)
    assert verify(log.file).sound
    assert records(log)[2]["arguments"] == "left out: too long"
    assert all(len(line) <= audit.LONGEST_LINE + 1000 for line in log.file.read_bytes().splitlines())


# several writers

_WRITER = """
import sys
from pathlib import Path
from qa.operations.audit import AuditLog
log = AuditLog(Path(sys.argv[1]))
for number in range(25):
    log.prepare()
    log.append({"at": "now", "tool": "x", "arguments": {"writer": sys.argv[2], "number": number}})
"""


def test_several_processes_and_threads_write_one_chain(log: AuditLog) -> None:
    command = [sys.executable, "-c", _WRITER, str(log.file)]
    writers = [subprocess.Popen([*command, str(number)], env={**os.environ}) for number in range(3)]
    threads = [threading.Thread(target=fill, args=(log, 10)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    checked = verify(log.file)
    assert (checked.sound, checked.lines) == (True, 105)
    for name in "012":
        own = [line["arguments"]["number"] for line in records(log) if line["arguments"].get("writer") == name]
        assert own == list(range(25))


def test_while_one_writes_the_others_wait(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write, seen = os.write, []

    def watched(descriptor: int, data: bytes) -> int:
        with log.head_file.open() as head:
            try:
                fcntl.flock(head, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append("locked")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    fill(log, 1)
    assert seen == ["locked"]


def test_a_short_write_is_gone_on_with(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    fill(log, 2)
    assert verify(log.file).sound


def test_nobody_else_can_read_it(log: AuditLog) -> None:
    before = os.umask(0)
    try:
        fill(log, 1)
    finally:
        os.umask(before)
    assert [file.stat().st_mode & 0o777 for file in (log.file, log.head_file)] == [0o600, 0o600]
