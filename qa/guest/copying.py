"""Files and folders to and from a guest, as tar streams over any channel: modes and times come along."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from qa.deadline import Deadline
from qa.errors import CheckFailed, DeadlineExceeded, NoSpace, QaError, UsageError
from qa.guest.channel import Channel, CommandResult
from qa.places import followed, is_dead_link, is_folder, is_there, place

if sys.version_info >= (3, 12):
    import tarfile
else:
    from backports import tarfile


async def copy_to(channel: Channel, source: Path, target: str, deadline: Deadline) -> None:
    """Copy ``source`` of this host to ``target`` in the guest.

    A target that ends with ``/``, or an existing folder when the source is a file, is the folder that it is put into;
    otherwise it is the copy's own path. A folder's content joins what an existing target folder has.

    A source that is a symbolic link means what it leads to.

    Raises:
        UsageError: there is no such file on this host.
        CheckFailed: the guest refused it; with its words.
    """
    if not is_there(source):
        raise UsageError(f"{source} does not exist on this host")
    if is_folder(source):
        into, member = (target + source.name if target.endswith("/") else target), "."
    elif target.endswith("/") or (await channel.run(f"[ -d {shlex.quote(target)} ]", limit=deadline.remaining)).exit_code == 0:
        into, member = target, source.name
    else:
        path = PurePosixPath(target)
        into, member = str(path.parent), path.name
    with tempfile.TemporaryFile(prefix="anima-qa-copy-") as spool:
        pack = cast("BinaryIO", spool)
        try:
            await asyncio.to_thread(_pack, source, member, pack)
        except OSError as error:
            raise UsageError(f"{error.filename or source} cannot be read: {error.strerror or error}") from error
        pack.seek(0)
        command = f"mkdir -p -- {shlex.quote(into)} && tar -xpf - -C {shlex.quote(into)}"
        result = await channel.run(command, limit=deadline.remaining, stdin=pack)
    _expect_success(result, f"{source} could not be copied to {target} in the guest", deadline)


def _pack(source: Path, member: str, spool: BinaryIO) -> None:
    with tarfile.open(fileobj=spool, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(source.resolve(), arcname=member, filter=_owned_by_root)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def landing(folder: Path, target: str | Path, source: str) -> Path:
    """What a copy of ``source`` of a guest will be on this host: all links and ``..`` are followed here, so that who judges the
    path and who makes the copy mean the same, whatever comes into being on the way there.

    Args:
        folder: where a relative target begins, and where the copy's machine leaves what it leaves.
        target: the copy itself. An existing folder is what it is put into, and so is a text that ends with ``/``.

    Raises:
        UsageError: source or target is none, or the copy would replace a folder that we are in.
    """
    name, around = _name_of(source), followed(folder)
    final = _end_of(place(folder, target), around)
    if str(target).endswith("/") or is_folder(final):
        final = _end_of(final / name, around)
    if any(here.is_relative_to(final) for here in (around, *_current_folder())):
        raise UsageError(f"{final} cannot be replaced by a copy: this program works in it", hint="copy it to another place")
    return folder / final.relative_to(around) if final.is_relative_to(around) else final


def _end_of(path: Path, around: Path) -> Path:
    """Where ``path`` leads. A link in ``around`` that leads nowhere is the copy of one, and replaced as others are."""
    spot = followed(path.parent) / path.name
    return spot if spot.is_relative_to(around) and is_dead_link(spot) else followed(path)


def _name_of(source: str) -> str:
    name = PurePosixPath(source).name
    if not name or name == "..":
        raise UsageError(f"{source!r} names no file or folder", hint="name one in the guest, such as /var/log")
    return name


def _current_folder() -> tuple[Path, ...]:
    try:
        return (Path.cwd(),)
    except FileNotFoundError:  # it is gone
        return ()


async def copy_from(channel: Channel, source: str, final: Path, deadline: Deadline) -> list[str]:
    """Copy ``source`` of the guest, so that it is ``final`` on this host; what is there is replaced.

    A source that is a symbolic link means what it leads to. What the guest sends is not trusted: members that would lead out
    of the copy, and devices, are left out. Their names are returned.

    Raises:
        CheckFailed: it does not exist there, or what came is no archive.
        NoSpace: this host's disk is full.
    """
    _name_of(source)
    command = (
        f'p=$(readlink -f -- {shlex.quote(source)}) && [ -e "$p" ] || p={shlex.quote(source)}; '
        'd=${p%/*}; [ "$d" != "$p" ] || d=.; cd "${d:-/}" && tar -cf - -- "${p##*/}"'
    )
    left_out: list[str] = []
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".anima-qa-copy-", dir=final.parent) as folder_name:
            out = Path(folder_name) / "out"
            with (Path(folder_name) / "tar").open("w+b") as spool:
                sink = _Sink(spool)
                result = await channel.run(command, limit=deadline.remaining, sink=sink)
                if sink.error:
                    raise sink.error
                _expect_success(result, f"{source} could not be copied from the guest", deadline)
                spool.seek(0)
                await asyncio.to_thread(_unpack, spool, out, left_out)
            copies = list(out.iterdir()) if out.is_dir() else []
            if len(copies) != 1:
                raise CheckFailed(f"what the guest sent for {source} has {len(copies)} files at its top, and not one")
            _put_in_place(copies[0], final)
    except tarfile.TarError as error:
        raise CheckFailed(f"what the guest sent for {source} is no archive: {error}") from error
    except OSError as error:
        raise _host_error(error, final) from error
    return left_out


def _unpack(spool: BinaryIO, folder: Path, left_out: list[str]) -> None:
    def safe(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            found = tarfile.data_filter(member, path)
        except tarfile.FilterError:
            left_out.append(member.name)
            return None
        if found.isdir() or found.isreg():  # the filter takes more of the modes than what could harm: set-id bits
            found = found.replace(mode=member.mode & 0o777 | (0o700 if found.isdir() else 0o600), deep=False)
        return found

    with tarfile.open(fileobj=spool, mode="r:") as archive:
        archive.extractall(folder, filter=safe)  # noqa: S202 -- the filter judges each member


class _Sink:
    """Writes what comes, and keeps the first error for later: the reader of the channel must go on."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self.error: OSError | None = None

    def __call__(self, data: bytes) -> None:
        if self.error is None:
            try:
                self._spool.write(data)
            except OSError as error:
                self.error = error


def _put_in_place(copy: Path, final: Path) -> None:
    if final.is_dir() and not final.is_symlink():
        shutil.rmtree(final)
    os.replace(copy, final)  # noqa: PTH105 -- Path.replace does the same and reads as if it edited a text


def _host_error(error: OSError, target: Path) -> QaError:
    if error.errno == errno.ENOSPC:
        return NoSpace(f"no space is left for {target}")
    return UsageError(f"{target} cannot be written: {error.strerror or error}")


def _expect_success(result: CommandResult, message: str, deadline: Deadline) -> None:
    said = {"the guest said": result.stderr_text.strip() or f"(nothing; exit code {result.exit_code})"}
    if result.timed_out:
        raise DeadlineExceeded(f"{message} within {deadline.describe()}", evidence=said)
    if result.exit_code != 0:
        raise CheckFailed(message, evidence=said)
