"""The program that thawed guests run: its system calls, one by one, and never on this host's clock or randomness."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from qa.guest.thaw_program import octal, thaw_input, thaw_program

NOW = 1795184377.25


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(thaw_program())
    path.chmod(0o700)
    return path


@dataclass(frozen=True)
class Run:
    """Exit status, names of the system calls, and the whole trace."""

    code: int
    calls: list[str]
    trace: str


def run(program: Path, data: bytes, *, pieces: int = 1, **fails: str) -> Run:
    """Run it under a tracer that answers in the kernel's place: the calls that would change this host are never done.

    ``fails`` maps a call to the error that it gets.
    """
    log = program.with_name("trace")
    answers = {"open": "3", "write": "64", "ioctl": "0", "clock_settime": "0"}
    inject = [f"inject={name}:" + (f"error={fails[name]}" if name in fails else f"retval={answers[name]}") for name in answers]
    command = ["strace", "-xx", "-s", "100", "-o", str(log), *(word for one in inject for word in ("-e", one)), str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin
        size = max(1, -(-len(data) // pieces))
        for number, start in enumerate(range(0, len(data), size), start=1):
            os.write(process.stdin.fileno(), data[start : start + size])
            while number < pieces and reads_done(log) < number:
                os.sched_yield()
        process.stdin.close()
        code = process.wait(60)
    trace = log.read_text()
    return Run(code, [name for name in re.findall(r"^(\w+)\(", trace, re.MULTILINE) if name != "execve"], trace)


def reads_done(log: Path) -> int:
    """How many reads have given something. Each is told when it begins, and its result when it is over."""
    return len(re.findall(r"^read\(.* = [1-9]", log.read_text(), re.MULTILINE)) if log.exists() else 0


def hexed(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def test_it_renews_the_randomness_and_sets_the_clock(program: Path) -> None:
    data = thaw_input(NOW)
    ran = run(program, data)
    assert (ran.code, ran.calls) == (0, ["read", "open", "write", "ioctl", "clock_settime", "exit"])
    assert f'open("{hexed(b"/dev/urandom")}", O_WRONLY)' in ran.trace
    assert f'write(3, "{hexed(data[:64])}", 64)' in ran.trace
    assert "ioctl(3, RNDRESEEDCRNG)" in ran.trace
    assert "clock_settime(CLOCK_REALTIME, {tv_sec=1795184377, tv_nsec=250000000})" in ran.trace


@pytest.mark.parametrize("pieces", [2, 3])
def test_what_it_reads_may_come_in_pieces(program: Path, pieces: int) -> None:
    data = thaw_input(NOW)
    ran = run(program, data, pieces=pieces)
    assert (ran.code, ran.calls) == (0, ["read"] * pieces + ["open", "write", "ioctl", "clock_settime", "exit"])
    assert hexed(data[:64]) in ran.trace
    assert "tv_sec=1795184377, tv_nsec=250000000" in ran.trace


@pytest.mark.parametrize("length", [0, 1, 64, 79])
def test_with_less_than_all_it_does_nothing(program: Path, length: int) -> None:
    ran = run(program, thaw_input(NOW)[:length])
    assert (ran.code, set(ran.calls)) == (1, {"read", "exit"})


def test_without_a_source_of_randomness_it_fails(program: Path) -> None:
    ran = run(program, thaw_input(NOW), open="ENOENT")
    assert (ran.code, ran.calls) == (1, ["read", "open", "exit"])


@pytest.mark.parametrize("call", ["ioctl", "clock_settime"])
def test_what_it_may_not_do_is_told_and_the_rest_is_done(program: Path, call: str) -> None:
    ran = run(program, thaw_input(NOW), **{call: "EPERM"})
    assert (ran.code, ran.calls[-3:]) == (1, ["ioctl", "clock_settime", "exit"])


def test_it_asks_for_nothing_else_of_its_file(program: Path) -> None:
    data = program.read_bytes()
    assert data[:4] == b"\x7fELF"
    assert len(data) < 300
    segment = struct.unpack_from("<IIQQQQQQ", data, 64)
    assert segment[:3] == (1, 5, 0)  # loaded, readable and executable, never writable
    assert segment[5] == segment[6] == len(data)


def test_its_input_never_repeats() -> None:
    seeds = [thaw_input(NOW)[:64] for _ in range(1000)]
    assert len(set(seeds)) == 1000
    assert len({seed[:8] for seed in seeds} | {seed[-8:] for seed in seeds}) == 2000


@pytest.mark.parametrize("now", [0.0, 1.0, 1795184377.999999, 1795184377.9999998, 4102444800.5])
def test_the_time_is_kept_to_the_microsecond(now: float) -> None:
    seconds, nanoseconds = struct.unpack("<qq", thaw_input(now)[64:])
    assert 0 <= nanoseconds < 10**9
    assert abs(seconds + nanoseconds / 1e9 - now) < 1e-6


@pytest.mark.parametrize("shell", [["bash"], ["busybox", "sh"], ["dash"]])
def test_every_byte_passes_through_a_shell(shell: list[str]) -> None:
    data = bytes(range(256))
    script = f"printf '{octal(data)}'"
    assert subprocess.run([*shell, "-c", script], capture_output=True, check=True).stdout == data
