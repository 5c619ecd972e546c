"""Folders of servers stay for a while, and those of living servers for as long as they live."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qa.errors import HostError
from qa.operations.sessions import KEPT_DAYS, file_name, new_folder, session_folder


def age(folder: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(folder, (then, then))


def test_a_session_has_a_folder_of_its_own_that_stays(tmp_path: Path) -> None:
    with session_folder(tmp_path / "sessions") as one, session_folder(tmp_path / "sessions") as other:
        assert one != other
        assert one.stat().st_mode & 0o777 == 0o700
    assert one.is_dir()


def test_old_folders_go_and_those_of_living_servers_stay(tmp_path: Path) -> None:
    with session_folder(tmp_path) as old, session_folder(tmp_path) as young:
        pass
    (tmp_path / "not-ours").mkdir()
    (tmp_path / "link").symlink_to(young)
    age(old, KEPT_DAYS + 1)
    age(young, KEPT_DAYS - 1)
    age(tmp_path / "not-ours", 400)
    with session_folder(tmp_path) as living:
        age(living, 400)
        with session_folder(tmp_path) as new:
            assert {folder.name for folder in tmp_path.iterdir()} == {young.name, living.name, new.name, "not-ours", "link"}


def test_where_no_folder_can_be_made_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="no folder for the machines' logs"), session_folder(tmp_path / "file" / "x"):
        pass


def test_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    assert [new_folder(tmp_path, "web").name for _ in range(3)] == ["web", "web.2", "web.3"]


@pytest.mark.parametrize(
    ("text", "name"), [("Claude Code/1.0", "Claude-Code-1.0"), ("../..", "client"), ("", "client"), ("ä", "client")]
)
def test_any_text_gives_a_name_of_a_file(text: str, name: str) -> None:
    assert file_name(text) == name
