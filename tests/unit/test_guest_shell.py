"""The shell channel when the guest's shells go away, or go on elsewhere: played on sockets, no command waits in vain."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qa.console import SerialConsole
from qa.errors import ChannelLost
from qa.guest.port import Port
from qa.guest.shell import ShellChannel
from qa.guest.shell_script import HELLO, control_prelude, slot_prelude
from qa.guest.thaw_program import octal, thaw_input
from qa.guest.vitals import Vitals

PORTS = 5
HELLO_LINE = b"\x1e" + HELLO.encode() + b"\n"
READY_LINE = b"\x1e" + HELLO.encode() + b" ready\n"


class Guest:
    """The guest's ends of the ports. It says hello, brings slots up, and then answers nothing."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self._ends = ends
        self.slots = 0

    async def says_hello(self) -> None:
        self._ends[0].sendall(HELLO_LINE)
        await self.hears(0, b"q_slot")
        self._ends[0].sendall(READY_LINE)

    async def hears(self, port: int, text: bytes) -> bytes:
        heard = b""
        while text not in heard:
            heard += await asyncio.get_running_loop().sock_recv(self._ends[port], 65536)
        return heard

    async def brings_a_slot_up(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        _, identity, number, token = (await self.hears(0, b"\n")).decode().split()
        meanwhile()
        self._ends[0].sendall(f"\x1e{identity} 4711\n".encode())
        port = self._ends[int(number)]
        port.sendall(f"\x1e{token}\n".encode())
        await self.hears(int(number), b"ready")
        port.sendall(f"\x1e{token} ready\n".encode())
        self.slots += 1


@asynccontextmanager
async def channel_and_guest(folder: Path) -> AsyncGenerator[tuple[ShellChannel, Guest]]:
    pairs = [socket.socketpair() for _ in range(PORTS)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    ports = [await Port.attach(ours) for ours, _ in pairs]
    console = SerialConsole(folder / "console.log")
    vitals = Vitals("vm", console)
    try:
        yield ShellChannel(ports, vitals), Guest([theirs for _, theirs in pairs])
    finally:
        vitals.close()
        console.close()
        for port in ports:
            port.close()
        for _, theirs in pairs:
            theirs.close()


async def test_a_command_that_runs_when_the_shells_start_anew_is_lost_at_once(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        running = asyncio.ensure_future(channel.run("sleep 1000", limit=1000))
        await guest.brings_a_slot_up()
        await guest.hears(1, b"sleep 1000")
        guest._ends[0].sendall(HELLO_LINE)
        with pytest.raises(ChannelLost, match="root shell in the guest has ended"):
            await running


async def test_a_command_that_waits_for_a_free_slot_is_lost_with_the_shells(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        running = []
        for number in range((PORTS - 1) // 2):
            running.append(asyncio.ensure_future(channel.run("sleep 1000", limit=1000)))
            await guest.brings_a_slot_up()
            await guest.hears(2 * number + 1, b"sleep 1000")
        running.append(asyncio.ensure_future(channel.run("true", limit=1000)))
        await asyncio.sleep(0)
        guest._ends[0].sendall(HELLO_LINE)
        for command in running:
            with pytest.raises(ChannelLost):
                await command


async def test_who_gives_up_while_a_slot_starts_leaves_it_to_the_next(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        impatient = asyncio.ensure_future(channel.run("true", limit=1000))
        await guest.brings_a_slot_up(meanwhile=impatient.cancel)
        await channel._shells.freed.wait()
        patient = asyncio.ensure_future(channel.run("echo patient", limit=1000))
        await guest.hears(1, b"patient")
        assert guest.slots == 1
        patient.cancel()


# a guest that is frozen and goes on elsewhere


async def answer(guest: Guest, function: str, *words: str) -> list[str]:
    """Have the guest answer the next request for ``function``; gives the request's words."""
    *_, line = (await guest.hears(0, b"\n")).decode().strip().split("\n")
    asked = line.split()
    assert asked[0] == function
    guest._ends[0].sendall(" ".join([f"\x1e{asked[1]}", *words, "\n"]).encode())
    return asked[2:]


async def with_an_idle_slot(channel: ShellChannel, guest: Guest) -> None:
    await guest.says_hello()
    there = asyncio.ensure_future(channel.wait_until_there())
    await guest.brings_a_slot_up()
    await there


async def test_a_fork_goes_on_with_the_shells_that_were_idle(tmp_path: Path) -> None:
    (tmp_path / "fork").mkdir()
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await with_an_idle_slot(channel, guest)
        known = json.loads(json.dumps(channel.known()))
        async with channel_and_guest(tmp_path / "fork") as (fork, thawed):
            fork.recall(known)
            assert fork.known() == known
            await fork.wait_until_there()
            running = asyncio.ensure_future(fork.run("echo on", limit=10))
            token, _, *_ = (await thawed.hears(1, b"echo on")).decode().split()
            assert token == known["idle"][0]["token"]
            thawed._ends[1].sendall(f"on\n\x1e{token}-1 0 0\n".encode())
            thawed._ends[2].sendall(f"\x1e{token}-1\n".encode())
            assert (await running).stdout == b"on\n"


async def test_the_count_of_answers_goes_on(tmp_path: Path) -> None:
    (tmp_path / "fork").mkdir()
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await with_an_idle_slot(channel, guest)
        channel._shells.idle[0]._answers = 41
        channel._shells.idle[0].shared = True
        async with channel_and_guest(tmp_path / "fork") as (fork, thawed):
            fork.recall(channel.known())
            (slot,) = fork._shells.idle
            assert (slot.number, slot.process, slot.shared) == (1, "4711", True)
            running = asyncio.ensure_future(slot.run("true", None, lambda _: None, lambda _: None))
            token = (await thawed.hears(1, b"true")).decode().split()[0]
            thawed._ends[1].sendall(f"\x1e{token}-42 0 0\n".encode())
            thawed._ends[2].sendall(f"\x1e{token}-42\n".encode())
            assert await running == 0


async def test_a_shell_that_ran_a_command_then_is_not_used_again(tmp_path: Path) -> None:
    (tmp_path / "fork").mkdir()
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await with_an_idle_slot(channel, guest)
        running = asyncio.ensure_future(channel.run("sleep 1000", limit=1000))
        await guest.hears(1, b"sleep")
        known = channel.known()
        assert (known["idle"], known["unused"]) == ([], [3])
        async with channel_and_guest(tmp_path / "fork") as (fork, thawed):
            fork.recall(known)
            other = asyncio.ensure_future(fork.run("echo other", limit=10))
            identity, number = (await thawed.hears(0, b"\n")).decode().split()[1:3]
            assert (number, bool(identity)) == ("3", True)
            other.cancel()
        running.cancel()


async def test_what_a_command_of_the_source_still_prints_disturbs_nobody(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (fork, thawed), asyncio.timeout(10):
        fork.recall({"ready": True, "armed": True, "idle": [], "unused": [3]})
        thawed._ends[1].sendall(b"output of a command that runs on\n\x1eabc-1 0 0\n")
        thawed._ends[0].sendall(b"rest of an answer 4711\n\x1enobody asked\n")
        freshening = asyncio.ensure_future(fork.freshen())
        await answer(thawed, "q_thaw", "0")
        assert await freshening


async def test_a_guest_that_was_not_ready_says_hello_later(tmp_path: Path) -> None:
    (tmp_path / "fork").mkdir()
    async with channel_and_guest(tmp_path) as (channel, _), asyncio.timeout(10):
        known = channel.known()
        assert known == {"ready": False, "armed": False, "idle": [], "unused": [1, 3]}
        async with channel_and_guest(tmp_path / "fork") as (fork, thawed):
            fork.recall(known)
            waiting = asyncio.ensure_future(fork.wait_until_there())
            await asyncio.sleep(0)
            assert not waiting.done()
            await thawed.says_hello()
            await thawed.brings_a_slot_up()
            await waiting


SLOT = {"number": 1, "token": "abc", "answers": 0, "process": "1", "shared": False}


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"ready": True, "armed": True, "idle": []},
        {"ready": True, "armed": True, "idle": None, "unused": []},
        {"ready": True, "armed": True, "idle": [{}], "unused": []},
        {"ready": True, "armed": True, "idle": [1], "unused": []},
        {"ready": True, "armed": True, "idle": [SLOT | {"number": "x"}], "unused": []},
        {"ready": True, "armed": True, "idle": [SLOT | {"number": 99}], "unused": []},
        {"ready": True, "armed": True, "idle": [SLOT | {"answers": None}], "unused": []},
        {"ready": True, "armed": True, "idle": [], "unused": ["x"]},
    ],
)
async def test_what_was_not_kept_like_this_is_an_error(tmp_path: Path, known: dict[str, Any]) -> None:
    async with channel_and_guest(tmp_path) as (fork, _):
        with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
            fork.recall(known)


async def test_a_guest_is_armed_once(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await channel.arm()  # there is no shell yet: nothing is asked
        await guest.says_hello()
        while not channel.known()["ready"]:  # noqa: ASYNC110 -- the shell tells nobody else
            await asyncio.sleep(0)
        arming = asyncio.ensure_future(channel.arm())
        await answer(guest, "q_arm", "0")
        await arming
        assert channel.known()["armed"]
        await channel.arm()
        guest._ends[0].sendall(HELLO_LINE)  # a new shell knows nothing of it
        await guest.hears(0, b"q_slot")
        assert not channel.known()["armed"]


@pytest.mark.parametrize("code", ["1", "126", "2"])
async def test_a_guest_that_cannot_be_armed_is_freshened_otherwise(tmp_path: Path, code: str) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        while not channel.known()["ready"]:  # noqa: ASYNC110 -- the shell tells nobody else
            await asyncio.sleep(0)
        arming = asyncio.ensure_future(channel.arm())
        await answer(guest, "q_arm", code)
        await arming
        assert not await channel.freshen()


async def test_a_program_that_fails_in_the_guest_is_told(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        channel.recall({"ready": True, "armed": True, "idle": [], "unused": []})
        freshening = asyncio.ensure_future(channel.freshen())
        (data,) = await answer(guest, "q_thaw", "1")
        assert data.count("\\") == 80
        assert not await freshening


SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "busybox": ["busybox", "sh"], "dash": ["dash"]}
ALONE = ["unshare", "--user", "--map-root-user"]
"""Root of a user namespace may set no clock: what the program does is refused by the kernel."""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_control_shell_takes_the_program_along_and_runs_it(shell: str) -> None:
    before, clock = set(Path("/dev/shm").iterdir()), time.time()
    script = control_prelude() + "q_arm one\nq_arm two\nq_thaw three '" + octal(thaw_input(1.0)) + "'\nq_thaw four 'too short'\n"
    ran = subprocess.run([*ALONE, *SHELLS[shell]], input=script.encode(), capture_output=True, timeout=60, check=True)
    assert ran.stdout.split(b"\x1e")[2:] == [b"one 0\n", b"two 0\n", b"three 1\n", b"four 1\n"]
    assert ran.stderr == b""
    assert {path for path in Path("/dev/shm").iterdir() if path.name.startswith(".anima-qa")} <= before
    assert abs(time.time() - clock) < 60


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_do_not_inherit_the_program(shell: str, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    script = f"exec 8<{tmp_path}/program\n{slot_prelude('abc').splitlines()[0]}\nls -l /proc/$$/fd\n"
    ran = subprocess.run(SHELLS[shell], input=script.encode(), capture_output=True, timeout=60, check=True)
    assert b"program" not in ran.stdout
