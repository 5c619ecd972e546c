"""New image files: complete under their name, or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qa.errors import HostError, ImageError, NoSpace, UsageError
from qa.places import is_file, is_folder, is_there

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


@asynccontextmanager
async def new_file(target: Path, *, replace: bool = False) -> AsyncIterator[Path]:
    """A path beside ``target`` for a file that gets its name when the block ends well. Else nothing of it is left.

    Args:
        replace: take the place of a file that is there.

    Raises:
        UsageError: there is something else, or a file that is not to be replaced.
        NoSpace: the disk is full.
        HostError: the folder cannot be written to.
    """
    target = target.absolute()
    _check_target(target, replace)
    _sweep(target)
    part = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield part
        await asyncio.to_thread(_onto_disk, part)
        _put(part, target, replace)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _check_target(target: Path, replace: bool) -> None:
    if not is_folder(target.parent):
        raise UsageError(f"there is no folder {target.parent}", hint="make it first")
    taken = is_there(target)
    if target.is_symlink():
        raise UsageError(f"{target} is a link", hint="name the file that it leads to, or another one")
    if taken and not is_file(target):
        raise UsageError(f"{target} is a folder or a device, and an image is a file", hint="name a file")
    if taken and not replace:
        raise UsageError(f"there is a file {target} already", hint="name another one, or say that it is to be replaced")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise HostError(f"{target.parent} cannot be written to", hint="name a folder that is yours")


def _sweep(target: Path) -> None:
    """Remove what a killed process left of the same file."""
    for left in target.parent.glob(f".{_literal(target.name)}.*-*.part"):
        process = left.name.rsplit(".", 2)[-2].partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            with contextlib.suppress(OSError):
                left.unlink()


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _onto_disk(part: Path) -> None:
    with part.open("rb") as stream:
        os.fsync(stream.fileno())


def _put(part: Path, target: Path, replace: bool) -> None:
    if replace:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)  # unlike a rename it replaces nothing that has appeared meanwhile
    except FileExistsError:
        raise UsageError(f"a file {target} has appeared meanwhile", hint="look at it, or name another one") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        part.replace(target)


def _cannot_write(target: Path, error: OSError) -> HostError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(f"no space is left for {target}", hint="free some, or name another disk")
    return ImageError(f"{target} cannot be written: {error.strerror or error}", hint="name a folder that is yours")
