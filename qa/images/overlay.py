"""New disks: overlays on images, which are never written to themselves, and empty ones."""

from __future__ import annotations

from pathlib import Path

from qa.errors import UsageError
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
