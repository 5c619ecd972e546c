"""Partition tables: where the last partition ends, and that a GPT that was moved is whole at each moment."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest
from disks import MIB, gpt, mbr

from qa.images.partitions import HEAD, NoTable, read_table


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_last_partition_of_a_gpt_is_the_one_that_ends_last(sector: int) -> None:
    disk = gpt(64 * MIB, (4096, 8191), (1024, 4095), sector=sector)
    table = read_table(bytes(disk[:HEAD]), len(disk))
    assert (table.kind, table.sector, table.last_end) == ("gpt", sector, 8192 * sector)
    assert table.least_size == 8192 * sector + sector + 16384


def test_the_last_partition_of_an_mbr_is_the_one_that_ends_last() -> None:
    table = read_table(bytes(mbr((0x83, 2048, 8192), (0x82, 10240, 1000), (0, 99999, 99999))), 64 * MIB)
    assert (table.kind, table.last_end, table.least_size) == ("mbr", 11240 * 512, 11240 * 512)
    assert table.moved_to(11240 * 512) == ()


def test_an_extended_partition_counts_whole() -> None:
    assert read_table(bytes(mbr((0x83, 2048, 2048), (0x05, 4096, 8192))), 64 * MIB).last_end == 12288 * 512


def test_a_gpt_without_partitions_needs_its_own_room() -> None:
    table = read_table(bytes(gpt(64 * MIB)[:HEAD]), 64 * MIB)
    assert (table.last_end, table.least_size) == (0, 512 + 16384)


def _flip(at: int) -> Any:
    def edit(disk: bytearray) -> None:
        disk[at] ^= 1

    return edit


def _nothing(disk: bytearray) -> None:
    disk[510] = 0
    disk[512:520] = bytes(8)


@pytest.mark.parametrize(
    ("disk", "edit", "why"),
    [
        (gpt(4 * MIB, (2048, 4095)), _flip(512 + 40), "header does not fit its checksum"),
        (gpt(4 * MIB, (2048, 4095)), _flip(512 + 16), "header does not fit its checksum"),
        (gpt(4 * MIB, (2048, 4095)), _flip(1024 + 40), "partitions do not fit their checksum"),
        (gpt(4 * MIB, (2048, 4095)), _flip(512 + 12), "wrong length|header does not fit"),
        (gpt(4 * MIB, (2048, 4095)), _flip(512), "only the mark that it had one"),
        (gpt(4 * MIB, (2048, 4095), own=5), None, "header does not fit"),
        (gpt(4 * MIB, (2048, 4095), entries_at=100000), None, "unusual"),
        (gpt(4 * MIB, (2048, 4095), count=1 << 30), None, "unusual"),
        (gpt(4 * MIB, (2048, 4095), length=9), None, "wrong length"),
        (gpt(4 * MIB, (4095, 2048)), None, "ends before it begins"),
        (gpt(4 * MIB, (2048, 1 << 40)), None, "beyond the end of the disk"),
        (mbr((0x83, 2048, 1 << 30)), None, "beyond the end of the disk"),
        (mbr(), None, "empty"),
        (mbr((0x83, 2048, 100)), _flip(446), "no partition table"),
        (mbr((0x83, 2048, 100)), _nothing, "no partition table"),
        (bytearray(b"x" * 600), None, "no partition table"),
        (bytearray(), None, "no partition table"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_none(disk: bytearray, edit: Any, why: str) -> None:
    changed = bytearray(disk)
    if edit:
        edit(changed)
    with pytest.raises(NoTable, match=why):
        read_table(bytes(changed[:HEAD]), 4 * MIB)


def test_noise_is_no_table_and_no_traceback() -> None:
    noise = random.Random(7)
    whole = gpt(2 * MIB, (2048, 3000))
    for _ in range(300):
        disk = bytearray(whole[:HEAD])
        for _ in range(noise.randrange(1, 20)):
            disk[noise.randrange(0, 18000)] = noise.randrange(256)
        try:
            table = read_table(bytes(disk[: noise.randrange(1, HEAD)]), 2 * MIB)
        except NoTable:
            continue
        assert 0 <= table.last_end <= 2 * MIB


# moving


def second_copy(disk: bytes, sector: int) -> bytes:
    """The disk as it looks from its end: with the second copy in the first one's place."""
    last = disk[-sector:]
    entries_at = struct.unpack_from("<Q", last, 72)[0]
    header = bytearray(last[:92])
    assert struct.unpack_from("<QQ", header, 24) == (len(disk) // sector - 1, 1)
    checksum = header[16:20]
    header[16:20] = bytes(4)
    assert struct.pack("<I", zlib.crc32(header)) == checksum
    return bytes(disk[entries_at * sector : len(disk) - sector])


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_moved_gpt_is_whole_on_the_smaller_disk(sector: int) -> None:
    disk = gpt(64 * MIB, (1024, 2047), sector=sector)
    before = read_table(bytes(disk[:HEAD]), len(disk))
    size = 16 * MIB
    for place, data in before.moved_to(size):
        assert place + len(data) <= size
        assert place == sector or place >= before.last_end, "a partition is written to"
        disk[place : place + len(data)] = data
    small = bytes(disk[:size])
    after = read_table(small[:HEAD], size)
    assert (after.last_end, after.entries) == (before.last_end, before.entries)
    other, usable = struct.unpack_from("<Q", after.header, 32)[0], struct.unpack_from("<Q", after.header, 48)[0]
    assert other == size // sector - 1
    assert usable < other - len(after.entries) // sector
    assert second_copy(small, sector) == after.entries.ljust(-(-len(after.entries) // sector) * sector, b"\0")


def test_a_moved_gpt_is_whole_at_each_moment_in_between() -> None:
    disk = gpt(64 * MIB, (2048, 4095))
    table = read_table(bytes(disk[:HEAD]), len(disk))
    for place, data in table.moved_to(8 * MIB):
        disk[place : place + len(data)] = data
        now = read_table(bytes(disk[:HEAD]), len(disk))
        assert now.last_end == table.last_end
        other = struct.unpack_from("<Q", now.header, 32)[0] * 512
        assert disk[other : other + 8] == b"EFI PART", "the second copy is not where the first one says"


def test_the_smallest_disk_has_room_and_a_smaller_one_has_not() -> None:
    disk = gpt(64 * MIB, (2048, 4095))
    table = read_table(bytes(disk[:HEAD]), len(disk))
    places = [(place, len(data)) for place, data in table.moved_to(table.least_size)]
    assert min(place for place, _ in places if place != 512) == table.last_end
    for size in (table.least_size - 512, table.least_size + 1, 0):
        with pytest.raises(NoTable, match="no room"):
            table.moved_to(size)
