"""Unpacking is done once, whole or not at all, whatever happens to it; old builds go, unless they run."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from zipapps import FILES, HERE, OTHER, as_build, make_archive, names

from qa.zipapp import cache

TOP = Path(__file__).parents[2]


@pytest.fixture
def archive(tmp_path: Path) -> str:
    return make_archive(tmp_path / "app.pyz")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "zipapp"


def folder(root: Path) -> Path:
    return root / cache.entry_name()


def start(archive: str, root: Path) -> int:
    """As a start does it: the descriptor of the lock."""
    held = cache.hold(str(folder(root)))
    return cache.unpack(archive, str(root)) if held is None else held


def test_the_first_start_unpacks_what_this_python_needs(archive: str, root: Path) -> None:
    start(archive, root)
    site = folder(root) / "site-packages"
    assert (site / "package/two.py").read_bytes() == b"TWO = 2\n"
    assert (site / f"fast.cpython-{HERE}-x86_64-linux-gnu.so").exists()
    assert not (site / f"fast.cpython-{OTHER}-x86_64-linux-gnu.so").exists()
    assert not (folder(root) / "__main__.py").exists()
    assert names(root) == {cache.entry_name()}


def test_a_later_start_needs_no_archive(archive: str, root: Path) -> None:
    os.close(start(archive, root))
    Path(archive).unlink()
    assert start(archive, root) >= 0


def test_nobody_else_can_read_what_was_unpacked_whatever_the_umask(archive: str, root: Path) -> None:
    before = os.umask(0o777)
    try:
        start(archive, root)
        assert os.umask(0o777) == 0o777  # left as it was
    finally:
        os.umask(before)
    assert root.stat().st_mode & 0o777 == 0o700
    assert (folder(root) / "site-packages/one.py").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("harm", ["deleted", "cut short", "the list is gone", "the list is cut short", "the list is empty"])
def test_what_is_damaged_is_unpacked_again(archive: str, root: Path, harm: str) -> None:
    os.close(start(archive, root))
    module, contents = folder(root) / "site-packages/one.py", folder(root) / cache.CONTENTS
    match harm:
        case "deleted":
            module.unlink()
        case "cut short":
            module.write_bytes(b"ONE")
        case "the list is gone":
            contents.unlink()
        case "the list is cut short":
            contents.write_bytes(contents.read_bytes()[:-5])
        case _:
            contents.write_bytes(b"")
    assert cache.hold(str(folder(root))) is None
    os.close(start(archive, root))
    assert module.read_bytes() == FILES["site-packages/one.py"]
    assert names(root) == {cache.entry_name()}


def test_modules_that_python_compiled_do_no_harm(archive: str, root: Path) -> None:
    os.close(start(archive, root))
    compiled = folder(root) / "site-packages/__pycache__"
    compiled.mkdir()
    (compiled / "one.pyc").write_bytes(b"")
    assert cache.hold(str(folder(root))) is not None


def used_long_ago(entry: Path) -> None:
    os.utime(entry / cache.CONTENTS, times=(0, 0))


def test_a_new_build_removes_the_old_one(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    os.close(start(archive, root))
    used_long_ago(folder(root))
    as_build(monkeypatch, "b")
    start(archive, root)
    assert names(root) == {cache.entry_name()}


def test_two_builds_that_are_used_in_turn_stay_and_no_third(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for build in "abcbc":
        as_build(monkeypatch, build)
        os.close(start(archive, root))
        cache.tidy(str(root))
    assert {name.split("-")[1][0] for name in names(root)} == {"b", "c"}
    used_long_ago(next(root.glob("*-bbb*")))
    cache.tidy(str(root))
    assert names(root) == {cache.entry_name()}


def test_each_start_is_a_use(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    os.close(start(archive, root))
    old = folder(root)
    used_long_ago(old)
    os.close(start(archive, root))
    as_build(monkeypatch, "b")
    start(archive, root)
    assert names(root) == {old.name, cache.entry_name()}


def test_what_cannot_be_removed_fails_no_start(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    old = cache.entry_name()
    os.close(start(archive, root))
    used_long_ago(folder(root))
    as_build(monkeypatch, "b")
    real = os.rename

    def rename(source: str, target: str) -> None:
        if old in source:
            raise PermissionError(errno.EACCES, "Permission denied", source)
        real(source, target)

    monkeypatch.setattr(cache.os, "rename", rename)
    start(archive, root)
    cache.tidy(str(root))
    cache.tidy("/proc/none")
    assert names(root) == {old, cache.entry_name()}


def test_all_that_no_process_runs_from_can_be_removed(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    running, old = start(archive, root), cache.entry_name()
    as_build(monkeypatch, "b")
    os.close(start(archive, root))
    unused = folder(root)
    monkeypatch.undo()
    ((removed, size),) = cache.clean(str(root))
    assert (removed, size > 0, names(root)) == (str(unused), True, {old})
    os.close(running)


def test_a_build_is_locked_until_it_has_gone(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that comes while its folder is being removed waits, and sees that it is gone."""
    os.close(start(archive, root))
    entry = folder(root)
    real = os.rename

    def rename(source: str, target: str) -> None:
        with (entry / cache.CONTENTS).open() as contents, pytest.raises(BlockingIOError):
            fcntl.flock(contents, fcntl.LOCK_SH | fcntl.LOCK_NB)
        real(source, target)

    monkeypatch.setattr(cache.os, "rename", rename)
    as_build(monkeypatch, "b")
    assert [Path(path) for path, _ in cache.clean(str(root))] == [entry]


