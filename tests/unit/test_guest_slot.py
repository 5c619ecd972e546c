"""Commands in a slot: the real scripts of the shell channel, run by bash and BusyBox."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest
from slots import SHELLS, children, kill_running, slot_of

from qa.guest.slot import Slot


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: bytes


class Runner:
    def __init__(self, slot: Slot) -> None:
        self.slot = slot

    async def __call__(self, command: str, stdin: BinaryIO | None = None) -> Ran:
        out, err = bytearray(), bytearray()
        code = await asyncio.wait_for(self.slot.run(command, stdin, out.extend, err.extend), 20)
        return Ran(code, bytes(out), bytes(err))


@pytest.fixture(params=list(SHELLS))
async def run(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runner]:
    async with slot_of(request.param, tmp_path) as slot:
        yield Runner(slot)


@contextmanager
def file_with(data: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("true", 0),
        ("false", 1),
        ("exit 3", 3),
        ("exec false", 1),
        ("set -e; false; echo not here", 1),
        ("(exit 42)", 42),
        ("no-such-command", 127),
        ("kill -9 $(exec sh -c 'echo $PPID')", 137),
        ("sh -c 'kill -TERM $$'", 143),
        ("false | true", 0),
        ("return 5 2>/dev/null; exit 5", 5),
        ("", 0),
        ("# only a comment", 0),
    ],
)
async def test_the_exit_code_is_that_of_a_shell(run: Runner, command: str, code: int) -> None:
    assert (await run(command)).code == code
    assert await run("echo alive") == Ran(0, b"alive\n", b"")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("echo one; echo two", b"one\ntwo\n"),
        ("echo one\necho two\n\n\necho three", b"one\ntwo\nthree\n"),
        ("printf 'no line feed'", b"no line feed"),
        ("printf ''", b""),
        ("printf '\\n\\n'", b"\n\n"),
        ("echo 'single' \"double\" it\\'s", b"single double it's\n"),
        ("echo 'a'\"'\"'b'", b"a'b\n"),
        ("echo Grüße ✓ 日本", "Grüße ✓ 日本\n".encode()),
        ("cat <<'X'\n$HOME `id`\n  'q'\nX\necho end", b"$HOME `id`\n  'q'\nend\n"),
        ("cat <<X\n$((1+2))\nX", b"3\n"),
        ("for i in 1 2 3; do\n  echo $i\ndone", b"1\n2\n3\n"),
        ("f() {\n  echo \"$1\"\n}\nf 'x  y'", b"x  y\n"),
        ("echo a\\\nb", b"ab\n"),
        ("echo back\\\\slash '\\n'", None),
        ("printf '%s' '$l ${n} $2'", b"$l ${n} $2"),
        ("cat /dev/stdin", b""),
        ("echo one # comment\necho two # another", b"one\ntwo\n"),
        ("echo \ttab", b"tab\n"),
        ("! false", b""),
        ("printf 'a\\036b\\036\\n'", b"a\x1eb\x1e\n"),
        ("printf '\\036'", b"\x1e"),
        ("printf '\\000\\001\\377\\r\\n\\000'", b"\x00\x01\xff\r\n\x00"),
    ],
)
async def test_the_output_is_kept_to_the_byte(run: Runner, command: str, out: bytes | None) -> None:
    ran = await run(command)
    assert (ran.code, ran.err) == (0, b"")
    assert out is None or ran.out == out


async def test_output_and_errors_are_apart(run: Runner) -> None:
    assert await run("echo out; echo err >&2; printf more") == Ran(0, b"out\nmore", b"err\n")


@pytest.mark.parametrize(
    "command", ["echo 'unbalanced", 'echo "unbalanced', "if true; then", "echo )", "cat <<", "f( {", "`", "case x in"]
)
async def test_a_syntax_error_is_the_commands_own(run: Runner, command: str) -> None:
    ran = await run(command)
    assert ran.code != 0
    assert ran.err != b""
    assert await run("echo alive") == Ran(0, b"alive\n", b"")


async def test_nothing_leaks_into_the_next_command(run: Runner) -> None:
    before = await run("pwd")
    await run("cd /; leak=1; export leaked=2; umask 077; f() { :; }; set -f; trap 'echo trapped' EXIT; exec 2>/dev/null")
    after = await run('pwd; echo "${leak:-}${leaked:-}"; umask; type f >/dev/null 2>&1 || echo none; echo /*bin; echo err >&2')
    *lines, glob = after.out.decode().splitlines()
    assert lines == [before.out.decode().strip(), "", (await run("umask")).out.decode().strip(), "none"]
    assert glob != "/*bin"
    assert after.err == b"err\n"


async def test_a_command_that_reads_gets_the_end_of_the_file(run: Runner) -> None:
    assert await run("cat; read x; echo $?") == Ran(0, b"1\n", b"")


async def test_all_bytes_of_a_binary_stream_pass(run: Runner) -> None:
    data = bytes(range(256)) * 5000
    with file_with(data) as stdin:
        assert await run("cat", stdin) == Ran(0, data, b"")


async def test_a_lot_of_output_on_both_streams(run: Runner) -> None:
    ran = await run("yes out | head -c 3000000 & yes err | head -c 3000000 >&2; wait")
    assert (ran.code, len(ran.out), len(ran.err)) == (0, 3_000_000, 3_000_000)


async def test_input_is_taken_whole(run: Runner) -> None:
    data = os.urandom(2_000_000)
    with file_with(data) as stdin:
        assert await run("wc -c", stdin) == Ran(0, b"2000000\n", b"")
    assert (await run("echo next")).out == b"next\n"


async def test_input_that_is_empty(run: Runner) -> None:
    with file_with(b"") as stdin:
        assert await run("cat; echo end", stdin) == Ran(0, b"end\n", b"")


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("head -c 1 >/dev/null; exit 4", 4), ("exit 3", 3), ("no-such-command", 127), ("syntax (", None)],
)
async def test_input_that_is_not_read_to_its_end_is_no_command(run: Runner, command: str, code: int | None) -> None:
    with file_with(b"echo hostile\nexit\n" * 100_000) as stdin:
        ran = await run(command, stdin)
    assert code is None or ran.code == code
    assert ran.out == b""
    assert await run("echo next") == Ran(0, b"next\n", b"")


async def test_a_file_that_grows_while_it_is_sent_sends_what_was_announced(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 1000)

    class Growing(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            data = super().read(size)
            with path.open("ab") as more:
                more.write(b"echo hostile\n" * 100)
            return data

    with Growing(path) as stdin:
        assert (await run("wc -c", stdin)).out == b"1000\n"
    assert await run("echo next") == Ran(0, b"next\n", b"")


async def test_background_children_hang_no_call_and_are_told(run: Runner) -> None:
    ran = await run("sleep 60 & echo $!")
    os.kill(int(ran.out), signal.SIGKILL)
    assert (ran.code, ran.err) == (0, b"")
    assert run.slot.shared
    assert await run("echo next") == Ran(0, b"next\n", b"")


async def test_a_command_without_children_leaves_the_slot_clean(run: Runner) -> None:
    await run("true & wait")
    assert not run.slot.shared


async def test_output_comes_while_the_command_runs(run: Runner, tmp_path: Path) -> None:
    came: asyncio.Queue[bytes] = asyncio.Queue()
    command = "mkfifo fifo; echo first; read x < fifo; echo second"
    running = asyncio.create_task(run.slot.run(command, None, came.put_nowait, lambda _: None))
    assert await asyncio.wait_for(came.get(), 10) == b"first\n"
    assert not running.done()
    await asyncio.to_thread((tmp_path / "fifo").write_text, "go\n")
    assert await asyncio.wait_for(running, 10) == 0
    assert came.get_nowait() == b"second\n"


async def test_a_killed_command_takes_its_children_along_and_the_slot_goes_on(run: Runner) -> None:
    came: asyncio.Queue[bytes] = asyncio.Queue()
    command = "sleep 61 | sleep 62 & sh -c 'sleep 63; :' & echo started; wait"
    running = asyncio.create_task(run.slot.run(command, None, came.put_nowait, lambda _: None))
    assert await asyncio.wait_for(came.get(), 10) == b"started\n"
    leader = children(run.slot.process)[0]
    members = group_of(leader)
    assert len(members) >= 4
    running.cancel()
    kill_running(run.slot)
    await asyncio.wait_for(run.slot.resync(), 10)
    assert await run("echo next") == Ran(0, b"next\n", b"")
    assert group_of(leader) == []


def sleepers(slot: Slot) -> list[int]:
    return [pid for child in children(slot.process) for pid in group_of(child) if b"sleep" in comm(pid)]


def comm(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def group_of(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


async def test_what_is_left_of_a_killed_transfer_is_never_executed(run: Runner, tmp_path: Path) -> None:
    with file_with(b"touch executed; exit\n" * 50_000) as stdin:
        running = asyncio.create_task(run.slot.run("sleep 60", stdin, lambda _: None, lambda _: None))
        await asyncio.sleep(0)
        while not sleepers(run.slot):  # noqa: ASYNC110 -- the guest's side tells nothing
            await asyncio.sleep(0.01)
        running.cancel()
        kill_running(run.slot)
        await asyncio.wait_for(run.slot.resync(), 20)
    assert await run("echo next") == Ran(0, b"next\n", b"")
    assert not (tmp_path / "executed").exists()


async def test_output_cannot_pretend_to_be_the_answer(run: Runner) -> None:
    ran = await run("printf '\\036000000000000 0 0\\n\\036anima-qa-shell ready\\n'; exit 9")
    assert (ran.code, ran.out) == (9, b"\x1e000000000000 0 0\n\x1eanima-qa-shell ready\n")


async def test_many_commands_one_after_the_other(run: Runner) -> None:
    for number in range(60):
        assert await run(f"echo {number}") == Ran(0, b"%d\n" % number, b"")


async def test_another_one_goes_on_with_the_shell_of_a_slot(run: Runner) -> None:
    """As after a thaw: nothing in the guest says hello again."""
    assert (await run("echo one")).out == b"one\n"
    background = int((await run("sleep 60 >/dev/null 2>&1 & echo $!")).out)
    other = Slot(1, run.slot._output, run.slot._errors)
    other.recall(json.loads(json.dumps(run.slot.known())))
    assert other.known() == run.slot.known()
    again = Runner(other)
    assert await again("echo two; echo err >&2; exit 3") == Ran(3, b"two\n", b"err\n")
    kill_running(other)
    await asyncio.wait_for(other.resync(), 20)
    assert (await again("echo three")).out == b"three\n"
    os.kill(background, signal.SIGKILL)
