"""The other ways into the built-in guest: SSH and a login on the serial console, on one machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.deadline import Deadline
from qa.errors import UsageError
from qa.guest import copying
from qa.guest.channel import Channel
from qa.guest.login import LoginChannel
from qa.guest.ssh import SshChannel
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMIT = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(
        shared_home, tmp_path_factory.mktemp("original"), "builtin", prepare=log_in_once, channel="ssh"
    ) as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def log_in(vm: Driven, password: str = "root") -> LoginChannel:
    machine = vm.machine
    vitals, factor = machine._on().vitals, machine.setup.factor
    logging_in = LoginChannel.log_in(
        machine._console, user="root", password=password, vitals=vitals, factor=factor, tell=lambda _: None
    )
    return await vitals.guard(logging_in, Deadline.after(LIMIT, factor), "the login")


async def log_in_once(vm: Driven) -> None:
    with pytest.raises(UsageError, match="the guest refuses the login of 'root'"):
        await log_in(vm, "wrong")
    await log_in(vm)


@pytest_asyncio.fixture(loop_scope="module")
async def login(vm: Driven) -> LoginChannel:
    """The login goes on in each fork."""
    machine = vm.machine
    return LoginChannel(machine._console, machine._on().vitals, machine.setup.factor)


@pytest_asyncio.fixture(params=["ssh", "serial"], loop_scope="module")
async def channel(request: pytest.FixtureRequest, vm: Driven, login: LoginChannel) -> Channel:
    if request.param == "serial":
        return login
    assert isinstance(vm.machine._channel, SshChannel)
    return vm.machine._channel


async def test_the_machine_is_ready_over_ssh(vm: Driven) -> None:
    assert vm.machine.channel_name == "ssh"
    assert (await vm("succeed", "id -u")).stdout == b"0\n"


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("echo out; echo err >&2; exit 3", 3, b"out\n", b"err\n"),
        ("printf 'no line feed'", 0, b"no line feed", b""),
        ("printf 'a\\000\\036\\377\\r\\n'", 0, b"a\x00\x1e\xff\r\n", b""),
        ("echo one\necho \"it's\" 'two'\ncat <<X\n$((1+2))\nX", 0, b"one\nit's two\n3\n", b""),
        ("echo Grüße", 0, "Grüße\n".encode(), b""),
        ("cat", 0, b"", b""),
        ("exit 0", 0, b"", b""),
        ("kill -9 $(exec sh -c 'echo $PPID')", 137, b"", b""),
        ("echo " + "x" * 3000, 0, b"x" * 3000 + b"\n", b""),
    ],
)
async def test_results(channel: Channel, command: str, code: int, out: bytes, err: bytes) -> None:
    result = await channel.run(command, limit=LIMIT)
    assert (result.exit_code, result.stdout, result.stderr, result.timed_out) == (code, out, err, False)


async def test_a_syntax_error_is_the_commands_own(channel: Channel) -> None:
    assert (await channel.run("echo 'unbalanced", limit=LIMIT)).exit_code not in {0, None}
    assert (await channel.run("echo next", limit=LIMIT)).stdout == b"next\n"


async def test_nothing_leaks_into_the_next_command(channel: Channel) -> None:
    await channel.run("cd /tmp; leak=1; export leaked=1", limit=LIMIT)
    assert (await channel.run("pwd; echo $leak$leaked", limit=LIMIT)).stdout == b"/root\n\n"


# The guest's BusyBox runs its own programs without exec, so they have no names to look for: each writes down its process.
NOTE = "sh -c 'echo $$ > /tmp/process-{0}; sleep 1000; :'"


async def test_a_time_limit_kills_the_group_and_keeps_the_output(channel: Channel) -> None:
    result = await channel.run(f"echo partial; {NOTE.format(1)} & {NOTE.format(2)}; :", limit=2.0)
    assert (result.exit_code, result.stdout, result.timed_out) == (None, b"partial\n", True)
    # One that was killed is there until its parent, or init, takes note of it.
    alive = "kill -0 $(cat /tmp/process-1) 2>/dev/null || kill -0 $(cat /tmp/process-2) 2>/dev/null"
    gone = f"i=0; while {alive}; do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done; rm /tmp/process-*"
    assert (await channel.run(gone, limit=LIMIT)).exit_code == 0


async def test_a_background_child_hangs_no_call(channel: Channel) -> None:
    result = await channel.run(f"{NOTE.format(3)} & echo started", limit=20)
    assert (result.stdout, result.timed_out) == (b"started\n", False)
    end = "until [ -s /tmp/process-3 ]; do sleep 0.1; done; kill -9 $(cat /tmp/process-3); rm /tmp/process-3"
    assert (await channel.run(end, limit=LIMIT)).exit_code == 0


async def test_files_go_both_ways(channel: Channel, tmp_path: Path) -> None:
    data = os.urandom(3000 if channel.name == "serial" else 2_000_000)
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "file").chmod(0o750)
    await copying.copy_to(channel, tmp_path / "file", "/tmp/copied/", Deadline.after(120))
    await copying.copy_from(channel, "/tmp/copied/file", tmp_path / "back", Deadline.after(120))
    assert (tmp_path / "back").read_bytes() == data
    assert oct((tmp_path / "back").stat().st_mode & 0o777) == "0o750"


async def test_several_at_once(channel: Channel) -> None:
    results = await asyncio.gather(*(channel.run(f"echo {number}", limit=LIMIT) for number in range(4)))
    assert [int(result.stdout) for result in results] == list(range(4))


async def test_a_kernel_message_in_a_login_shells_answer_does_not_disturb(login: LoginChannel) -> None:
    command = 'i=0; while [ $i -lt 20 ]; do echo "<1>noise $i" > /dev/kmsg; i=$((i+1)); echo line $i; done'
    assert (await login.run(command, limit=LIMIT)).stdout == b"".join(b"line %d\n" % number for number in range(1, 21))
