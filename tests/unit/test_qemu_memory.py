"""A process's memory from outside: which pages are its own, reading them, and writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_qmp import FakeQmp
from played_qemu import MAIN, played_qemu

from qa.errors import QemuFailed
from qa.qemu.memory import CHUNK, PAGE, Block, ProcessMemory, find_blocks
from qa.qemu.monitor import Monitor

TABLE = """\
              Block Name    PSize              Offset               Used              Total                HVA  RO
                     ram    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000 0x00007f5d4be00000  rw
   0000:00:02.0/vga.vram    4 KiB  0x0000000008080000 0x0000000001000000 0x0000000001000000 0x00007f5d4a000000  rw
           system.flash0    4 KiB  0x0000000009080000 0x0000000000084000 0x0000000000084000 0x00007f5d49e00000  ro
    /rom@etc/acpi/tables    4 KiB  0x000000000914c000 0x0000000000020000 0x0000000000200000 0x00007f5d49600000  ro
"""


async def blocks_in(table: str) -> tuple[Block, Block | None]:
    async with FakeQmp(lambda _: {"return": table}) as qmp:
        monitor = Monitor("vm", lambda _name, _data: None)
        await monitor.connect(qmp.near)
        try:
            return await find_blocks(monitor)
        finally:
            await monitor.disconnect()


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """Memory in a file: each page has its number all over."""
    path = tmp_path / "memory"
    path.write_bytes(b"".join(bytes([number]) * PAGE for number in range(MAIN // PAGE)))
    return path


async def test_qemu_tells_where_the_memory_is() -> None:
    assert await blocks_in(TABLE.replace("\n", "\r\n")) == (
        Block("ram", 0x7F5D4BE00000, 0x8000000),
        Block("0000:00:02.0/vga.vram", 0x7F5D4A000000, 0x1000000),
    )


@pytest.mark.parametrize("name", ["pc.ram", "ram", "/objects/ram"])
async def test_the_main_memory_by_each_of_its_names(name: str) -> None:
    main, _ = await blocks_in(TABLE.replace(" ram ", f" {name} "))
    assert (main.name, main.size) == (name, 0x8000000)


async def test_a_machine_without_a_display() -> None:
    assert (await blocks_in(TABLE.replace("vga.vram", "other.ram")))[1] is None


@pytest.mark.parametrize("table", ["", "unknown command: 'info ramblock'\r\n", TABLE.replace(" ram ", " pc.bios ")])
async def test_a_qemu_that_does_not_tell(table: str) -> None:
    with pytest.raises(QemuFailed, match="does not tell where the guest's memory lies") as caught:
        await blocks_in(table)
    assert caught.value.evidence == {"info ramblock": table}


def test_pages_of_the_file_are_not_its_own_before_it_writes(frozen: Path) -> None:
    with played_qemu(frozen) as qemu, ProcessMemory.open(qemu.pid) as memory:
        assert [bytes(piece) for _, piece in memory.read(qemu.main, [(0, MAIN)])] == [frozen.read_bytes()]
        assert memory.own_runs(qemu.main) == []


def test_exactly_the_pages_that_were_written_to_are_its_own(frozen: Path) -> None:
    with played_qemu(frozen) as qemu, ProcessMemory.open(qemu.pid) as memory:
        qemu.writes(0, b"a")
        qemu.writes(5 * PAGE - 1, b"bb")  # the last byte of one page, the first of the next
        qemu.writes(MAIN - 1, b"c")
        qemu.writes(9 * PAGE, bytes([9]) * PAGE)  # what was there already
        assert memory.own_runs(qemu.main) == [(0, PAGE), (4 * PAGE, 2 * PAGE), (9 * PAGE, PAGE), (MAIN - PAGE, PAGE)]
        assert [(start, bytes(piece)) for start, piece in memory.read(qemu.main, [(4 * PAGE, 2 * PAGE)])] == [
            (4 * PAGE, b"\x04" * (PAGE - 1) + b"bb" + b"\x05" * (PAGE - 1))
        ]
    assert frozen.read_bytes()[: PAGE + 1] == b"\0" * PAGE + b"\1"


def test_what_is_written_from_outside_is_the_process_s_own(frozen: Path) -> None:
    before = frozen.read_bytes()
    with played_qemu(frozen) as qemu, ProcessMemory.open(qemu.pid) as memory:
        memory.write(qemu.main, 3 * PAGE, b"x" * PAGE)
        memory.write(qemu.main, MAIN - PAGE, memoryview(b"y" * PAGE))
        assert memory.own_runs(qemu.main) == [(3 * PAGE, PAGE), (MAIN - PAGE, PAGE)]
        assert [bytes(piece[:1]) for _, piece in memory.read(qemu.main, [(3 * PAGE, PAGE), (MAIN - PAGE, PAGE)])] == [b"x", b"y"]
    assert frozen.read_bytes() == before


def test_memory_without_a_file_is_its_own_where_it_was_used() -> None:
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory:
        qemu.writes(2 * PAGE, b"x")
        assert (2 * PAGE, PAGE) in memory.own_runs(qemu.main)
        assert memory.own_runs(qemu.display) == []


def test_a_block_is_read_and_not_what_lies_beside_it() -> None:
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory:
        for page in range(4):
            qemu.writes(page * PAGE, b"x")
        part = Block("part", qemu.main.address + PAGE, 2 * PAGE)
        assert memory.own_runs(part) == [(0, 2 * PAGE)]


def test_long_runs_come_in_pieces() -> None:
    size = 2 * CHUNK + 3 * PAGE
    with played_qemu(size=size) as qemu, ProcessMemory.open(qemu.pid) as memory:
        qemu.writes(size - 1, b"z")
        pieces = [(start, len(piece), bytes(piece[-1:])) for start, piece in memory.read(qemu.main, [(0, size)])]
    assert pieces == [(0, CHUNK, b"\0"), (CHUNK, CHUNK, b"\0"), (2 * CHUNK, 3 * PAGE, b"z")]


@pytest.mark.parametrize(("offset", "length"), [(-PAGE, PAGE), (MAIN, PAGE), (MAIN - PAGE, PAGE + 1), (0, MAIN + 1)])
def test_nothing_is_written_beside_the_block(offset: int, length: int) -> None:
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory:
        with pytest.raises(QemuFailed, match="more was to be written than the guest has memory"):
            memory.write(qemu.main, offset, b"x" * length)
        assert memory.own_runs(qemu.main) == []


def test_memory_that_is_not_there() -> None:
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory:
        nowhere = Block("nowhere", 1 << 40, 2 * PAGE)
        with pytest.raises(QemuFailed, match="cannot be reached: Input/output error"):
            list(memory.read(nowhere, [(0, PAGE)]))
        with pytest.raises(QemuFailed, match="cannot be reached: Input/output error"):
            memory.write(nowhere, 0, b"x")


def test_a_kernel_that_does_not_tell_of_all_pages() -> None:
    beyond = Block("beyond", (1 << 64) - 2 * PAGE, 4 * PAGE)
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory, pytest.raises(QemuFailed, match="does not tell"):
        memory.own_runs(beyond)


def test_a_process_that_dies_meanwhile() -> None:
    with played_qemu() as qemu, ProcessMemory.open(qemu.pid) as memory:
        qemu.dies()
        with pytest.raises(QemuFailed, match="could not be read whole"):
            list(memory.read(qemu.main, [(0, PAGE)]))
        with pytest.raises(QemuFailed, match="could not be written whole"):
            memory.write(qemu.main, 0, b"x")
        with pytest.raises(QemuFailed, match="cannot be reached"):
            memory.own_runs(qemu.main)


def test_a_process_that_is_gone() -> None:
    with played_qemu() as qemu:
        qemu.dies()
        with pytest.raises(QemuFailed, match="cannot be reached: No such file"), ProcessMemory.open(qemu.pid):
            pass


def test_a_kernel_that_does_not_let_us(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(QemuFailed, match="cannot be reached: Permission denied") as caught, ProcessMemory.open(os.getpid()):
        pass
    assert "ptrace_scope" in (caught.value.hint or "")


def test_no_descriptor_is_left() -> None:
    with played_qemu() as qemu:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            with ProcessMemory.open(qemu.pid) as memory:
                memory.own_runs(qemu.main)
            with pytest.raises(ZeroDivisionError), ProcessMemory.open(qemu.pid):
                raise ZeroDivisionError
        assert len(list(Path("/proc/self/fd").iterdir())) == before