def test_an_old_build_that_runs_stays_until_it_has_ended(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_build(monkeypatch, "a")
    old, running = cache.entry_name(), start(archive, root)
    used_long_ago(folder(root))
    as_build(monkeypatch, "b")
    os.close(start(archive, root))
    assert names(root) == {old, cache.entry_name()}
    os.close(running)
    cache.tidy(str(root))
    assert names(root) == {cache.entry_name()}


def test_the_same_build_for_another_python_stays(archive: str, root: Path) -> None:
    os.close(start(archive, root))
    other = root / cache.entry_name().replace(f"cp{HERE}", f"cp{OTHER}")
    folder(root).rename(other)
    start(archive, root)
    assert names(root) == {other.name, cache.entry_name()}


def test_what_is_not_ours_stays(archive: str, root: Path) -> None:
    (root / "my notes").mkdir(parents=True)
    start(archive, root)
    assert names(root) == {"my notes", cache.entry_name()}


def test_what_a_killed_start_left_is_swept(archive: str, root: Path) -> None:
    for name in (f"{cache.NEW}1", f"{cache.OLD}2"):
        (root / name / "site-packages").mkdir(parents=True)
    start(archive, root)
    assert names(root) == {cache.entry_name()}


KILLED = """
import os, sys
from qa.zipapp import cache
real = cache.shutil.copyfileobj
def copy(*arguments):
    real(*arguments)
    os.kill(os.getpid(), 9)
cache.shutil.copyfileobj = copy
cache.unpack(*sys.argv[1:])
"""


def test_a_start_that_is_killed_while_it_unpacks_hinders_nobody(archive: str, root: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, archive, str(root)], cwd=TOP, check=False)
    assert killed.returncode == -9
    assert [name.startswith(cache.NEW) for name in names(root)] == [True]
    start(archive, root)
    assert names(root) == {cache.entry_name()}


def test_of_many_first_starts_at_once_one_unpacks(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = []
    real = cache._fill
    monkeypatch.setattr(cache, "_fill", lambda *arguments: (filled.append(1), real(*arguments)))
    together = threading.Barrier(8)
    held: list[int] = []

    def one() -> None:
        together.wait()
        held.append(start(archive, root))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(filled)) == (8, 1)
    assert names(root) == {cache.entry_name()}


def test_a_full_disk_leaves_nothing_behind(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        start(archive, root)
    assert names(root) == set()


def test_a_file_that_another_build_has_replaced_is_not_unpacked_under_the_old_name(
    archive: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "DIGEST", "0123456789abcdef")
    with pytest.raises(cache.Replaced):
        start(archive, root)
    assert names(root) == set()


def test_a_user_who_may_have_no_more_threads_unpacks_in_one(archive: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", none_left)
    start(archive, root)
    assert names(root) == {cache.entry_name()}


def test_a_damaged_archive_is_told_from_a_bad_disk(archive: str, root: Path) -> None:
    content = bytearray(Path(archive).read_bytes())
    content[content.index(b"one.py") + len("one.py") + 1] ^= 0xFF  # in the module's compressed text
    Path(archive).write_bytes(content)
    with pytest.raises(cache.Damaged):
        start(archive, root)
    assert names(root) == set()


def test_who_waited_for_a_folder_that_was_removed_unpacks_it_again(archive: str, root: Path) -> None:
    os.close(start(archive, root))
    shutil.copytree(folder(root), root / "copy")
    descriptor = os.open(folder(root) / cache.CONTENTS, os.O_RDONLY)
    shutil.rmtree(folder(root))
    (root / "copy").rename(folder(root))
    assert not cache._is_whole(str(folder(root)), descriptor)
    os.close(descriptor)
