"""The single file finds a place to unpack itself, or says in two lines why there is none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from zipapps import as_build, make_archive

from qa.zipapp import cache, place
from qa.zipapp.place import CannotStart, make_private, places, unpacked

TEMPORARY = ("/tmp/anima-qa-{uid}/zipapp", "/var/tmp/anima-qa-{uid}/zipapp")


@pytest.fixture
def archive(tmp_path: Path) -> str:
    return make_archive(tmp_path / "app.pyz")


@pytest.mark.parametrize(
    ("environment", "home", "expected"),
    [
        ({}, "/home/a", ["/home/a/.cache/anima-qa/zipapp", *TEMPORARY]),
        ({"XDG_CACHE_HOME": "/c"}, "/home/a", ["/c/anima-qa/zipapp", *TEMPORARY]),
        ({"XDG_CACHE_HOME": "relative"}, "/home/a", ["/home/a/.cache/anima-qa/zipapp", *TEMPORARY]),
        ({"TMPDIR": "/t"}, "~", ["/t/anima-qa-{uid}/zipapp", *TEMPORARY]),
        ({"TMPDIR": "relative"}, "~", [*TEMPORARY]),
        ({"ANIMA_QA_HOME": "/q", "XDG_CACHE_HOME": "/c"}, "/home/a", ["/q/cache/zipapp"]),
        ({"ANIMA_QA_HOME": ""}, "/home/a", ["/home/a/.cache/anima-qa/zipapp", *TEMPORARY]),
    ],
)
def test_the_places_best_first(environment: dict[str, str], home: str, expected: list[str]) -> None:
    assert [root for root, _ in places(environment, home)] == [one.format(uid=os.getuid()) for one in expected]


def test_the_cache_is_where_the_program_has_its_own(home: object, archive: str, tmp_path: Path) -> None:
    found = unpacked(archive, {"ANIMA_QA_HOME": str(tmp_path / "q")}, "/nowhere")
    assert found == f"{tmp_path}/q/cache/zipapp/{cache.entry_name()}/site-packages"
    assert Path(found, "one.py").exists()


def test_a_home_that_cannot_be_used_is_passed_over(archive: str, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    found = unpacked(archive, {"TMPDIR": str(tmp_path)}, str(tmp_path / "home"))
    assert found.startswith(f"{tmp_path}/anima-qa-{os.getuid()}/zipapp/")
    assert (tmp_path / f"anima-qa-{os.getuid()}").stat().st_mode & 0o777 == 0o700


def test_a_home_that_can_only_be_read_is_no_hindrance_once_it_has_the_files(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = unpacked(archive, {}, str(tmp_path))

    def refuse(*_: object) -> int:
        raise AssertionError("nothing needs to be unpacked")

    monkeypatch.setattr(cache, "unpack", refuse)
    assert unpacked(archive, {}, str(tmp_path)) == first


def test_a_temporary_folder_that_is_gone_is_passed_over(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "TEMPORARY", ("/proc/none", str(tmp_path)))
    found = unpacked(archive, {"TMPDIR": f"{tmp_path}/gone"}, "/proc/none")
    assert found.startswith(f"{tmp_path}/anima-qa-{os.getuid()}/zipapp/")


def test_where_no_place_is_left_all_are_named(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "TEMPORARY", ())
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart) as caught:
        unpacked(archive, {"TMPDIR": f"{tmp_path}/file"}, f"{tmp_path}/file")
    first, second = str(caught.value).splitlines()
    assert first.startswith("error: anima-qa cannot unpack itself: ")
    assert first.count("Not a directory") == 2
    assert second.startswith("  -> let ANIMA_QA_HOME name a folder")


def test_the_folder_that_was_asked_for_is_the_only_one(archive: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="Not a directory"):
        unpacked(archive, {"ANIMA_QA_HOME": f"{tmp_path}/file", "TMPDIR": str(tmp_path)}, str(tmp_path))
    assert not (tmp_path / f"anima-qa-{os.getuid()}").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_to_free(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "unpack", full)
    with pytest.raises(CannotStart, match=r"no space left to unpack anima-qa in .*/zipapp\n  -> free \d+ MB there"):
        unpacked(archive, {}, str(tmp_path))


def test_a_damaged_file_says_to_copy_it_again(tmp_path: Path) -> None:
    (tmp_path / "app.pyz").write_bytes(b"no archive")
    with pytest.raises(CannotStart, match=r"app\.pyz is damaged: .*\n  -> copy it again"):
        unpacked(str(tmp_path / "app.pyz"), {}, str(tmp_path))


def test_a_file_system_that_forbids_programs_is_passed_over(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mounted:
        f_flag = os.ST_NOEXEC

    real = os.statvfs
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(os, "statvfs", lambda path: Mounted if str(path).startswith(str(home)) else real(path))
    assert unpacked(archive, {"TMPDIR": str(tmp_path)}, str(home)).startswith(f"{tmp_path}/anima-qa-")
    assert list(home.iterdir()) == []


def test_so_is_one_that_came_to_forbid_them_after_it_was_filled(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert unpacked(archive, {}, str(home)).startswith(str(home))
    real = os.statvfs
    forbids = SimpleNamespace(f_flag=os.ST_NOEXEC)
    monkeypatch.setattr(os, "statvfs", lambda path: forbids if str(path).startswith(str(home)) else real(path))
    assert unpacked(archive, {"TMPDIR": str(tmp_path)}, str(home)).startswith(f"{tmp_path}/anima-qa-")


@pytest.mark.parametrize("trap", ["a link", "open to others", "a file"])
def test_a_folder_that_others_prepared_in_a_shared_place_is_refused(tmp_path: Path, trap: str) -> None:
    folder = tmp_path / "anima-qa-0"
    match trap:
        case "a link":
            (tmp_path / "theirs").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "theirs")
        case "open to others":
            folder.mkdir()
            folder.chmod(0o777)
        case _:
            folder.touch(mode=0o600)
    with pytest.raises(PermissionError):
        make_private(str(folder))


def test_our_own_private_folder_is_taken_again(tmp_path: Path) -> None:
    make_private(str(tmp_path / "ours"))
    make_private(str(tmp_path / "ours"))


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of another user."""
    home = tmp_path / "theirs"
    home.mkdir()
    real = os.stat

    def stat(path: str, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:4], 4242, *found[5:])) if str(path).startswith(str(home)) else found

    monkeypatch.setattr(place.os, "stat", stat)
    return home


