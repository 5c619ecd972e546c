"""Scripts say where needles are, and those that they name must be there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from qa.operations import CATALOGUE
from qa.paths import data_folder
from qa.scenario.problems import Problem, ScriptRejected
from qa.scenario.reader import read_script


def put(folder: Path, name: str, *tags: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    area = {"xpos": 0, "ypos": 0, "width": 8, "height": 8, "type": "match"}
    (folder / f"{name}.json").write_text(json.dumps({"area": [area], "tags": tags}))
    Image.new("RGB", (16, 16)).save(folder / f"{name}.png")


def script(folder: Path, steps: str, more: str = "") -> Path:
    path = folder / "script.yaml"
    path.write_text(f"image: builtin\n{more}steps:\n{steps}")
    return path


def problems(path: Path) -> list[Problem]:
    with pytest.raises(ScriptRejected) as caught:
        read_script(path, CATALOGUE)
    return list(caught.value.problems)


def test_needles_lie_beside_the_script_and_come_with_the_program(tmp_path: Path) -> None:
    put(tmp_path / "needles", "menu", "start")
    put(tmp_path / "screenshots" / "deep", "login")
    read = read_script(script(tmp_path, "  - assert_screen: menu\n  - wait_for_screen: [login, start]\n"), CATALOGUE)
    assert read.needles == (tmp_path / "needles", tmp_path / "screenshots", data_folder("screenshots"))


def test_a_script_may_say_where_its_needles_are(tmp_path: Path) -> None:
    put(tmp_path / "mine", "menu")
    put(tmp_path / "needles", "other")
    said = "needles: [mine]\n"
    read = read_script(script(tmp_path, "  - assert_screen: menu\n", said), CATALOGUE)
    assert read.needles == (tmp_path / "mine", data_folder("screenshots"))
    assert "no needle 'other'" in problems(script(tmp_path, "  - assert_screen: other\n", said))[0].message


def test_a_needle_that_is_not_there_is_told_at_its_place(tmp_path: Path) -> None:
    put(tmp_path / "needles", "menu", "start")
    steps = """\
  - assert_screen: mneu
  - wait_for_screen: {needle: [menu, lgoin], tag: [start, menu]}
  - subtest: {name: inside, steps: [{assert_screen: [menu, nothing]}]}
"""
    found = problems(script(tmp_path, steps))
    assert [(one.place.line, one.place.column, one.message.split(",")[0]) for one in found] == [
        (3, 20, "there is no needle 'mneu'"),
        (4, 38, "there is no needle 'lgoin'"),
        (4, 59, "no needle has the tag 'menu'"),
        (5, 60, "there is no needle 'nothing'"),
    ]
    assert found[0].hint == "did you mean 'menu'?"


def test_a_broken_needle_a_missing_folder_and_no_needle_at_all_are_told(tmp_path: Path) -> None:
    put(tmp_path / "needles", "menu")
    (tmp_path / "needles" / "menu.png").unlink()
    assert "its picture menu.png is not there" in problems(script(tmp_path, "  - assert_screen: menu\n"))[0].message
    put(tmp_path / "needles", "menu")
    assert problems(script(tmp_path, "  - assert_screen: {timeout: 5}\n"))[0].message == "no needle is named"
    missing = problems(script(tmp_path, "  - reboot\n", "needles: [needles, nowhere]\n"))
    assert [one.message for one in missing] == [f"there is no folder {tmp_path / 'nowhere'}"]


def test_a_needle_that_a_variable_names_is_looked_for_with_its_value(tmp_path: Path) -> None:
    put(tmp_path / "needles", "menu")
    good = "vars: {which: menu}\n"
    assert read_script(script(tmp_path, "  - assert_screen: ${which}\n", good), CATALOGUE)
    assert problems(script(tmp_path, "  - assert_screen: ${which}\n", "vars: {which: other}\n"))
    assert read_script(script(tmp_path, "  - assert_screen: menu-${accel}\n"), CATALOGUE)  # known only in the run
