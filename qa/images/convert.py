"""Copies of images in other formats, and overlays on them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal, get_args

from qa.errors import ImageError, NoSpace, UsageError
from qa.events import Bus, Progress
from qa.host.resources import free_space
from qa.images.image import Image
from qa.images.placing import new_file
from qa.images.probe import Probe, probe
from qa.images.tools import find_tool, require, run_long_tool
from qa.places import is_there
from qa.sizes import format_size

Format = Literal["raw", "qcow2", "vmdk", "vdi", "vhdx"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[str, Format] = {
    ".raw": "raw", ".img": "raw", ".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx",
}  # fmt: skip
COMPRESSIBLE = ("qcow2",)

_PROGRESS = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")

SPARE = 64 << 20
"""Bytes by which an image may be larger than its disk: tables of its format, which take less than a thousandth."""


def format_of(target: Path, wanted: Format | None) -> Format:
    """The format that is wanted, or the one that the name of ``target`` tells.

    Raises:
        UsageError: neither tells.
    """
    if wanted is not None:
        return wanted
    if found := _SUFFIXES.get(target.suffix.lower()):
        return found
    raise UsageError(f"the name {target.name} does not tell a format", hint=f"say which: {', '.join(FORMATS)}")


async def convert(
    image: Image, target: Path, wanted: Format | None, *, bus: Bus, compress: bool = False, replace: bool = False
) -> Probe:
    """Copy what is on ``image`` to the file ``target`` in another format. The image itself stays as it is.

    Args:
        wanted: the format; None for what the name of ``target`` tells.
        compress: make it small, for carrying: slower to make and to read. Of qcow2 only.
        replace: take the place of a file that is there.

    Returns:
        What was made.

    Raises:
        UsageError: ``target`` is there, is the image itself, or its format is not told.
        NoSpace: the disk is full, or would be.
        ImageError: the image cannot be read.
    """
    form = format_of(target, wanted)
    if compress and form not in COMPRESSIBLE:
        raise UsageError(f"{form} images cannot be compressed", hint=f"leave it out, or make {' or '.join(COMPRESSIBLE)}")
    _check_other(image, target)
    await _check_space(image, target)
    told = 0.0

    def tell(said: bytes) -> None:
        nonlocal told
        percent = max((float(found) for found in _PROGRESS.findall(said)), default=0.0)
        if percent > told:
            told, total = percent, image.virtual_size
            bus.emit(Progress(task=f"convert to {target.name}", done=percent / 100 * total, total=total, unit="bytes"))

    async with new_file(target, replace=replace) as part:
        argv: list[str | Path] = ["qemu-img", "convert", "-p", "-f", image.format, "-O", form, *(["-c"] if compress else [])]
        result = await run_long_tool(
            [*argv, image.path, part], tell, file_limit=image.virtual_size + SPARE + image.virtual_size // 16
        )
        if result.exit_code:
            raise ImageError(f"{image.reference} could not be converted", evidence={"what qemu-img said": result.stderr[-2000:]})
        made = await probe(part)
        if (made.format, made.virtual_size) != (form, image.virtual_size) and not _is_rounded(made, image):
            raise ImageError(f"the copy of {image.reference} came out as {made.format} of {made.virtual_size} bytes")
    return made


async def overlay(base: Image, target: Path, *, size: int | None = None, replace: bool = False) -> Probe:
    """A new qcow2 file ``target`` that shows what is on ``base`` and takes all writes; ``base`` is never written to.

    It is of use only together with ``base``, which must stay where and as it is.

    Args:
        size: bytes that a guest sees; what the base has where it is not given.

    Raises:
        UsageError: ``target`` is there, or ``size`` is less than the base has.
        NoSpace: the disk is full.
        ImageError: qemu-img refused.
    """
    _check_other(base, target)
    if size is not None and size < base.virtual_size:
        message = (
            f"an overlay of {format_size(size)} is too small for {base.reference}, which has {format_size(base.virtual_size)}"
        )
        raise UsageError(message, hint="leave the size out, or ask for more")
    async with new_file(target, replace=replace) as part:
        argv: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", base.format, "-b", base.path.absolute(), part]
        await require([*argv, str(size or base.virtual_size)], f"cannot make an overlay on {base.path}")
        return await probe(part, allow_backing=True, thorough=False)


def _is_rounded(made: Probe, image: Image) -> bool:
    """Formats have units: a disk may become larger by less than one of them."""
    return made.format in FORMATS and 0 <= made.virtual_size - image.virtual_size < 1 << 20


def _check_other(image: Image, target: Path) -> None:
    if is_there(target) and target.samefile(image.path):
        raise UsageError(f"{target} is the image itself", hint="name another file")


async def _check_space(image: Image, target: Path) -> None:
    """Refuse what cannot fit, before anything is written. What qemu-img cannot measure is tried."""
    find_tool("qemu-img")
    argv: list[str | Path] = ["qemu-img", "measure", "--output=json", "-f", image.format, "-O", "qcow2", image.path]
    try:
        needed = int(json.loads((await require(argv, f"{image.path} cannot be measured", file_limit=0)).stdout)["required"])
    except (ImageError, ValueError, KeyError, TypeError):
        return
    free = free_space(target.absolute().parent)
    if needed > free:
        message = f"the copy takes {format_size(needed)}, and {format_size(free)} are free in {target.absolute().parent}"
        raise NoSpace(message, hint="free some, or name another disk")
