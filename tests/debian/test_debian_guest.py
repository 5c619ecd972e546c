"""A real distribution: systemd, cloud-init, bash, OpenSSH. One boot for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio
from machines import CLOUD_INIT, Driven, Original, original

from qa.deadline import Deadline
from qa.errors import ChannelLost, CheckFailed, DeadlineExceeded
from qa.guest import copying, ssh
from qa.guest.ssh import SshAccess, SshChannel
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNITS = {
    "good": "[Service]\nExecStart=/bin/sleep infinity\n",
    "slow": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 2\n",
    "bad": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the disk is on fire; exit 3'\n",
    "idle": "[Service]\nExecStart=/bin/true\n",
}


async def add_units(vm: Driven) -> None:
    for name, text in UNITS.items():
        await vm("succeed", f"cat > /run/systemd/system/qa-{name}.service <<'X'\n{text}X")
    await vm("succeed", "systemctl daemon-reload")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    async with original(shared_home, folder, "debian", CLOUD_INIT, prepare=add_units) as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def test_the_root_shell_is_there_before_cloud_init_is_done(vm: Driven) -> None:
    assert vm.machine.channel_name == "shell"
    started = await vm("succeed", "systemctl show anima-qa-shell cloud-final -p ExecMainStartTimestampMonotonic --value")
    shell, _, final = started.stdout_text.split("\n")[:3]
    assert 0 < int(shell) < int(final)
    assert (await vm("succeed", "id -u; systemctl is-system-running")).stdout_text == "0\nrunning\n"


async def test_no_login_prompt_disturbs_the_shells_console(vm: Driven) -> None:
    assert (await vm("execute", "systemctl is-active serial-getty@hvc0")).stdout_text == "inactive\n"


async def test_what_the_script_asks_of_cloud_init_is_done_when_the_machine_is_ready(vm: Driven) -> None:
    assert (
        await vm("succeed", "cat /etc/from-script; stat -c %a /etc/from-script")
    ).stdout_text == "written by cloud-init\n640\n"
    await vm("succeed", "test -e /run/command-ran")
    assert (await vm("succeed", "hostname")).stdout_text == "vm\n"


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("echo out; echo err >&2; exit 3", 3, b"out\n", b"err\n"),
        ("[[ a == a ]] && echo ${BASH_VERSINFO[0]:+bash}", 0, b"bash\n", b""),
        ("set -o pipefail; false | true", 1, b"", b""),
        ("a=(1 2 3); echo ${#a[@]}", 0, b"3\n", b""),
        ("cat <<'X'\n$HOME 'q'\nX", 0, b"$HOME 'q'\n", b""),
        ("printf 'a\\0\\036\\377'", 0, b"a\x00\x1e\xff", b""),
        ("echo Grüße", 0, "Grüße\n".encode(), b""),
        ("cat", 0, b"", b""),
        ("tty -s", 1, b"", b""),
        ("pwd; echo $HOME $USER", 0, b"/root\n/root root\n", b""),
    ],
)
async def test_results_of_bash(vm: Driven, command: str, code: int, out: bytes, err: bytes) -> None:
    result = await vm("execute", command)
    assert (result.exit_code, result.stdout, result.stderr) == (code, out, err)


async def test_a_syntax_error_is_the_commands_own(vm: Driven) -> None:
    assert "unexpected EOF" in (await vm("fail", "echo 'unbalanced")).stderr_text
    await vm("succeed", "true")


async def test_a_time_limit_kills_the_whole_group(vm: Driven) -> None:
    result = await vm("execute", "sleep 7001 & (sleep 7002 | cat) & echo partial; sleep 7003", timeout="400ms")
    assert (result.stdout, result.timed_out) == (b"partial\n", True)
    await vm("fail", "pgrep -f '^sleep 700'")


async def test_many_commands_at_once(vm: Driven) -> None:
    results = await asyncio.gather(*(vm("succeed", f"sleep 0.2; echo {number}") for number in range(12)))
    assert [int(result.stdout) for result in results] == list(range(12))


async def test_a_unit_that_is_active(vm: Driven) -> None:
    await vm("succeed", "systemctl start --no-block qa-good qa-slow")
    await vm("wait_for_unit", "qa-good")
    await vm("wait_for_unit", "qa-slow.service")
    await vm("wait_for_unit", "multi-user.target")


async def test_a_unit_that_has_failed_ends_the_wait_with_its_journal(vm: Driven) -> None:
    await vm("succeed", "systemctl start --no-block qa-bad")
    with pytest.raises(CheckFailed, match=r"unit qa-bad\.service is not active: it has failed") as caught:
        await vm("wait_for_unit", "qa-bad")
    assert "the disk is on fire" in caught.value.evidence["journal of qa-bad.service"]
    await vm("succeed", "systemctl reset-failed")


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("qa-none", "there is no such unit"),
        ("qa-idle", "it is inactive, and nothing is about to start it"),
        ("odd' $(id) name", "no"),
    ],
)
async def test_a_unit_that_will_not_come_ends_the_wait(vm: Driven, unit: str, why: str) -> None:
    with pytest.raises(CheckFailed, match=f"is not active: .*{why}"):
        await vm("wait_for_unit", unit, timeout=60)


async def test_ports_and_files(vm: Driven) -> None:
    await vm("wait_for_open_port", 22)
    await vm("wait_for_closed_port", 81)
    await vm("wait_for_file", "/etc/machine-id")
    with pytest.raises(DeadlineExceeded):
        await vm("wait_for_open_port", 81, timeout=0.1)


async def test_a_folder_goes_there_and_back_with_its_modes(vm: Driven, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "private").mkdir(parents=True)
    (folder / "private").chmod(0o700)
    (folder / "private" / "key").write_bytes(b"k" * 100_000)
    (folder / "private" / "key").chmod(0o400)
    await vm("copy_to", source=folder, target="/tmp/")
    listed = await vm("succeed", "stat -c '%a %U %n' /tmp/folder/private /tmp/folder/private/key; stat -c %a /tmp")
    assert listed.stdout_text == "700 root /tmp/folder/private\n400 root /tmp/folder/private/key\n1777\n"
    await vm("copy_from", source="/tmp/folder", target=tmp_path / "back")
    assert oct((tmp_path / "back" / "private").stat().st_mode & 0o777) == "0o700"
    assert (tmp_path / "back" / "private" / "key").read_bytes() == b"k" * 100_000


async def test_a_copy_from_a_symbolic_link_is_what_it_leads_to(vm: Driven, tmp_path: Path) -> None:
    await vm("copy_from", source="/etc/os-release", target=tmp_path / "release")
    assert not (tmp_path / "release").is_symlink()
    assert "Debian" in (tmp_path / "release").read_text()


async def ssh_into(vm: Driven, access: SshAccess, port: int) -> SshChannel:
    vitals, factor = vm.machine._on().vitals, vm.machine.setup.factor
    connecting = SshChannel.connect(access, port, vitals=vitals, factor=factor, tell=lambda _: None)
    return await vitals.guard(connecting, Deadline.after(60, factor), "SSH")


@pytest_asyncio.fixture(loop_scope="module")
async def access(vm: Driven) -> SshAccess:
    """The guest's server with a host key that we gave it, and our key for root."""
    access = vm.machine.setup.ssh
    assert isinstance(access, SshAccess)
    return access


