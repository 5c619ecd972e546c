"""Memory in files: whole, as forks map it, or only what a machine changed against the frozen memory it began with.

A file of changes begins with a magic number and a count; then come so many pairs of offset and length, sorted, and then the
content of all of them. All numbers have 64 bits, least significant byte first.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa.errors import SnapshotUnusable
from qa.host.files import clone
from qa.qemu.memory import CHUNK, PAGE, Block, ProcessMemory, Run

MAGIC = b"QAPAGES1"
_HEADER = struct.Struct("<8sQ")
_PAIR = struct.Struct("<QQ")

CHANGES_LIMIT = 64 << 20
"""Bytes of changes from which on a whole file is written: each fork gets its own copy of changes, and shares a whole file."""

_GRAIN = 64 * 1024
"""Bytes looked at together when zeros are left out."""


def write_whole(path: Path, memory: ProcessMemory, block: Block, runs: list[Run], base: Path | None) -> None:
    """All of ``block`` as a sparse file: ``base`` (zeros where it is None) with the pages of ``runs``."""
    if base is not None:
        clone(base, path)
    with _open(path) as target:
        os.ftruncate(target, block.size)
        for offset, piece in memory.read(block, runs):
            for start, part in [(0, piece)] if base is not None else _without_zeros(piece):
                _write(target, part, offset + start)


def write_changes(path: Path, memory: ProcessMemory, block: Block, runs: list[Run]) -> None:
    """The pages of ``runs`` alone."""
    with _open(path) as target:
        index = b"".join(_PAIR.pack(*run) for run in runs)
        _write(target, _HEADER.pack(MAGIC, len(runs)) + index, 0)
        end = _HEADER.size + len(index)
        for _, piece in memory.read(block, runs):
            _write(target, piece, end)
            end += len(piece)


def write_content(path: Path, memory: ProcessMemory, block: Block) -> None:
    """What is not zero in ``block``, as changes against zeros."""
    runs: list[Run] = []
    for offset, piece in memory.read(block, memory.own_runs(block)):
        for start, part in _without_zeros(piece):
            if runs and sum(runs[-1]) == offset + start:
                runs[-1] = (runs[-1][0], runs[-1][1] + len(part))
            else:
                runs.append((offset + start, len(part)))
    write_changes(path, memory, block, runs)


def load_changes(path: Path, memory: ProcessMemory, block: Block) -> None:
    """Put the pages of a file of changes into ``block``.

    Raises:
        SnapshotUnusable: the file is not what was written.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        runs = _read_index(path, file.read(_HEADER.size), file, size, block.size)
        buffer = memoryview(bytearray(CHUNK))
        for offset, length in runs:
            for start in range(offset, offset + length, CHUNK):
                piece = buffer[: min(CHUNK, offset + length - start)]
                if file.readinto(piece) != len(piece):
                    raise SnapshotUnusable(f"{path} is shorter than it says")
                memory.write(block, start, piece)


def _read_index(path: Path, header: bytes, file: object, size: int, limit: int) -> list[Run]:
    magic, count = _HEADER.unpack(header) if len(header) == _HEADER.size else (b"", 0)
    length = count * _PAIR.size
    if magic != MAGIC or length > size:
        raise SnapshotUnusable(f"{path} does not hold pages of memory")
    index = file.read(length)  # type: ignore[attr-defined]
    runs = list(_PAIR.iter_unpack(index)) if len(index) == length else []
    end, total = 0, _HEADER.size + length
    for offset, amount in runs:
        if offset < end or offset % PAGE or amount % PAGE or not amount or offset + amount > limit:
            raise SnapshotUnusable(f"{path} names pages that the guest does not have")
        end = offset + amount
        total += amount
    if len(runs) != count or total != size:
        raise SnapshotUnusable(f"{path} is not complete")
    return runs


def _without_zeros(piece: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The parts of ``piece`` that have something in them, with their offsets."""
    for start in range(0, len(piece), _GRAIN):
        part = piece[start : start + _GRAIN]
        if not _ZEROS.startswith(part):
            yield start, part


_ZEROS = bytes(_GRAIN)


@contextmanager
def _open(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
