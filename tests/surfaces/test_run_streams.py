"""Where output goes: to readers that leave, to closed descriptors, to no terminal; the exit status is that of the run."""

from __future__ import annotations

import json

import pytest
from program import Program

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
