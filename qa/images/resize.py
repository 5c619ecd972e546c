"""Images made larger, and smaller where no partition is cut off."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qa.errors import ImageError, ImageRefused, UsageError
from qa.images.partitions import HEAD, NoTable, Table, read_table
from qa.images.probe import Probe, probe
from qa.images.tools import ToolResult, require
from qa.sizes import format_size

RESIZABLE = ("raw", "qcow2")
"""What qemu-img can resize without making it anew."""

_UNIT = 512
_IN_USE = "another process using the image"


@dataclass(frozen=True)
class Resized:
    """What was done: bytes of the disk before and after."""

    before: int
    after: int


async def resize(path: Path, size: int, *, shrink: bool = False, kept: Sequence[Path] = ()) -> Resized:
    """Give the disk in the image file ``path`` another size, in place.

    A larger disk has room behind its partitions, which the guest must take: cloud images do so at their next boot. A smaller one
    loses its end: only where it is proven that no partition lies there, and a GPT is moved along.

    Args:
        size: bytes; rounded up to whole sectors.
        shrink: a smaller disk is meant.
        kept: folders whose images are not to be changed.

    Raises:
        UsageError: smaller was not meant, or a partition would be cut off; the message says how small it can become.
        ImageRefused: its table of partitions cannot be trusted, so nothing is proven.
        ImageError: it cannot be changed, for example because a machine is using it.
        NoSpace: the disk of this host is full.
    """
    path = path.resolve()
    if any(path.is_relative_to(folder.resolve()) for folder in kept):
        hint = "make a copy with anima-qa image convert, or ask for a larger disk when it is booted (machine: disk)"
        raise ImageRefused(f"{path} belongs to the cache, and is shared by all machines", hint=hint)
    found = await probe(path)
    if found.format not in RESIZABLE:
        hint = "anima-qa image convert makes a qcow2 of it"
        raise ImageRefused(f"{path} is a {found.format} image, and only {' and '.join(RESIZABLE)} can be resized", hint=hint)
    size = -(-size // _UNIT) * _UNIT
    before = found.virtual_size
    if size < before:
        await _shrink(path, found, size, shrink)
    elif size > before:
        await _resize(path, found.format, size)
    return Resized(before, (await probe(path)).virtual_size)


async def _shrink(path: Path, found: Probe, size: int, meant: bool) -> None:
    table = await _table(path, found)
    least = -(-table.least_size // _UNIT) * _UNIT
    possible = f"it can become {format_size(least)} small ({least} bytes)"
    if size < least:
        message = f"a disk of {format_size(size)} would cut a partition off: the last one ends at {format_size(table.last_end)}"
        hint = f"{possible}; to make it smaller, make file system and partition smaller in a guest first"
        raise UsageError(message, hint=hint)
    if not meant:
        message = f"{path.name} has {format_size(found.virtual_size)}, and {format_size(size)} are less"
        raise UsageError(message, hint=f"say that a smaller disk is meant (shrink); {possible}, and no partition is lost")
    if size % table.sector:
        raise UsageError(f"{size} bytes are not whole sectors of {table.sector}", hint="ask for whole megabytes")
    for place, data in table.moved_to(size):
        await _write(path, found.format, place, data)
    if (await _table(path, found)).last_usable_end > size:  # nothing is cut off that its table still counts on
        raise ImageError(f"the partition table of {path} could not be moved", hint="the disk is as large as it was")
    await _resize(path, found.format, size, "--shrink")


async def _table(path: Path, found: Probe) -> Table:
    info = json.loads((await _tool(path, "qemu-img", "info", "--output=json", "-f", found.format, path)).stdout)
    if info.get("snapshots"):
        raise ImageRefused(
            f"{path} has snapshots of its own, which a smaller disk would damage", hint="remove them with qemu-img snapshot -d"
        )
    with tempfile.TemporaryDirectory(prefix="anima-qa-") as folder:
        head = Path(folder, "head")
        what = (f"bs={HEAD}", "count=1", f"if={path}", f"of={head}")
        await _tool(path, "qemu-img", "dd", "-f", found.format, "-O", "raw", *what, file_limit=2 * HEAD)
        data = await asyncio.to_thread(head.read_bytes)
    try:
        return read_table(data, found.virtual_size)
    except NoTable as error:
        hint = "without a sound table it cannot be told what lies at its end"
        raise ImageRefused(f"{path} cannot be made smaller: {error}", hint=hint) from error


async def _write(path: Path, form: str, place: int, data: bytes) -> None:
    """Through QEMU's tool, which knows the format, and whether a machine has the file."""
    with tempfile.NamedTemporaryFile(prefix="anima-qa-") as piece:
        piece.write(data)
        piece.flush()
        command = f"write -s {piece.name} {place} {len(data)}"
        await _tool(path, "qemu-io", "-f", form, "-c", command, "-c", "flush", path)


async def _resize(path: Path, form: str, size: int, *more: str) -> None:
    await _tool(path, "qemu-img", "resize", "-q", "-f", form, *more, path, str(size))


async def _tool(path: Path, *argv: str | Path, file_limit: int | None = None) -> ToolResult:
    """Run one of QEMU's tools on ``path``."""
    try:
        return await require(argv, f"cannot resize {path}", file_limit=file_limit)
    except ImageError as error:
        if any(_IN_USE in text for text in error.evidence.values()):
            raise ImageError(f"{path} is in use by a machine", hint="stop it first", evidence=error.evidence) from error
        raise
