"""Paths as users and agents write them: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qa.errors import UsageError
from qa.places import followed, is_dead_link, is_file, is_folder, is_there, look, place, read_path


def test_a_path_begins_in_its_folder_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/person")
    assert place(tmp_path, "a/b") == tmp_path / "a/b"
    assert place(tmp_path, "~/b") == Path("/person/b")
    assert place(tmp_path, "/b") == Path("/b")


@pytest.mark.parametrize("text", ["new/../b", "there/../b", "there/../new/./../b", "link/../../b"])
def test_a_path_means_the_same_before_and_after_what_is_on_its_way_comes_into_being(tmp_path: Path, text: str) -> None:
    (tmp_path / "there" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to("there/inside")
    before = place(tmp_path, text)
    (tmp_path / "new").mkdir()
    assert before == place(tmp_path, text) == tmp_path / "b"


def test_a_path_may_end_with_two_dots_and_a_last_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    assert place(tmp_path, "a/b/..") == tmp_path / "a"
    assert place(tmp_path, "a/../link") == tmp_path / "link"
    assert followed(tmp_path / "link") == tmp_path / "there"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("~nobody-of-that-name/x", "the home folder of ~nobody-of-that-name is not known"),
        ("~nobody-of-that-name", "the home folder of ~nobody-of-that-name is not known"),
        ("a\0b", r"a\x00b is no path of this host: it has a character"),
        ("~a\0b/c", "it has a character"),
        ("\ud800", r"\ud800 is no path"),
        ("b/" + "ü" * 128, "a name in it is longer than 255 bytes"),
    ],
)
def test_what_is_no_path_is_refused(tmp_path: Path, text: str, said: str) -> None:
    for read in (read_path, lambda one: place(tmp_path, one)):
        with pytest.raises(UsageError) as caught:
            read(text)
        assert said in caught.value.message
        assert caught.value.message.isprintable()
        assert caught.value.hint


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert (is_there(tmp_path / "file"), is_file(tmp_path / "file"), is_folder(tmp_path / "file")) == (True, True, False)
    assert (is_there(tmp_path), is_file(tmp_path), is_folder(tmp_path)) == (True, False, True)
    assert is_dead_link(tmp_path / "dangling")
    assert not any(is_dead_link(tmp_path / name) for name in ("file", "none", "a\0b", "."))
    for missing in ("none", "none/x", "file/x", "dangling"):
        assert look(tmp_path / missing) is None


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "circle", "circle/x"])
def test_where_it_cannot_be_told_what_is_there_it_is_said_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match=r"it cannot be told what .* is: \w+") as caught:
        is_there(tmp_path / name)
    assert len(caught.value.message) < 400


def test_a_folder_of_another_user_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(UsageError, match=r"it cannot be told what .*/x is: Permission denied"):
        is_folder(tmp_path / "x")
