"""`anima-qa audit` reads the log of agents' calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from qa.cli.audit import command
from qa.errors import UsageError
from qa.operations.audit import AuditLog, now
from qa.paths import Paths


@pytest.fixture
def log(home: Paths) -> AuditLog:
    one = AuditLog(home.audit)
    for number in range(3):
        call = {"surface": "mcp", "client": "claude", "tool": "vm_exec", "arguments": {"number": number}}
        one.append({"at": now(), **call, "outcome": "ok", "result": {"exit_code": 0}})
    return one


def change(log: AuditLog) -> None:
    log.file.write_text(log.file.read_text().replace('"number":1', '"number":7'))


def test_calls_are_listed(log: AuditLog) -> None:
    ended = CliRunner().invoke(command, ["list", "--last", "2"])
    assert [line.split("  ", 1)[1] for line in ended.output.splitlines()] == [
        f"mcp/claude  vm_exec(number={number})  ok  exit_code 0" for number in (1, 2)
    ]
    assert len(json.loads(CliRunner().invoke(command, ["list", "--json"]).output)) == 3


def test_a_sound_log_is_told_with_its_digest_which_can_be_held_against_it(log: AuditLog) -> None:
    ended = CliRunner().invoke(command, ["verify"], standalone_mode=False)
    assert (ended.return_value, "3 lines, none was changed" in ended.output) == (0, True)
    digest = ended.output.split()[-1]
    assert CliRunner().invoke(command, ["verify", "--holds", digest], standalone_mode=False).return_value == 0
    assert CliRunner().invoke(command, ["verify", "--holds", "0" * 64], standalone_mode=False).return_value == 1


def test_a_changed_log_is_told_with_its_first_line(log: AuditLog) -> None:
    change(log)
    ended = CliRunner().invoke(command, ["verify", str(log.file)], standalone_mode=False)
    assert ended.return_value == 1
    assert "line 2 was changed" in ended.output
    record = json.loads(CliRunner().invoke(command, ["verify", "--json"], standalone_mode=False).output)
    assert (record["sound"], record["broken"][0]["line"]) == (False, 2)


def test_the_log_of_the_settings_is_read(home: Paths, tmp_path: Path) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text(f"[audit]\nfile = '{tmp_path}/other.jsonl'\n")
    AuditLog(tmp_path / "other.jsonl").append({"at": now(), "tool": "x"})
    assert "1 line," in CliRunner().invoke(command, ["verify"]).output


@pytest.mark.parametrize("arguments", [["verify"], ["list"], ["verify", "/nowhere"]])
def test_a_log_that_is_not_there_is_an_error(arguments: list[str], home: Paths) -> None:
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, UsageError)
    assert "no audit log" in error.message
