"""The format of an image file by its own first bytes, and what it would read besides itself.

QEMU's tools open the files that an image names as soon as they look at it, so this is found out before any of them sees it.
The layouts are those of QEMU's documentation (``docs/interop/qcow2``) and of the formats' own specifications.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qa.errors import ImageError, ImageRefused

SECTOR = 512
FORMATS = ("qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc")
"""What may be booted. QEMU reads more formats; they are old, and nobody publishes images in them."""

_LONGEST_CHAIN = 50
_SOMEWHERE = "an external data file"
_SCHEME = re.compile(r"[A-Za-z0-9+-]+:")
"""Names such as ``nbd:`` and ``json:`` lead elsewhere than their letters say."""
_QCOW2_DATA_FILE = 1 << 2
_QCOW2_PATH_LIMIT = 1023
_VMDK_DESCRIPTOR_LIMIT = 20 * SECTOR * 4
_VDI_MAGIC = 0xBEDA107F
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"PK\x03\x04": "zip"}


@dataclass(frozen=True)
class Header:
    """What the first bytes say.

    Attributes:
        format: QEMU's name of the format.
        others: files that the image reads besides itself, as it names them.
        encrypted: whether it needs a password.
        disk: whether a raw file begins like a disk.
        looks_like: for raw files that do not, what they seem to be.
    """

    format: str
    others: tuple[str, ...] = ()
    encrypted: bool = False
    disk: bool = True
    looks_like: str = ""


def read_header(path: Path) -> Header:
    """The header of the file ``path``.

    Raises:
        ImageError: it is cut short within its header, or names another file in a way that makes no sense.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(64 * SECTOR * 2)
        size = file.seek(0, 2)
        file.seek(max(0, size - SECTOR))
        end = file.read(SECTOR)
        if start.startswith(b"QFI\xfb"):
            return _qcow2(file, start, path)
        if start.startswith(b"KDMV"):
            return _vmdk(file, start)
    if start.startswith(b"# Disk DescriptorFile"):
        return Header("vmdk", others=_vmdk_extents(start) or ("its extents",))
    return _self_contained(start, end)


def backing_chain(path: Path) -> tuple[Path, ...]:
    """The files that the image at ``path`` builds on, as far as they can be found by reading headers alone.

    Raises:
        ImageError: the chain is too long, or a header makes no sense.
        ImageRefused: a name may lead anywhere.
    """
    chain: list[Path] = []
    todo = [path.absolute()]
    while todo:
        current = todo.pop()
        if len(chain) > _LONGEST_CHAIN:
            raise ImageError(f"{path} builds on more than {_LONGEST_CHAIN} files, or on itself")
        try:
            others = read_header(current).others
        except (OSError, ValueError):  # a name with a null byte: whoever judges it says so
            continue
        for name in others:
            if _SCHEME.match(name) or name == _SOMEWHERE:
                raise ImageRefused(
                    f"{current} builds on {name!r}, which is no path", hint="make one file of it where it was made"
                )
            chain.append(current.parent / name)
            todo.append(chain[-1])
    return tuple(chain)


def _self_contained(start: bytes, end: bytes) -> Header:
    """The formats that have no way to name another file, or none that QEMU follows."""
    if start.startswith(b"vhdxfile"):
        return Header("vhdx")
    if len(start) > 68 and struct.unpack_from("<I", start, 64)[0] == _VDI_MAGIC:
        return Header("vdi")
    if start.startswith(b"conectix") or end.startswith(b"conectix"):
        return Header("vpc")
    if start.startswith(b"QED\0"):
        return Header("qed")
    if start.startswith(b"LUKS\xba\xbe"):
        return Header("raw", encrypted=True)
    return _raw(start)


def _qcow2(file: BinaryIO, start: bytes, path: Path) -> Header:
    if len(start) < 72:
        raise ImageError(f"{path} is cut short: {len(start)} bytes of a qcow2 header", hint="fetch or copy it again")
    version, backing_offset, backing_size, _, _, crypt = struct.unpack_from(">IQIIQI", start, 4)
    others = []
    if backing_offset:
        if backing_size > _QCOW2_PATH_LIMIT:
            raise ImageError(f"{path} is damaged: the name of its backing file has {backing_size} bytes")
        file.seek(backing_offset)
        others.append(file.read(backing_size).decode(errors="replace"))
    if version >= 3 and len(start) >= 80 and struct.unpack_from(">Q", start, 72)[0] & _QCOW2_DATA_FILE:
        others.append(_SOMEWHERE)
    return Header("qcow2", others=tuple(others), encrypted=crypt != 0)


def _vmdk(file: BinaryIO, start: bytes) -> Header:
    offset, size = struct.unpack_from("<QQ", start, 28) if len(start) >= 44 else (0, 0)
    file.seek(offset * SECTOR)
    descriptor = file.read(min(size * SECTOR, _VMDK_DESCRIPTOR_LIMIT))
    parent = re.search(rb'^parentFileNameHint="(.*)"', descriptor, re.MULTILINE)
    kind = re.search(rb'^createType="(.*)"', descriptor, re.MULTILINE)
    others = [parent.group(1).decode(errors="replace")] if parent else []
    if kind and kind.group(1) not in {b"monolithicSparse", b"streamOptimized"}:
        others += _vmdk_extents(descriptor)
    return Header("vmdk", others=tuple(others))


def _vmdk_extents(descriptor: bytes) -> tuple[str, ...]:
    names = re.findall(rb'^(?:RW|RDONLY|NOACCESS) \d+ \w+ "(.*?)"', descriptor, re.MULTILINE)
    return tuple(name.decode(errors="replace") for name in names)


def _raw(start: bytes) -> Header:
    boot_sector = start[510:512] == b"\x55\xaa"
    partition_table = any(start[size : size + 8] == b"EFI PART" for size in (SECTOR, 4096))
    optical = start[0x8001:0x8006] == b"CD001"
    if boot_sector or partition_table or optical:
        return Header("raw")
    return Header("raw", disk=False, looks_like=_guess(start))


def _guess(start: bytes) -> str:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            return f"a file compressed with {name}"
    if not start.strip(b"\0"):
        return "an empty disk"
    head = start[:4096]
    try:
        text = head.decode().lstrip().lower()
    except UnicodeDecodeError:
        return "data without a partition table"
    if text.startswith(("<!doctype", "<html")):
        return "a web page"
    return "a text file" if text.isprintable() or "\n" in text else "data without a partition table"
