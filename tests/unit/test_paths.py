"""The folders of this program, and what is said where it cannot be known where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa.errors import UsageError
from qa.paths import Paths


def test_folders_of_a_user() -> None:
    paths = Paths.from_environment({"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "relative"})
    assert (paths.state, paths.cache) == (Path("/s/anima-qa"), Path.home() / ".cache/anima-qa")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(UsageError, match="there is no home folder: HOME is not set") as caught:
        Paths.from_environment({})
    assert "ANIMA_QA_HOME" in str(caught.value.hint)
    own = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"}
    assert Paths.from_environment(own).cache == Path("/k/anima-qa")


def test_a_home_of_a_user_who_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"ANIMA_QA_HOME is ~nobody-\S+/x, and the home folder of that user is not known"):
        Paths.from_environment({"ANIMA_QA_HOME": "~nobody-of-that-name/x"})


def test_a_relative_home_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="the current folder, where that would be, is gone"):
        Paths.from_environment({"ANIMA_QA_HOME": "q"})
