"""Where the single file unpacks itself: in the user's cache, else in a private folder of the temporary one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from . import cache

FULL = {errno.ENOSPC, errno.EDQUOT}
NEEDED = "100 MB"


class CannotStart(Exception):
    """Two lines for the person: what is wrong, and what to do."""


def unpacked(archive: str, environment: Mapping[str, str], home: str) -> str:
    """The folder with the program's modules; it stays there for as long as this process lives.

    Raises:
        CannotStart: there is no place for it, or the archive is damaged.
    """
    refusals = []
    for root, shared in places(environment, home):
        try:
            if shared:
                make_private(os.path.dirname(root))
            if cache.hold(f"{root}/{cache.entry_name()}") is None:
                refuse_noexec(root)
                cache.unpack(archive, root)
        except cache.Damaged as error:
            raise CannotStart(
                f"error: the file {archive} is damaged: {error}\n  -> copy it again, and compare its SHA-256"
            ) from error
        except OSError as error:
            if error.errno in FULL:
                raise CannotStart(
                    f"error: no space left to unpack anima-qa in {root}\n"
                    f"  -> free {NEEDED} there, or let ANIMA_QA_HOME name a folder on another file system"
                ) from error
            refusals.append(f"{error.filename or root}: {error.strerror or error}")
        else:
            return f"{root}/{cache.entry_name()}/{cache.PREFIX.rstrip('/')}"
    raise CannotStart(
        f"error: anima-qa cannot unpack itself: {'; '.join(refusals)}\n"
        "  -> let ANIMA_QA_HOME name a folder that you can write to, on a file system that is not mounted noexec"
    )


def places(environment: Mapping[str, str], home: str) -> list[tuple[str, bool]]:
    """Where folders may lie, best first, and whether the place is shared with other users."""
    if moved := environment.get("ANIMA_QA_HOME"):
        return [(os.path.abspath(os.path.expanduser(moved)) + "/cache/zipapp", False)]
    cache_home = environment.get("XDG_CACHE_HOME", "")
    own = cache_home if os.path.isabs(cache_home) else f"{home}/.cache"
    temporary = environment.get("TMPDIR", "")
    shared = temporary if os.path.isabs(temporary) else "/tmp"  # noqa: S108 -- `make_private` looks at whose it is
    found = [(f"{shared}/anima-qa-{os.getuid()}/zipapp", True)]
    return [(f"{own}/anima-qa/zipapp", False), *found] if os.path.isabs(own) else found


def make_private(folder: str) -> None:
    """Make a folder in a place where others can write too, or see that it is ours alone.

    Raises:
        OSError: it cannot be made, or somebody else could write to it.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        there = os.lstat(folder)
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or stat.S_IMODE(there.st_mode) & 0o077:
            raise PermissionError(errno.EPERM, "it belongs to somebody else, or others may look into it", folder) from None


def refuse_noexec(root: str) -> None:
    """Extension modules cannot be loaded from a file system that is mounted noexec.

    Raises:
        OSError: ``root`` is, or would be, on one.
    """
    there = root
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if os.statvfs(there).f_flag & os.ST_NOEXEC:
        raise PermissionError(errno.EACCES, "the file system is mounted noexec", there)
