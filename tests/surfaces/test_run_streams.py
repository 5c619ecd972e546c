"""Where output goes: to readers that leave, to closed descriptors, to no terminal; the exit status is that of the run."""

from __future__ import annotations

import json
import subprocess

import pytest
from program import COMMAND, Program

SCRIPT = "image: ./missing.qcow2\nsteps: [succeed: 'true']\n"
"""A run that ends at once, with status 3."""


@pytest.mark.parametrize(
    "shell",
    [
        '"$@" >&-',
        '"$@" 2>&-',
        '"$@" >&- 2>&- <&-',
        '"$@" >/dev/full',
        '"$@" 2>/dev/full',
        '{ "$@"; echo $? >status; } | true; exit $(cat status)',
        '{ "$@" 2>&1; echo $? >status; } | head -n 1; exit $(cat status)',
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["plain", "json"])
def test_a_run_does_not_mind_who_listens(program: Program, shell: str, flags: list[str]) -> None:
    ended = program.run("run", program.script(SCRIPT), *flags, before=["sh", "-c", shell, "sh"])
    assert ended.status == 3, ended.text
    assert "Traceback" not in ended.text
    assert ended.result["exit_status"] == 3
    assert (ended.folder / "report.html").stat().st_size > 1000
    assert all(json.loads(line) for line in (ended.folder / "events.jsonl").read_text().splitlines())


HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "streams", "version": "1"}}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["--version", "check", "mcp"])
def test_closed_streams_are_streams_to_nowhere(program: Program, command: str, closed: str) -> None:
    arguments = [command, *([program.script("image: builtin\nsteps: [succeed: 'true']\n")] if command == "check" else [])]
    ended = program.run(*arguments, before=["sh", "-c", f'"$@" {closed}', "sh"])
    assert (ended.status, ended.stderr) == (0, "")
    assert (ended.stdout != "") == (command != "mcp" and closed in {"<&-", "2>&-"})


def test_a_server_without_stderr_answers(program: Program) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    popen = subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "mcp"], cwd=program.cwd, env=program.environment({}),
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with popen:
        assert popen.stdin
        assert popen.stdout
        popen.stdin.write(json.dumps(request) + "\n")
        popen.stdin.flush()
        assert json.loads(popen.stdout.readline())["result"]["serverInfo"]["name"] == "anima-qa"
    assert popen.returncode == 0


def test_json_is_all_there_is_on_stdout(program: Program) -> None:
    ended = program.run("run", program.script(SCRIPT), "--json")
    (run,) = json.loads(ended.stdout)["runs"]
    assert run["exit_status"] == 3
    assert run["reason"] == ended.result["reason"]
    assert "there is no file" in ended.stderr


def test_mistakes_as_json_leave_stdout_to_json(program: Program) -> None:
    ended = program.run("check", program.script("image: builtin\nstps: []\n"), "--json")
    assert ended.status == 2
    assert json.loads(ended.stdout)["problems"][0]["line"] in {1, 2}


def test_a_folder_that_is_gone(program: Program) -> None:
    script = program.script(SCRIPT)
    gone = program.cwd / "gone"
    before = ["sh", "-c", f'mkdir "{gone}" && cd "{gone}" && rmdir "{gone}" && exec "$@"', "sh"]
    assert program.run("check", script, before=before).status == 0
    for more, status in ([], 3), (["--image", "./x.img"], 2):
        ended = program.run("run", script, *more, before=before)
        assert ended.status == status
        assert "Traceback" not in ended.text
    assert "the current folder is gone" in ended.stderr
