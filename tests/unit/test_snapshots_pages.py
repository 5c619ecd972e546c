"""Memory in files: what is written comes back to the byte, zeros take no room, and no damage goes unnoticed."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from played_qemu import MAIN, PlayedQemu, played_qemu

from qa.errors import QemuFailed, SnapshotUnusable
from qa.qemu.memory import CHUNK, PAGE, Block, ProcessMemory, Run
from qa.snapshots.pages import MAGIC, load_changes, write_changes, write_content, write_whole

GRAIN = 64 * 1024


@pytest.fixture
def qemu() -> Iterator[PlayedQemu]:
    with played_qemu() as qemu:
        yield qemu


def content(qemu: PlayedQemu, block: Block) -> bytes:
    with ProcessMemory.open(qemu.pid) as memory:
        return b"".join(bytes(piece) for _, piece in memory.read(block, [(0, block.size)]))


def changes(*runs: Run, data: bytes | None = None, count: int | None = None, magic: bytes = MAGIC) -> bytes:
    """A file of changes; its content is its runs' lengths of ``x`` where nothing else is said."""
    index = b"".join(struct.pack("<QQ", *run) for run in runs)
    body = b"x" * sum(length for _, length in runs) if data is None else data
    return struct.pack("<8sQ", magic, len(runs) if count is None else count) + index + body


def load(file: Path, qemu: PlayedQemu) -> None:
    with ProcessMemory.open(qemu.pid) as memory:
        load_changes(file, memory, qemu.main)


def test_a_whole_memory_is_a_file_of_that_size_with_holes(qemu: PlayedQemu, tmp_path: Path) -> None:
    size = 64 * GRAIN
    with played_qemu(size=size) as large, ProcessMemory.open(large.pid) as memory:
        large.writes(GRAIN - 1, b"ab")
        large.writes(40 * GRAIN, b"\0" * GRAIN)
        large.writes(size - 1, b"z")
        write_whole(tmp_path / "memory", memory, large.main, memory.own_runs(large.main), None)
        assert (tmp_path / "memory").read_bytes() == content(large, large.main)
    status = (tmp_path / "memory").stat()
    assert status.st_size == size
    assert status.st_blocks * 512 <= 3 * GRAIN


def test_a_memory_that_was_never_used_is_one_hole(qemu: PlayedQemu, tmp_path: Path) -> None:
    with ProcessMemory.open(qemu.pid) as memory:
        write_whole(tmp_path / "memory", memory, qemu.main, [], None)
    assert (tmp_path / "memory").read_bytes() == b"\0" * MAIN
    assert (tmp_path / "memory").stat().st_blocks == 0