def test_a_home_of_somebody_else_is_neither_trusted_nor_written_to(
    theirs: Path, archive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = unpacked(archive, {"TMPDIR": str(tmp_path)}, str(theirs))
    assert found.startswith(f"{tmp_path}/anima-qa-{os.getuid()}/zipapp/")
    assert list(theirs.iterdir()) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"anima-qa: {theirs} belongs to another user, so the program is unpacked in {Path(found).parents[1]}"


def test_nor_is_a_cache_of_somebody_else_where_one_was_asked_for(theirs: Path, archive: str) -> None:
    (theirs / "cache/zipapp").mkdir(parents=True)
    with pytest.raises(CannotStart, match="zipapp: it belongs to another user"):
        unpacked(archive, {"ANIMA_QA_HOME": str(theirs)}, "/nowhere")


@pytest.mark.parametrize("moved", ["~nobody-of-that-name", "~nobody-of-that-name/folder"])
def test_a_home_of_a_user_who_is_not_there(archive: str, moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotStart, match=f"ANIMA_QA_HOME is {moved}, and the home folder of that user is not known"):
        unpacked(archive, {"ANIMA_QA_HOME": moved}, "/nowhere")
    assert {path.name for path in tmp_path.iterdir()} <= {"app.pyz", "home"}


def test_a_relative_home_in_a_folder_that_is_gone(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(CannotStart, match=r"the current folder, where that would be, is gone\n  -> change to a folder"):
        unpacked(archive, {"ANIMA_QA_HOME": "q"}, "/nowhere")


def test_the_room_that_is_asked_for_is_what_unpacking_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "UNPACKED", 123_400_000)
    assert place.needed() == "130 MB"


def test_all_places_are_cleaned_but_links(archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    unused = [unpacked(archive, {"TMPDIR": str(tmp_path)}, home) for home in (str(tmp_path), "/proc/none")]
    as_build(monkeypatch, "0")  # as the program's own copy
    assert place.clean({"TMPDIR": str(tmp_path)}, str(tmp_path)) == []  # this process runs from them
    for held in Path("/proc/self/fd").iterdir():
        if held.is_symlink() and str(held.readlink()).startswith(str(tmp_path)):
            os.close(int(held.name))
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "cache").mkdir()
    (shared / "cache/zipapp").symlink_to(Path(unused[0]).parents[1])
    assert place.clean({"ANIMA_QA_HOME": str(shared)}, "/nowhere") == []
    removed = [path for path, _ in place.clean({"TMPDIR": str(tmp_path)}, str(tmp_path))]
    assert removed == [str(Path(folder).parent) for folder in unused]
    assert place.clean({"ANIMA_QA_HOME": "~nobody-of-that-name"}, "/nowhere") == []
