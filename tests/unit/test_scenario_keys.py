"""Keys and characters of a script, checked when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa.operations import CATALOGUE
from qa.scenario.problems import ScriptRejected
from qa.scenario.reader import read_script

TWO_KEYBOARDS = """\
image: builtin
machines: {german: {keyboard: de}, other: {}}
steps:
"""


def told(folder: Path, *steps: str) -> list[str]:
    """What is said of a script with these steps: place and message."""
    path = folder / "keys.yaml"
    path.write_text(TWO_KEYBOARDS + "".join(f"  - {step}\n" for step in steps))
    try:
        read_script(path, CATALOGUE)
    except ScriptRejected as error:
        return [f"{one.place.line}:{one.place.column} {one.message}" for one in error.problems]
    return []


def test_what_the_keyboards_have_is_let_through(tmp_path: Path) -> None:
    assert told(tmp_path, "send_key: ctrl-ö", "send_chars: ö", "{on: other, send_chars: {text: ö, layout: de}}") == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("send_key: strg-c", "4:15 there is no key 'strg': 'strg-c'"),
        ("{on: other, send_key: {keys: ctrl-ö}}", "4:34 there is no key 'ö' in the keyboard layout us: 'ctrl-ö'"),
        ("{on: other, send_chars: ö}", "4:29 'ö' (line 1, character 1) has no key in the keyboard layout us"),
        ("send_chars: {layout: us, text: ö}", "4:36 'ö' (line 1, character 1) has no key in the keyboard layout us"),
        ("click: {at: [1, 2], holding: hyper}", "4:34 there is no key 'hyper': 'hyper'"),
        ("subtest: {steps: [send_key: f13]}", "4:33 there is no key 'f13': 'f13'"),
    ],
)
def test_what_they_do_not_have_is_told_with_its_place(tmp_path: Path, step: str, problem: str) -> None:
    assert told(tmp_path, step) == [problem]


def test_what_is_known_only_when_the_step_runs_is_told_then(tmp_path: Path) -> None:
    assert told(tmp_path, "repeat: {count: 2, steps: [{send_key: 'f1${round}'}]}") == []
    assert told(tmp_path, "wait_for_text: ж") == []