async def test_commands_and_files_over_ssh_with_the_pinned_host_key(vm: Driven, access: SshAccess, tmp_path: Path) -> None:
    assert access.host_key is not None
    server = (await vm("succeed", "cat /etc/ssh/ssh_host_ed25519_key.pub")).stdout_text.split()[1]
    assert server == access.host_key.export_public_key().decode().split()[1]
    channel = await ssh_into(vm, access, vm.machine.forwards[22])
    result = await channel.run("echo out; echo err >&2; exit 3", limit=60)
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    (tmp_path / "file").write_bytes(b"\0\xff" * 500_000)
    await copying.copy_to(channel, tmp_path / "file", "/tmp/over-ssh", Deadline.after(120))
    await copying.copy_from(channel, "/tmp/over-ssh", tmp_path / "back", Deadline.after(120))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    killed = await channel.run("echo partial; sleep 8001 & sleep 8002; :", limit=2)
    assert (killed.stdout, killed.timed_out) == (b"partial\n", True)
    await vm("fail", "pgrep -f '^sleep 800'")
    background = await channel.run("sleep 8003 & echo started", limit=60)
    assert (background.stdout, background.timed_out) == (b"started\n", False)
    await channel.close()


@pytest.mark.parametrize("wrong", ["key", "host key", "user"])
async def test_a_stranger_gets_no_way_in(vm: Driven, access: SshAccess, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "REFUSED_LIMIT", 0.1)
    other = asyncssh.generate_private_key("ssh-ed25519")
    stranger = SshAccess(
        user="nobody" if wrong == "user" else access.user,
        key=other if wrong == "key" else access.key,
        host_key=other if wrong == "host key" else access.host_key,
    )
    with pytest.raises(ChannelLost, match="another host key" if wrong == "host key" else "refuses our key for user"):
        await ssh_into(vm, stranger, vm.machine.forwards[22])