def test_a_whole_memory_on_another_one(qemu: PlayedQemu, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(os.urandom(MAIN))
    with played_qemu(base) as fork, ProcessMemory.open(fork.pid) as memory:
        fork.writes(0, b"\0" * 2 * PAGE)  # zeros are content, too
        fork.writes(7 * PAGE, b"new")
        write_whole(tmp_path / "memory", memory, fork.main, memory.own_runs(fork.main), base)
        assert (tmp_path / "memory").read_bytes() == content(fork, fork.main)
    assert (tmp_path / "memory").read_bytes()[: 2 * PAGE] == b"\0" * 2 * PAGE


def test_the_base_is_not_touched(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(b"b" * MAIN)
    with played_qemu(base) as fork, ProcessMemory.open(fork.pid) as memory:
        fork.writes(0, b"new")
        write_whole(tmp_path / "memory", memory, fork.main, memory.own_runs(fork.main), base)
    assert base.read_bytes() == b"b" * MAIN
    assert not base.samefile(tmp_path / "memory")


@pytest.mark.parametrize("seed", range(5))
def test_changes_come_back_to_the_byte(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    base = tmp_path / "base"
    base.write_bytes(chance.randbytes(MAIN))
    with played_qemu(base) as fork, played_qemu(base) as other:
        for _ in range(chance.randrange(30)):
            offset = chance.randrange(MAIN - 100)
            fork.writes(offset, chance.randbytes(100))
        with ProcessMemory.open(fork.pid) as memory:
            write_changes(tmp_path / "changes", memory, fork.main, memory.own_runs(fork.main))
        load(tmp_path / "changes", other)
        assert content(other, other.main) == content(fork, fork.main)
        with ProcessMemory.open(fork.pid) as one, ProcessMemory.open(other.pid) as two:
            assert one.own_runs(fork.main) == two.own_runs(other.main)


def test_no_changes_are_a_file_too(qemu: PlayedQemu, tmp_path: Path) -> None:
    with ProcessMemory.open(qemu.pid) as memory:
        write_changes(tmp_path / "changes", memory, qemu.main, [])
    assert (tmp_path / "changes").read_bytes() == changes()
    load(tmp_path / "changes", qemu)
    assert content(qemu, qemu.main) == b"\0" * MAIN


def test_changes_longer_than_a_piece(tmp_path: Path) -> None:
    size = 3 * CHUNK
    data = os.urandom(2 * CHUNK + PAGE)
    (tmp_path / "changes").write_bytes(changes((0, PAGE), (PAGE * 3, len(data)), data=b"a" * PAGE + data))
    with played_qemu(size=size) as qemu:
        load(tmp_path / "changes", qemu)
        assert content(qemu, qemu.main)[: PAGE * 3 + len(data) + 1] == b"a" * PAGE + b"\0" * 2 * PAGE + data + b"\0"


def test_content_is_what_is_not_zero(tmp_path: Path) -> None:
    size = 10 * GRAIN
    with played_qemu(size=size) as qemu, played_qemu(size=size) as other:
        qemu.writes(GRAIN, b"x" * GRAIN)
        qemu.writes(2 * GRAIN, b"y")  # beside it: one run
        qemu.writes(5 * GRAIN, b"\0" * GRAIN + b"w")  # a hole at the beginning of a run
        qemu.writes(9 * GRAIN + PAGE, b"z")
        with ProcessMemory.open(qemu.pid) as memory:
            write_content(tmp_path / "content", memory, qemu.main)
        written = (tmp_path / "content").read_bytes()
        assert struct.unpack_from("<8sQ", written) == (MAGIC, 3)
        assert struct.unpack_from("<QQ", written, 16)[0] == GRAIN
        assert len(written) <= 64 + 4 * GRAIN
        load(tmp_path / "content", other)
        assert content(other, other.main) == content(qemu, qemu.main)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "does not hold pages of memory"),
        (MAGIC, "does not hold pages of memory"),
        (changes()[:-1], "does not hold pages of memory"),
        (changes(magic=b"QAPAGES2"), "does not hold pages of memory"),
        (changes(count=1), "is not complete"),
        (changes(count=1 << 63), "does not hold pages of memory"),
        (changes((0, PAGE), count=300), "is not complete|does not hold|names pages"),
        (changes((0, PAGE), count=0), "is not complete"),
        (changes((0, PAGE))[:-1], "is not complete"),
        (changes((0, PAGE)) + b"x", "is not complete"),
        (changes((0, PAGE), data=b""), "is not complete"),
        (changes((0, 0)), "names pages that the guest does not have"),
        (changes((1, PAGE)), "names pages"),
        (changes((0, PAGE - 1)), "names pages"),
        (changes((0, 1)), "names pages"),
        (changes((MAIN, PAGE)), "names pages"),
        (changes((MAIN - PAGE, 2 * PAGE)), "names pages"),
        (changes(((1 << 64) - PAGE, PAGE)), "names pages"),
        (changes((0, (1 << 64) - PAGE), data=b"x"), "names pages"),
        (changes((0, 2 * PAGE), (PAGE, PAGE)), "names pages"),
        (changes((PAGE, PAGE), (0, PAGE)), "names pages"),
        (changes((0, PAGE), (0, PAGE)), "names pages"),
    ],
)
def test_a_damaged_file_of_changes_is_refused_before_anything_is_written(
    qemu: PlayedQemu, tmp_path: Path, data: bytes, text: str
) -> None:
    (tmp_path / "changes").write_bytes(data)
    with pytest.raises(SnapshotUnusable, match=text) as caught:
        load(tmp_path / "changes", qemu)
    assert str(tmp_path / "changes") in caught.value.message
    assert content(qemu, qemu.main) == b"\0" * MAIN


