"""The files of the single file, unpacked: one folder for each build and Python, made once, checked at each start.

Python cannot load extension modules out of an archive, and QEMU cannot read an image there. A folder is complete or not there:
it is filled under another name and renamed. Each process holds a shared lock on the folder that it runs from, which the kernel
drops when the process dies. Folders of other builds that nobody holds are removed, but for the one that was used last, if that
was lately: two versions that are used in turn need not unpack themselves each time.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from .facts import DIGEST, VERSION

CONTENTS = "contents"
"""The file in each folder that lists all others with their sizes, and that is locked."""

END = "end"
PREFIX = "site-packages/"
FACTS = "anima_qa_start/facts.py"
NEW, OLD = ".new-", ".old-"
MOST_THREADS = 4
"""That unpack. The disk is not faster for more."""

LATELY_S = 24 * 3600
"""How long the last used of the other builds is kept."""

_TAG = re.compile(r"\.cpython-(\d+)-[^/]*\.so$")
_ENTRY = re.compile(r".+-[0-9a-f]{16}-cp\d+$")


class Damaged(Exception):
    """The single file itself cannot be read."""


class Replaced(Exception):
    """Another build has taken the single file's place."""


def entry_name() -> str:
    """The folder of this build for this Python."""
    return f"{VERSION}-{DIGEST}-{_python()}"


def _python() -> str:
    return f"cp{sys.version_info[0]}{sys.version_info[1]}"


