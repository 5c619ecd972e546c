"""The console's stream: all of it in the log, a bounded part in memory, told to whoever listens."""

from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc
from pathlib import Path

import pytest
from consoles import Heard, attached

from qa.console import SerialConsole
from qa.console.serial import TAIL


async def test_every_byte_is_in_the_log(tmp_path: Path) -> None:
    sent = os.urandom(700_000)
    async with attached(tmp_path / "console.log") as (console, guest):
        heard = Heard(console)
        await asyncio.get_running_loop().sock_sendall(guest, sent)
        await heard.until(len(sent))
        assert (tmp_path / "console.log").read_bytes() == sent
        assert console.position == len(sent)


async def test_a_second_boot_appends(tmp_path: Path) -> None:
    async with attached(tmp_path / "console.log") as (console, guest):
        heard = Heard(console)
        guest.send(b"first ")
        await heard.until(6)
        ours, second = socket.socketpair()
        await console.attach(ours)
        second.send(b"second")
        await heard.until(12)
        second.close()
    assert (tmp_path / "console.log").read_bytes() == b"first second"


def test_a_log_that_exists_is_appended_to(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"before ")
    console = SerialConsole(tmp_path / "console.log")
    console.data_received(b"after")
    console.close()
    assert (tmp_path / "console.log").read_bytes() == b"before after"
    assert console.position == 12


def test_a_hundred_megabytes_leave_the_tail_in_memory_and_all_in_the_log(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    piece = (b"y" * 99 + b"\n") * 640
    tracemalloc.start()
    try:
        for _ in range(100_000_000 // len(piece)):
            console.data_received(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    console.close()
    assert peak < 8 * TAIL
    assert len(console.recent) == TAIL
    assert (tmp_path / "console.log").stat().st_size == console.position == 100_000_000 // len(piece) * len(piece)


def test_the_most_recent_bytes_are_the_last_ones(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    for number in range(200):
        console.data_received(b"%08d" % number * 1000)
    console.close()
    assert console.recent == b"".join(b"%08d" % number * 1000 for number in range(200))[-TAIL:]


def test_a_full_disk_is_noted_and_does_not_stop_the_console() -> None:
    console = SerialConsole(Path("/dev/full"))
    heard: list[bytes] = []
    console.subscribe(heard.append)
    console.data_received(b"one")
    console.data_received(b"two")
    console.close()
    assert heard == [b"one", b"two"]
    assert console.error is not None


async def test_what_is_typed_reaches_the_guest(tmp_path: Path) -> None:
    async with attached(tmp_path / "console.log") as (console, guest):
        console.write(b"root\r")
        assert await asyncio.get_running_loop().sock_recv(guest, 100) == b"root\r"


def test_typing_into_a_machine_that_is_off_does_nothing(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    console.write(b"root\r")
    console.close()
    assert console.position == 0


def test_nothing_is_told_after_the_subscription_ended(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    heard: list[bytes] = []
    unsubscribe = console.subscribe(heard.append)
    console.data_received(b"one")
    unsubscribe()
    console.data_received(b"two")
    console.close()
    assert heard == [b"one"]


@pytest.mark.parametrize("lines", [1, 3, 40])
def test_the_tail_is_the_last_lines_without_escape_sequences(tmp_path: Path, lines: int) -> None:
    console = SerialConsole(tmp_path / "console.log")
    for number in range(100):
        console.data_received(b"\x1b[1;32m[ ok ]\x1b[0m line %d\r\n" % number)
    console.close()
    assert console.tail(lines).splitlines() == [f"[ ok ] line {number}" for number in range(100 - lines, 100)]


async def test_the_lines_from_a_text_on_are_those_from_its_last_appearance(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    console.data_received(b"Kernel panic: old\r\nreboot\r\nKernel panic: new\r\nwhy\r\nwhere\r\nregisters\r\n")
    assert console.tail_from("Kernel panic", 3) == "Kernel panic: new\nwhy\nwhere"
    assert console.tail_from("no such text", 1) == console.tail(1)
    console.close()


# a machine that goes on from a frozen state


def test_what_is_known_of_a_console_is_its_end_and_how_much_of_it_is_recent(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    assert console.known() == (b"", 0)
    console.data_received(b"first boot ")
    console.mark()
    console.data_received(b"second")
    assert console.known() == (b"first boot second", 6)
    console.data_received(b"x" * 3 * TAIL)
    tail, recent = console.known()
    assert (tail, recent) == (b"x" * TAIL, TAIL)
    console.close()


def test_it_goes_on_where_the_other_one_was(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    heard: list[bytes] = []
    console.subscribe(heard.append)
    console.go_on_from(b"old boot, this boot", 9)
    assert (console.recent, console.last(100), heard) == (b"this boot", b"old boot, this boot", [])
    console.data_received(b", now")
    assert (console.recent, heard) == (b"this boot, now", [b", now"])
    assert console.known() == (b"old boot, this boot, now", 14)
    console.close()
    assert (tmp_path / "console.log").read_bytes() == b"old boot, this boot, now"


def test_a_machine_that_goes_back_has_its_past_again_and_the_log_has_all(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    console.data_received(b"then, ")
    then = console.known()
    console.data_received(b"since")
    position = console.position
    console.go_on_from(*then)
    assert (console.recent, console.last(100)) == (b"then, ", b"then, ")
    assert console.position > position  # who compares sees that there is something else
    console.data_received(b"and on")
    assert console.recent == b"then, and on"
    console.close()
    assert (tmp_path / "console.log").read_bytes() == b"then, sinceand on"


def test_each_past_is_counted(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    console.go_on_from(b"", 0)
    console.go_on_from(b"x", 1)
    assert console.history == 2
    assert console.recent == b"x"
    console.close()


async def test_a_past_is_recent_also_after_the_line_was_attached(tmp_path: Path) -> None:
    async with attached(tmp_path / "console.log") as (console, _):
        console.go_on_from(b"login: ", 7)
        assert console.recent == b"login: "
