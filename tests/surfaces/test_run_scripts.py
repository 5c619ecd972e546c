"""Scripts with mistakes: all are told with their places, and nothing runs."""

from __future__ import annotations

import pytest
from program import Program

FIVE = """\
nmae: five mistakes
image: builtin
steps:
  - suceed: "true"
  - {succeed: "true", timeout: soon}
  - {succeed: "true", on: elsewhere}
  - execute: "echo ${nothing}"
    expect: {stdout: "("}
"""
PLACES = {
    "1:1": "unknown key 'nmae'",
    "4:5": "unknown verb 'suceed'",
    "5:32": "'soon' is not a duration",
    "6:27": "there is no machine 'elsewhere'",
    "7:20": "there is no variable 'nothing'",
    "8:22": "'(' is not a regular expression",
}


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_mistakes_of_a_script_are_told_at_once(program: Program, command: str) -> None:
    good = program.script("image: builtin\nsteps: [succeed: 'true']\n", "good.yaml")
    ended = program.run(command, good, program.script(FIVE, "five.yaml"))
    assert ended.status == 2
    for place, message in PLACES.items():
        assert f"five.yaml:{place}: {message}" in ended.text
    assert "did you mean 'succeed'?" in ended.text
    assert not (program.cwd / "results").exists()


def test_files_that_include_each_other(program: Program) -> None:
    program.script("steps: [include: a.yaml]\n", "b.yaml")
    ended = program.run("run", program.script("image: builtin\nsteps: [include: b.yaml]\n", "a.yaml"))
    assert ended.status == 2
    assert "include each other in a circle" in ended.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 10, "is not UTF-8"),
        (b"# " + b"x" * 2_000_000, "the file is larger than 1,000,000 bytes"),
        (b"image: builtin\nsteps: " + b"[" * 5_000, "1:"),
        (b"a: &a [x, x, x]\nb: &b [*a, *a, *a]\nimage: *b\nsteps: []\n", ":"),
    ],
    ids=["empty", "program", "2 MB", "deep", "aliases"],
)
def test_what_is_no_script(program: Program, content: bytes, said: str) -> None:
    path = program.cwd / "odd.yaml"
    path.write_bytes(content)
    ended = program.run("run", path)
    assert ended.status == 2
    assert said in ended.stderr
    assert "odd.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.yaml"], "there is no script none.yaml"),
        (["."], "is a folder"),
        ([], "no script was given"),
        (["good.yaml", "--jobs", "0"], "'jobs'"),
        (["good.yaml", "--var", "nonsense"], "nonsense"),
        (["good.yaml", "--frobnicate"], "--frobnicate"),
    ],
)
def test_a_wrong_command_line(program: Program, arguments: list[str], said: str) -> None:
    program.script("image: builtin\nsteps: [succeed: 'true']\n", "good.yaml")
    ended = program.run("run", *arguments)
    assert ended.status == 2
    assert said in ended.stderr
    assert not (program.cwd / "results").exists()