def hold(folder: str) -> int | None:
    """Lock the folder for as long as this process lives, and check that it has all its files; None if it is not usable."""
    try:
        descriptor = os.open(f"{folder}/{CONTENTS}", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if _is_whole(folder, descriptor):
        with suppress(OSError):  # a file system that can only be read
            os.utime(descriptor)
        return descriptor
    os.close(descriptor)
    return None


def _is_whole(folder: str, descriptor: int) -> bool:
    try:
        if not os.path.samestat(os.fstat(descriptor), os.stat(f"{folder}/{CONTENTS}")):
            return False  # it was replaced while we waited for the lock
        *lines, end = os.read(descriptor, os.fstat(descriptor).st_size).decode().splitlines()
        for line in lines:
            size, _, name = line.partition(" ")
            if os.stat(f"{folder}/{name}").st_size != int(size):
                return False
    except (OSError, ValueError):
        return False
    return end == END


def unpack(archive: str, root: str) -> int:
    """Make the folder of this build below ``root``, unless another process was quicker; the descriptor of `hold`.

    Raises:
        OSError: ``root`` cannot be written to, or is full. Nothing is left behind.
        Damaged, Replaced: the archive is.
    """
    folder = f"{root}/{entry_name()}"
    mask = os.umask(0o077)
    try:
        os.makedirs(root, exist_ok=True)
        guard = os.open(f"{root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if (held := hold(folder)) is None:
                _fill(archive, root, folder)
                held = hold(folder)
                _sweep(root, LATELY_S)
        finally:
            os.close(guard)
    finally:
        os.umask(mask)
    if held is None:
        raise OSError(0, "files that were just written are not there", folder)
    return held


def _fill(archive: str, root: str, folder: str) -> None:
    _remove_leftovers(root)
    fresh = f"{root}/{NEW}{os.getpid()}"
    os.mkdir(fresh)
    try:
        written = [f"{size} {name}" for name, size in _extract(archive, fresh)]
        with open(f"{fresh}/{CONTENTS}", "w", encoding="utf-8") as file:
            file.write("\n".join([*written, END, ""]))
        if os.path.lexists(folder):  # files were deleted from it, or cut short
            os.rename(folder, f"{root}/{OLD}{os.getpid()}")
        os.rename(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _extract(archive: str, folder: str) -> list[tuple[str, int]]:
    import zipfile

    def write(info: zipfile.ZipInfo) -> None:
        with packed.open(info) as source, open(f"{folder}/{info.filename}", "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    try:
        with zipfile.ZipFile(archive) as packed:
            if f'DIGEST = "{DIGEST}"\n'.encode() not in packed.read(FACTS):
                raise Replaced(archive)
            files = [info for info in packed.infolist() if wanted(info.filename)]
            for parent in {os.path.dirname(info.filename) for info in files}:
                os.makedirs(f"{folder}/{parent}", exist_ok=True)
            _in_threads([partial(write, info) for info in files])
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise Damaged(str(error)) from error
    return [(info.filename, info.file_size) for info in files]


def _in_threads(pieces: list[Callable[[], None]]) -> None:
    """Do ``pieces`` of work on several processors, since zlib lets other threads run. An error ends all; it is raised when none
    of them is at work any more.
    """
    import threading

    left = iter(pieces)
    errors: list[BaseException] = []

    def go() -> None:
        try:
            for piece in left:
                if errors:
                    return
                piece()
        except BaseException as error:
            errors.append(error)

    threads = []
    with suppress(RuntimeError):  # this user may have no more threads: one is enough
        for _ in range(min(os.cpu_count() or 1, MOST_THREADS) - 1):
            thread = threading.Thread(target=go)
            thread.start()
            threads.append(thread)
    go()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def wanted(name: str, python: str | None = None) -> bool:
    """Whether this Python has a use for a file of the archive: extension modules of other versions stay packed."""
    if not name.startswith(PREFIX):
        return False
    tag = _TAG.search(name)
    return tag is None or f"cp{tag[1]}" == (python or _python())


def tidy(root: str) -> None:
    """At a start that needs not unpack: remove what is left of other builds, unless somebody else is at work here."""
    with suppress(OSError):
        if any(_is_of_another_build(name) for name in os.listdir(root)):
            clean(root, LATELY_S)


def clean(root: str, lately_s: float = 0) -> list[tuple[str, int]]:
    """Remove the folders of other builds that no process runs from, but for the last used one if that was ``lately_s`` seconds
    ago or less; those removed, with their sizes in bytes. The copy of this module in the package is of no build: for it all are
    others.

    Raises:
        OSError: there is no such folder, or it cannot be written to.
    """
    guard = os.open(f"{root}/lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _sweep(root, lately_s)
    finally:
        os.close(guard)


def _is_of_another_build(name: str) -> bool:
    return _ENTRY.fullmatch(name) is not None and f"-{DIGEST}-" not in name


def _sweep(root: str, lately_s: float) -> list[tuple[str, int]]:
    """The lock of ``root`` is ours. Whatever cannot be removed stays: a start must not fail for it."""
    removed = []
    with suppress(OSError):
        names = [name for name in os.listdir(root) if _is_of_another_build(name)]
        used = {name: _used(f"{root}/{name}") for name in names}
        kept = {name for name in sorted(names, key=used.__getitem__)[-1:] if used[name] > time.time() - lately_s}
        for name in sorted({*names} - kept):
            size = _size(f"{root}/{name}")
            if _put_aside(root, name):
                removed.append((f"{root}/{name}", size))
        _remove_leftovers(root)
    return removed


def _used(folder: str) -> float:
    try:
        return os.stat(f"{folder}/{CONTENTS}").st_mtime
    except OSError:
        return 0


def _size(folder: str) -> int:
    return sum(os.lstat(os.path.join(parent, name)).st_blocks * 512 for parent, _, names in os.walk(folder) for name in names)


def _put_aside(root: str, name: str) -> bool:
    """Rename the folder of a build, unless a process runs from it. The lock is held until it has its new name: who waits for it,
    to run from there, sees then that the folder is gone.
    """
    folder = f"{root}/{name}"
    descriptor = None
    try:
        with suppress(FileNotFoundError):  # without its list nobody runs from it
            descriptor = os.open(f"{folder}/{CONTENTS}", os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(folder, f"{root}/{OLD}{name}")
    except OSError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def _remove_leftovers(root: str) -> None:
    """What a killed start left half done: the lock is ours, so nobody is at work on it."""
    for name in os.listdir(root):
        if name.startswith((NEW, OLD)):
            shutil.rmtree(f"{root}/{name}", ignore_errors=True)
