"""Looking at an image file once, carefully: its format, its size, and whether it is safe to boot."""

from __future__ import annotations

import errno
import json
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from qa.errors import ImageError, ImageNotFound, ImageRefused
from qa.images.headers import FORMATS, Header, read_header
from qa.images.tools import require, run_tool

SIZE_LIMIT = 64 << 40
"""Bytes of a virtual disk. QEMU allows more, but a disk of 64 TB is a mistake or a trap."""


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        format: QEMU's name of the format.
        virtual_size: what a guest sees, in bytes.
        file_size: what the file takes, in bytes.
        others: files that the image reads besides itself; empty unless they were allowed.
    """

    format: str
    virtual_size: int
    file_size: int
    others: tuple[str, ...] = ()


async def probe(path: Path, *, allow_backing: bool = False, thorough: bool = True) -> Probe:
    """Look at the image file ``path``.

    Args:
        allow_backing: accept an image that reads other files of this host: a backing file, an external data file.
        thorough: also check a qcow2's tables, which finds files that were cut short (0.05 s for 50 GB).

    Raises:
        ImageNotFound: there is no such file.
        ImageRefused: using it would be unsafe, or it is not a disk image.
        ImageError: it cannot be read, is damaged, or needs something that is not supported.
    """
    path = path.absolute()
    _check_file(path)
    try:
        header = read_header(path)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", hint=_reading_hint(error)) from error
    _check_header(path, header, allow_backing)
    info = await require(
        ["qemu-img", "info", "--output=json", "-f", header.format, path],
        f"{path} is not a sound {header.format} image",
        file_limit=0,
    )
    try:
        said = json.loads(info.stdout)
        size = int(said["virtual-size"])
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"qemu-img said nothing useful of {path}", evidence={"what it said": info.stdout[:2000]}) from error
    if not 0 < size <= SIZE_LIMIT:
        raise ImageRefused(f"{path} describes a disk of {size} bytes", hint="only disks of up to 64 TB are used")
    if said.get("encrypted"):
        raise _encrypted(path)
    if "backing-filename" in said and not allow_backing:
        raise _leaves_itself(path, (str(said["backing-filename"]),))
    if thorough and header.format == "qcow2" and not header.others:
        await _check_tables(path)
    return Probe(header.format, size, path.stat().st_size, header.others)


def stat_identity(path: Path) -> str:
    """An identity that costs nothing: changes when the file is replaced or written to."""
    status = path.stat()
    return sha256(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}".encode()).hexdigest()


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ImageNotFound(f"there is no file {path}") from None
    except OSError as error:
        raise ImageError(f"cannot look at {path}: {error.strerror}", hint=_reading_hint(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageRefused(f"{path} is a folder, not a disk image")
    if not stat.S_ISREG(status.st_mode):
        raise ImageRefused(
            f"{path} is a device, a pipe or a socket, not a file", hint="copy it to a file with dd or qemu-img convert"
        )
    if status.st_size == 0:
        raise ImageRefused(f"{path} is empty", hint="fetch or copy it again")


def _check_header(path: Path, header: Header, allow_backing: bool) -> None:
    if header.format not in FORMATS:
        raise ImageRefused(f"{path} is a {header.format} file, which is not supported")
    if header.encrypted:
        raise _encrypted(path)
    if not header.disk:
        hint = (
            "decompress it first"
            if "compressed" in header.looks_like
            else "a raw image must begin with a partition table or a boot sector"
        )
        raise ImageRefused(f"{path} is not a disk image: it looks like {header.looks_like}", hint=hint)
    if header.others and not allow_backing:
        raise _leaves_itself(path, header.others)


async def _check_tables(path: Path) -> None:
    result = await run_tool(["qemu-img", "check", "--output=json", "-f", "qcow2", path], file_limit=0)
    # 0: sound, 3: leaked clusters, which only waste space, 63: the format has no check
    if result.exit_code not in {0, 3, 63}:
        raise ImageError(
            f"{path} is damaged or cut short: its tables do not fit its content",
            hint="fetch or copy it again",
            evidence={"qemu-img check": (result.stderr + result.stdout)[-2000:]},
        )


def _encrypted(path: Path) -> ImageRefused:
    return ImageRefused(
        f"{path} is encrypted", hint="make a plain copy with qemu-img convert; anima-qa takes no passwords of images"
    )


def _leaves_itself(path: Path, others: tuple[str, ...]) -> ImageRefused:
    return ImageRefused(
        f"{path} reads other files of this host: {', '.join(repr(name) for name in others)}",
        hint="a guest could read them too; if that is meant, anima-qa image convert --backing makes one file of it",
    )


def _reading_hint(error: OSError) -> str | None:
    return "the file is not readable for this user" if error.errno in {errno.EACCES, errno.EPERM} else None
