"""Disks with partition tables, written down from the specifications."""

from __future__ import annotations

import struct
import zlib
from typing import Any

MIB = 1 << 20


def gpt(size: int, *partitions: tuple[int, int], sector: int = 512, **wrong: Any) -> bytearray:
    """A whole disk with a GPT; ``partitions`` are first and last sectors. ``wrong`` replaces fields of the header."""
    disk = bytearray(size)
    sectors, count, width = size // sector, 128, 128
    entries = bytearray(count * width)
    for number, (first, last) in enumerate(partitions):
        struct.pack_into("<16s16sQQQ72s", entries, number * width, b"T" * 16, bytes([number] * 16), first, last, 0, b"")
    table = -(-len(entries) // sector)
    fields = {
        "length": 92,
        "own": 1,
        "other": sectors - 1,
        "usable": sectors - table - 2,
        "entries_at": 2,
        "count": count,
    } | wrong
    header = bytearray(struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, fields["length"], 0, 0, fields["own"], fields["other"], table + 2,
        fields["usable"], b"G" * 16, fields["entries_at"], fields["count"], width, zlib.crc32(entries),
    ))  # fmt: skip
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    disk[sector : sector + len(header)] = header
    disk[2 * sector : 2 * sector + len(entries)] = entries
    disk[-sector : 92 - sector] = header
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"", 0xEE, b"", 1, sectors - 1)
    disk[510:512] = b"\x55\xaa"
    return disk


def mbr(*partitions: tuple[int, int, int]) -> bytearray:
    """The beginning of a disk; ``partitions`` are types, first sectors and counts."""
    disk = bytearray(MIB)
    for number, (kind, first, count) in enumerate(partitions):
        struct.pack_into("<B3sB3sII", disk, 446 + 16 * number, 0, b"", kind, b"", first, count)
    disk[510:512] = b"\x55\xaa"
    return disk