def test_runs_side_by_side_and_up_to_the_end_are_sound(qemu: PlayedQemu, tmp_path: Path) -> None:
    (tmp_path / "changes").write_bytes(changes((0, PAGE), (PAGE, PAGE), (MAIN - PAGE, PAGE)))
    load(tmp_path / "changes", qemu)
    assert content(qemu, qemu.main) == b"x" * 2 * PAGE + b"\0" * (MAIN - 3 * PAGE) + b"x" * PAGE


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_is_cut_anywhere_is_refused(qemu: PlayedQemu, tmp_path: Path, seed: int) -> None:
    whole = changes((0, PAGE), (3 * PAGE, 2 * PAGE))
    for length in [*range(50), *random.Random(seed).sample(range(50, len(whole)), 30)]:
        (tmp_path / "changes").write_bytes(whole[:length])
        with pytest.raises(SnapshotUnusable):
            load(tmp_path / "changes", qemu)


def test_a_file_that_gets_shorter_while_it_is_read(qemu: PlayedQemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "changes"
    path.write_bytes(changes((0, PAGE), (3 * PAGE, PAGE)))
    write = ProcessMemory.write

    def cut_and_write(self: ProcessMemory, block: Block, offset: int, data: bytes | memoryview) -> None:
        os.truncate(path, path.stat().st_size - PAGE)
        write(self, block, offset, data)

    monkeypatch.setattr(ProcessMemory, "write", cut_and_write)
    with pytest.raises(SnapshotUnusable, match="is shorter than it says"):
        load(path, qemu)


def test_a_qemu_that_dies_while_it_is_written(qemu: PlayedQemu, tmp_path: Path) -> None:
    with ProcessMemory.open(qemu.pid) as memory:
        qemu.dies()
        with pytest.raises(QemuFailed):
            write_whole(tmp_path / "memory", memory, qemu.main, [(0, PAGE)], None)
        with pytest.raises(QemuFailed):
            write_changes(tmp_path / "changes", memory, qemu.main, [(0, PAGE)])
        with pytest.raises(QemuFailed):
            write_content(tmp_path / "content", memory, qemu.main)


def test_memory_is_nobody_else_s_to_read(qemu: PlayedQemu, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(b"b" * MAIN)
    before = os.umask(0)
    try:
        with ProcessMemory.open(qemu.pid) as memory:
            write_whole(tmp_path / "whole", memory, qemu.main, [], None)
            write_whole(tmp_path / "cloned", memory, qemu.main, [], base)
            write_changes(tmp_path / "changes", memory, qemu.main, [])
    finally:
        os.umask(before)
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("whole", "cloned", "changes")} == {
        "whole": 0o600, "cloned": 0o600, "changes": 0o600,
    }  # fmt: skip


def test_a_disk_that_takes_only_parts_of_a_write(qemu: PlayedQemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite

    def partly(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        return write(descriptor, memoryview(data)[:1000], offset)

    qemu.writes(PAGE, os.urandom(2 * PAGE))
    with ProcessMemory.open(qemu.pid) as memory:
        monkeypatch.setattr(os, "pwrite", partly)
        write_whole(tmp_path / "memory", memory, qemu.main, memory.own_runs(qemu.main), None)
    assert (tmp_path / "memory").read_bytes() == content(qemu, qemu.main)
