"""New disks: overlays on images, which are never written to themselves, and empty ones."""

from __future__ import annotations

from pathlib import Path

from qa.errors import ImageError, UsageError
from qa.images.image import Image
from qa.images.tools import require


async def create_overlay(image: Image, path: Path, size: int | None = None) -> None:
    """A qcow2 file at ``path`` that takes all writes of a machine booted from ``image``.

    Args:
        size: bytes that the guest sees; None for what the image has. The guest itself must grow its file system.

    Raises:
        UsageError: ``size`` is less than the image has.
        NoSpace: the file system is full.
        ImageError: qemu-img refused.
    """
    if size is not None and size < image.virtual_size:
        raise UsageError(
            f"a disk of {size} bytes is too small for {image.reference}, which has {image.virtual_size}",
            hint="a disk can grow but not shrink: leave `disk` out, or ask for more",
        )
    wanted = image.virtual_size if size is None else size
    argv: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        image.format,
        "-b",
        image.path.absolute(),
        path,
        str(wanted),
    ]
    await require(argv, f"cannot make an overlay on {image.path}")


async def create_next_layer(path: Path, *, below: Path, size: int) -> None:
    """A qcow2 file at ``path`` that takes all writes on top of the qcow2 file that will be at ``below``, and is not there yet.

    Raises:
        NoSpace: the file system is full.
        ImageError: qemu-img refused.
    """
    into: list[str | Path] = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", path, str(size)]
    await require([*into[:6], "-F", "qcow2", "-b", below.absolute(), *into[6:]], f"cannot make an overlay on {below}")


async def rest_on(path: Path, base: Image | None) -> None:
    """Make the qcow2 file at ``path`` build on ``base`` alone, or on nothing: what lies between is written into it.

    Raises:
        NoSpace: the file system is full.
        ImageError: qemu-img refused.
    """
    argv: list[str | Path] = ["qemu-img", "rebase", "-q", "-f", "qcow2"]
    below: list[str | Path] = ["-F", base.format, "-b", base.path.absolute()] if base else ["-b", ""]
    await require([*argv, *below, path], f"cannot make {path.name} independent of frozen states")


def overlay_size(path: Path) -> int:
    """What a guest sees of a qcow2 file of ours, in bytes, from the file's header: asking qemu-img takes longer."""
    with path.open("rb") as file:
        header = file.read(32)
    if header[:4] != _QCOW2 or len(header) < 32:
        raise ImageError(f"{path} is no qcow2 file")
    return int.from_bytes(header[24:32], "big")


_QCOW2 = b"QFI\xfb"


async def create_disk(path: Path, size: int) -> None:
    """An empty qcow2 disk of ``size`` bytes at ``path``; it takes space as it is written.

    Raises:
        UsageError: ``size`` is not positive.
        NoSpace: the file system is full.
        ImageError: qemu-img refused.
    """
    if size <= 0:
        raise UsageError(f"a disk cannot have {size} bytes")
    await require(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)], f"cannot make the disk {path}")
