"""Partition tables: where the last partition of a disk ends, and a GPT moved to another end of the disk.

The layouts are those of the UEFI specification (chapter "GUID Partition Table") and of the table that PCs have had since DOS.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = 1 << 20
"""Bytes at the beginning of a disk in which the whole table lies: partitions begin behind them."""

_MBR_SECTOR = 512
_SECTORS = (512, 4096)
_SIGNATURE = b"EFI PART"
_PROTECTIVE = 0xEE
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MOST_BYTES = HEAD // 2


class NoTable(ValueError):
    """There is no partition table that can be trusted; the text says what is wrong."""


@dataclass(frozen=True)
class Table:
    """A partition table.

    Attributes:
        kind: ``gpt`` or ``mbr``.
        sector: bytes of the unit in which it counts.
        last_end: bytes from the disk's beginning to the end of the partition that ends last; 0 where there is none.
        header, entries: of a GPT, as they are on the disk.
    """

    kind: str
    sector: int
    last_end: int
    header: bytes = b""
    entries: bytes = b""

    @property
    def least_size(self) -> int:
        """Bytes that a disk must have for all partitions, and for the second copy of a GPT behind them."""
        if self.kind != "gpt":
            return self.last_end
        return self.last_end + self.sector + _round_up(len(self.entries), self.sector)

    @property
    def last_usable_end(self) -> int:
        """Bytes up to which partitions may lie."""
        return (self._field(8) + 1) * self.sector if self.kind == "gpt" else self.last_end

    def moved_to(self, size: int) -> tuple[tuple[int, bytes], ...]:
        """What must be written for a disk of ``size`` bytes: places, and bytes for them. In this order the table is whole at
        any moment: first the second copy at the new end, then the first header. Nothing, where the table is no GPT.

        Raises:
            NoTable: not all partitions would fit.
        """
        if size < self.least_size or size % self.sector:
            raise NoTable(f"a disk of {size} bytes has no room for all partitions")
        if self.kind != "gpt":
            return ()
        sectors = size // self.sector
        entries_at = sectors - 1 - _round_up(len(self.entries), self.sector) // self.sector
        first = self._header(own=1, other=sectors - 1, usable=entries_at - 1, entries_at=self._field(10))
        second = self._header(own=sectors - 1, other=1, usable=entries_at - 1, entries_at=entries_at)
        return (
            (entries_at * self.sector, _padded(self.entries, self.sector)),
            ((sectors - 1) * self.sector, _padded(second, self.sector)),
            (self.sector, _padded(first, self.sector)),
        )

    def _field(self, number: int) -> int:
        return int(_HEADER.unpack_from(self.header)[number])

    def _header(self, *, own: int, other: int, usable: int, entries_at: int) -> bytes:
        fields = list(_HEADER.unpack_from(self.header))
        fields[3], fields[5], fields[6], fields[8], fields[10] = 0, own, other, usable, entries_at
        rest = self.header[_HEADER.size :]
        fields[3] = zlib.crc32(_HEADER.pack(*fields) + rest)
        return _HEADER.pack(*fields) + rest


def read_table(head: bytes, size: int) -> Table:
    """The partition table of a disk of ``size`` bytes that begins with ``head``.

    Raises:
        NoTable: there is none, it is damaged, or it describes what is not on the disk.
    """
    for sector in _SECTORS:
        if head[sector : sector + 8] == _SIGNATURE:
            return _within(_read_gpt(head, sector), size)
    if head[510:512] != b"\x55\xaa":
        raise NoTable("it has no partition table")
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    if any(entry[4] == _PROTECTIVE for entry in entries):
        raise NoTable("its GPT is damaged: there is only the mark that it had one")
    if any(entry[0] not in {0, 0x80} for entry in entries):
        raise NoTable("it has a boot sector, and no partition table")  # a file system without partitions
    ends = [sum(struct.unpack_from("<II", entry, 8)) for entry in entries if entry[4] != 0]
    if not ends:
        raise NoTable("its partition table is empty")
    return _within(Table("mbr", _MBR_SECTOR, max(ends) * _MBR_SECTOR), size)


def _read_gpt(head: bytes, sector: int) -> Table:
    fields = _HEADER.unpack_from(head, sector)
    length, checksum, own, first_entry, count, width, entries_sum = (fields[at] for at in (2, 3, 5, 10, 11, 12, 13))
    if not _HEADER.size <= length <= sector:
        raise NoTable("its GPT is damaged: the header has a wrong length")
    header = head[sector : sector + length]
    if zlib.crc32(header[:16] + bytes(4) + header[20:]) != checksum or own != 1:
        raise NoTable("its GPT is damaged: the header does not fit its checksum")
    start, total = first_entry * sector, count * width
    if width < 128 or total > _MOST_BYTES or start + total > len(head):
        raise NoTable("its GPT is unusual: the table does not lie at the beginning of the disk")
    entries = head[start : start + total]
    if zlib.crc32(entries) != entries_sum:
        raise NoTable("its GPT is damaged: the partitions do not fit their checksum")
    return Table("gpt", sector, _last_end(entries, width) * sector, header, entries)


def _last_end(entries: bytes, width: int) -> int:
    used = [entries[at : at + width] for at in range(0, len(entries), width)]
    return max((_end_of(entry) for entry in used if entry[:16] != bytes(16)), default=0)


def _end_of(entry: Sequence[int]) -> int:
    first, last = struct.unpack_from("<QQ", bytes(entry), 32)
    if last < first:
        raise NoTable("its GPT is damaged: a partition ends before it begins")
    return int(last) + 1


def _within(table: Table, size: int) -> Table:
    if table.last_end > size:
        raise NoTable("a partition goes beyond the end of the disk: it was cut before")
    return table


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _padded(data: bytes, sector: int) -> bytes:
    return data.ljust(_round_up(len(data), sector), b"\0")
