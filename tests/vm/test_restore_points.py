"""Restore points and forks of one machine: it is the same machine that goes on, and what goes on here is not seen there."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, driven, original, qemus

from qa.errors import MachineOff, UsageError
from qa.machine import Machine
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    async with original(shared_home, folder, "builtin", forward=[22], disks=[{"size": "64M", "serial": "data"}]) as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def said(machine: Machine, command: str) -> str:
    return (await machine.succeed(command)).stdout_text.strip()


async def uptime(machine: Machine) -> float:
    return float((await said(machine, "cat /proc/uptime")).split()[0])


async def test_a_restore_point_brings_back_memory_disk_and_time_on_the_machines_own_clock(vm: Driven) -> None:
    machine, nonce = vm.machine, secrets.token_hex(8)
    await vm("succeed", f"echo {nonce} > /run/nonce; dd if=/run/nonce of=/dev/vdb conv=notrunc 2>&1; sync")
    before = await uptime(machine)
    assert (await vm("snapshot", "good")).startswith("good: ")
    await vm("succeed", "rm /run/nonce; dd if=/dev/zero of=/dev/vdb bs=1M count=4 2>&1; sync; sleep 1")
    late = await uptime(machine)
    for _ in range(2):
        await vm("restore", "good")
        assert await said(machine, "cat /run/nonce; head -c 16 /dev/vdb") == f"{nonce}\n{nonce}"
        assert before <= await uptime(machine) < late
        await vm("succeed", "rm /run/nonce")
    assert machine.snapshots == ("good",)


async def test_restore_points_nest_and_can_be_gone_back_to_in_any_order(vm: Driven) -> None:
    for depth in range(8):
        await vm("succeed", f"echo {depth} > /run/depth; echo {depth} | dd of=/dev/vdb seek={depth} 2>&1; sync")
        await vm("snapshot", f"level {depth}")
    for depth in (7, 0, 4, 3, 6):
        await vm("restore", f"level {depth}")
        assert await said(vm.machine, "cat /run/depth") == str(depth)
        there = await said(
            vm.machine, "for i in 0 1 2 3 4 5 6 7; do dd if=/dev/vdb skip=$i count=1 2>/dev/null | tr -d '\\0'; done"
        )
        assert there.split() == [str(level) for level in range(depth + 1)]
    await vm("snapshot", "level 0")  # the name stands for another moment now
    await vm("restore", "level 0")
    assert await said(vm.machine, "cat /run/depth") == "6"


async def test_a_chain_of_eight_nested_forks_is_the_same_machine(vm: Driven) -> None:
    await vm("succeed", "echo > /run/passed")
    machine, since = vm.machine, await uptime(vm.machine)
    for depth in range(8):
        [machine] = await machine.fork()
        await machine.succeed(f"echo {depth} >> /run/passed")
    assert (await said(machine, "cat /run/passed")).split() == [str(depth) for depth in range(8)]
    assert since <= await uptime(machine) < since + 300
    assert await said(vm.machine, "cat /run/passed") == ""


async def test_sixteen_forks_at_once_see_nothing_of_each_other(vm: Driven) -> None:
    forks = await vm.machine.fork(16)
    assert len(qemus()) == 17
    firsts = await asyncio.gather(*(said(fork, "head -c 16 /dev/urandom | od -An -tx1") for fork in [vm.machine, *forks]))
    assert len(set(firsts)) == 17  # of the kernel's randomness no two draw the same
    first, *others = forks
    mark = secrets.token_hex(16)
    await first.succeed(f"echo {mark} > /run/mark; echo {mark} | dd of=/dev/vdb conv=notrunc 2>&1; sync")
    await first.succeed(
        "i=0; while [ $i -lt 40 ]; do dd if=/dev/urandom of=/tmp/load$i bs=1M count=1 2>/dev/null; i=$((i+1)); done"
    )
    look = "cat /run/mark 2>/dev/null; head -c 32 /dev/vdb | tr -d '\\0'; ls /tmp"
    seen = await asyncio.gather(*(said(machine, look) for machine in [vm.machine, *others]))
    assert not [one for one in seen if mark in one or "load" in one]
    assert mark in await said(first, "cat /run/mark; head -c 32 /dev/vdb")


async def test_fifty_forks_one_after_the_other_leave_nothing(booted: Original, tmp_path: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with booted.fork(folder) as vm:
            await vm("succeed", "test ! -e /run/visited && touch /run/visited")
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert qemus() == []
    assert [one.name for one in booted.host.owner.folder.iterdir()] == ["owner.lock"]


async def test_a_fork_knows_what_time_it_is(vm: Driven) -> None:
    await vm("succeed", "date -s '2001-02-03 04:05:06'")
    [fork] = await vm.machine.fork()
    asked = time.time()
    wrong = int(await said(fork, "date +%s")) - asked
    assert -1.2 < wrong < 1.2  # BusyBox' date tells whole seconds
    # The file system's clock is the kernel's coarse one, with parts of a second.
    began = time.time()
    stamp = await said(fork, "touch /run/now; stat -c %y /run/now")
    ended = time.time()
    seconds = time.mktime(time.strptime(stamp[:19], "%Y-%m-%d %H:%M:%S")) - time.timezone + float("0" + stamp[19:29])
    assert began - 0.15 <= seconds <= ended + 0.15


async def test_the_source_goes_on_with_its_commands_and_its_consoles(vm: Driven) -> None:
    running = asyncio.create_task(vm("succeed", "echo one; touch /tmp/runs; until [ -e /tmp/go ]; do sleep 0.1; done; echo two"))
    await vm("wait_for_file", "/tmp/runs")
    [fork] = await vm.machine.fork()
    await fork.succeed("test -e /tmp/runs && rm /tmp/runs")
    assert not running.done()
    await vm("succeed", "test -e /tmp/runs && touch /tmp/go")
    assert (await running).stdout == b"one\ntwo\n"
    await vm("send_console", "root\n")
    await vm("wait_for_console_text", "assword|[#$] ")
    assert "root" not in (await fork.read_console(3)).splitlines()[-1].partition("login:")[2]


async def test_a_forks_console_screen_and_forwards_work_at_once(vm: Driven) -> None:
    await vm("wait_for_open_port", 22)  # commands work before SSH does
    [fork] = await vm.machine.fork()
    assert await fork.read_console(50) == await vm("read_console", 50)
    assert await fork.wait_for_console_text("login: ", 5)
    here, there = (await vm.machine.grab()).ppm, (await fork.grab()).ppm
    assert len(here) == len(there)
    assert here.count(0) < len(here)  # there is something on the screen
    assert sum(one != other for one, other in zip(here, there, strict=True)) < 1000  # a cursor blinks
    assert fork.forwards[22] != vm.machine.forwards[22]
    with socket.create_connection(("127.0.0.1", fork.forwards[22]), 30) as connection:
        assert connection.recv(4) == b"SSH-"
    assert fork.console_log.read_bytes().startswith(vm.machine.console_log.read_bytes()[:40])
    assert fork.start == "fork"
    assert (fork.name, fork.console_log.name) == ("vm-fork1", "console-fork1.log")


async def test_a_machine_that_is_off_keeps_its_disks_and_starts_from_them(vm: Driven) -> None:
    await vm("succeed", "echo kept | dd of=/dev/vdb 2>&1; sync")
    await vm("snapshot", "on")
    await vm("shutdown")
    await vm("snapshot", "off")
    await vm("boot")
    await vm("succeed", "echo lost | dd of=/dev/vdb 2>&1; sync")
    await vm("restore", "off")
    with pytest.raises(MachineOff, match="frozen while it was off"):
        await vm("succeed", "true")
    await vm("boot")
    assert (await said(vm.machine, "head -c 5 /dev/vdb")) == "kept"
    await vm("restore", "on")
    assert await uptime(vm.machine) < 100


async def test_a_paused_machine_is_paused_in_its_forks_and_wakes_with_the_right_time(vm: Driven) -> None:
    await vm("pause")
    [fork] = await vm.machine.fork()
    with pytest.raises(MachineOff, match="paused"):
        await fork.succeed("true")
    await fork.resume()
    assert abs(int(await said(fork, "date +%s")) - time.time()) < 2
    with pytest.raises(MachineOff, match="paused"):
        await vm("succeed", "true")
    await vm("resume")
    await vm("succeed", "true")


async def test_a_guest_can_reboot_after_it_was_restored(vm: Driven) -> None:
    await vm("snapshot", "here")
    ports = dict(vm.machine.forwards)
    await vm("restore", "here")
    assert vm.machine.forwards == ports  # whoever looks in from this host finds it where it was
    await vm("reboot")
    assert await uptime(vm.machine) < 60
    await vm("restore", "here")
    await vm("succeed", "true")


async def test_wrong_names_are_told_with_those_that_there_are(vm: Driven) -> None:
    with pytest.raises(UsageError, match="vm has no restore point 'x'") as caught:
        await vm("restore", "x")
    assert caught.value.hint == "make one with snapshot first"
    await vm("snapshot", "a b")
    with pytest.raises(UsageError) as caught:
        await vm("restore", "ab")
    assert caught.value.hint == "there are: a b"
    with pytest.raises(UsageError, match="0 forks cannot be made"):
        await vm.machine.fork(0)


async def test_an_identity_of_its_own(shared_home: Paths, tmp_path: Path) -> None:
    async with driven(shared_home, tmp_path, "builtin", start="warm", identity="renew") as vm:
        before = await said(vm.machine, "hostname")
        forks = await vm.machine.fork(2)
        names = [await said(fork, "hostname") for fork in forks]
    assert names == ["vm-fork1", "vm-fork2"]
    assert before not in names
