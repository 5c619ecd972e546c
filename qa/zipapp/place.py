"""Where the single file unpacks itself: in the user's cache, else in a private folder of the temporary one."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from . import cache
from .facts import UNPACKED

FULL = {errno.ENOSPC, errno.EDQUOT}
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 -- `make_private` looks at whose a folder there is


class Foreign(PermissionError):
    """A place belongs to another user, who could change what we run; or who could not use it after us."""


class CannotStart(Exception):
    """Two lines for the person: what is wrong, and what to do."""


def unpacked(archive: str, environment: Mapping[str, str], home: str) -> str:
    """The folder with the program's modules; it stays there for as long as this process lives.

    Raises:
        CannotStart: there is no place for it, or the archive is damaged.
    """
    refusals: list[str] = []
    foreign = ""
    for root, check in places(environment, home):
        try:
            check()
            refuse_noexec(root)
            if cache.hold(f"{root}/{cache.entry_name()}") is None:
                cache.unpack(archive, root)
            else:
                cache.tidy(root)
        except cache.Replaced as error:
            raise CannotStart(f"error: the file {archive} was replaced while it started\n  -> start it again") from error
        except cache.Damaged as error:
            raise CannotStart(
                f"error: the file {archive} is damaged: {error}\n  -> copy it again, and compare its SHA-256"
            ) from error
        except OSError as error:
            if error.errno in FULL:
                raise CannotStart(
                    f"error: no space left to unpack anima-qa in {root}\n"
                    f"  -> free {needed()} there, or let ANIMA_QA_HOME name a folder on another file system"
                ) from error
            refusals.append(f"{error.filename or root}: {error.strerror or error}")
            if isinstance(error, Foreign):
                foreign = str(error.filename)
        else:
            if foreign and sys.stderr:
                sys.stderr.write(f"anima-qa: {foreign} belongs to another user, so the program is unpacked in {root}\n")
            return f"{root}/{cache.entry_name()}/{cache.PREFIX.rstrip('/')}"
    raise CannotStart(
        f"error: anima-qa cannot unpack itself: {'; '.join(refusals)}\n"
        "  -> let ANIMA_QA_HOME name a folder that you can write to, on a file system that is not mounted noexec"
    )


def clean(environment: Mapping[str, str], home: str = "") -> list[tuple[str, int]]:
    """Remove what no process runs from, in all places; those removed, with their sizes in bytes. What is not ours alone is left
    alone, and so is a place that is a link: it is somebody's arrangement.
    """
    removed = []
    with suppress(CannotStart):
        for root, check in places(environment, home or os.path.expanduser("~")):
            with suppress(OSError):
                if os.path.isdir(root) and not os.path.islink(root):
                    check()
                    removed += cache.clean(root)
    return removed


def needed() -> str:
    """The room that unpacking takes, in tens of megabytes."""
    return f"{-(-UNPACKED // 10_000_000) * 10} MB"


def places(environment: Mapping[str, str], home: str) -> list[tuple[str, Callable[[], None]]]:
    """Where folders may lie, best first, each with what sees to it that it is ours alone.

    Raises:
        CannotStart: the place that was asked for has no name.
    """
    if moved := environment.get("ANIMA_QA_HOME"):
        root = f"{_absolute(moved)}/cache/zipapp"
        return [(root, partial(refuse_foreign, root))]
    cache_home = environment.get("XDG_CACHE_HOME", "")
    base = cache_home if os.path.isabs(cache_home) else home
    own = cache_home if base == cache_home else f"{home}/.cache"
    found: list[tuple[str, Callable[[], None]]] = []
    if os.path.isabs(own):
        root = f"{own}/anima-qa/zipapp"
        found.append((root, lambda: refuse_foreign(base, nearest(root))))
    temporary = [folder for folder in (environment.get("TMPDIR", ""), *TEMPORARY) if os.path.isabs(folder)]
    for folder in dict.fromkeys(temporary):
        private = f"{folder}/anima-qa-{os.geteuid()}"
        found.append((f"{private}/zipapp", partial(make_private, private)))
    return found


def _absolute(moved: str) -> str:
    path = os.path.expanduser(moved)
    if path.startswith("~"):
        raise CannotStart(
            f"error: ANIMA_QA_HOME is {moved}, and the home folder of that user is not known\n  -> let it name a folder"
        )
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise CannotStart(
            f"error: ANIMA_QA_HOME is {moved}, and the current folder, where that would be, is gone\n"
            "  -> change to a folder that is there, or let ANIMA_QA_HOME begin with /"
        ) from error


def nearest(folder: str) -> str:
    """The folder, or the nearest above it that is there."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def refuse_foreign(*folders: str) -> None:
    """Let nobody but root choose what we run; and let root not take a place that its user has to write to later (``sudo``).

    Raises:
        Foreign: one of the folders belongs to somebody else.
    """
    for folder in folders:
        try:
            owner = os.stat(folder).st_uid
        except OSError:
            continue
        if owner not in {0, os.geteuid()}:
            raise Foreign(errno.EPERM, "it belongs to another user", folder)


def make_private(folder: str) -> None:
    """Make a folder in a place where others can write too, or see that it is ours alone.

    Raises:
        OSError: it cannot be made, or somebody else could write to it.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        there = os.lstat(folder)
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or stat.S_IMODE(there.st_mode) & 0o077:
            raise PermissionError(errno.EPERM, "it belongs to somebody else, or others may look into it", folder) from None


def refuse_noexec(root: str) -> None:
    """Extension modules cannot be loaded from a file system that is mounted noexec.

    Raises:
        OSError: ``root`` is, or would be, on one.
    """
    there = nearest(root)
    if os.statvfs(there).f_flag & os.ST_NOEXEC:
        raise PermissionError(errno.EACCES, "the file system is mounted noexec", there)
