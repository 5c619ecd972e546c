"""The verbs that leave the machine on, each on one booted built-in guest."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, driven, original
from PIL import Image

from qa.errors import CheckFailed, CommandFailed, DeadlineExceeded, MachineOff, UsageError
from qa.events import CommandOutput, MachineStage
from qa.guest.channel import OUTPUT_LIMIT
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin", forward=[7000]) as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def test_the_boot_is_told_rung_by_rung(shared_home: Paths, tmp_path: Path) -> None:
    async with driven(shared_home, tmp_path, "builtin") as vm:
        await look_at_the_stages(vm)


async def look_at_the_stages(vm: Driven) -> None:
    stages = [event.stage for event in vm.told if isinstance(event, MachineStage)]
    assert stages[0] == "power-on"
    assert stages[-2:] == ["shell channel", "ready"]
    assert vm.machine.channel_name == "shell"
    assert vm.machine.ready_s == pytest.approx(vm.machine.stages["ready"], abs=0.1)
    await vm("wait_for_ready")


async def test_execute_gives_whatever_comes_as_data(vm: Driven) -> None:
    result = await vm("execute", "echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert (result.truncated, result.timed_out) == (False, False)


async def test_succeed_and_fail(vm: Driven) -> None:
    assert (await vm("succeed", "uname")).stdout_text == "Linux\n"
    assert (await vm("fail", "false")).exit_code == 1
    with pytest.raises(CommandFailed, match="exited with 7") as caught:
        await vm("succeed", "echo why >&2; exit 7")
    assert caught.value.evidence == {"stderr": "why"}
    with pytest.raises(CommandFailed, match="should have failed"):
        await vm("fail", "true")


async def test_output_is_streamed_while_the_command_runs(vm: Driven) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    unsubscribe = vm.machine.bus.subscribe(
        lambda event: seen.put_nowait(event.text) if isinstance(event, CommandOutput) else None
    )
    running = asyncio.create_task(vm("execute", "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second"))
    assert await asyncio.wait_for(seen.get(), 30) == "first\n"
    assert not running.done()
    await vm("succeed", "touch /tmp/go")
    assert (await running).stdout == b"first\nsecond\n"
    unsubscribe()


# The guest's BusyBox runs its own programs without exec, so they have no names to look for: each writes down its process.
NOTE = "sh -c 'echo $$ > /tmp/process-{0}; sleep 1000; :'"
ALIVE = "for f in /tmp/process-*; do kill -0 $(cat $f) 2>/dev/null && exit 0; done; rm /tmp/process-*; exit 1"


async def test_a_time_limit_kills_the_whole_group_and_keeps_the_output(vm: Driven) -> None:
    family = f"{NOTE.format(1)} & ({NOTE.format(2)} | cat) & echo partial; {NOTE.format(3)}"
    result = await vm("execute", family, timeout=1)
    assert (result.exit_code, result.stdout, result.timed_out) == (None, b"partial\n", True)
    assert (await vm("succeed", "ls /tmp/process-* | wc -l")).stdout == b"3\n"
    await vm("wait_until_fails", ALIVE)  # a killed process is there until init takes note of it
    with pytest.raises(DeadlineExceeded, match="was killed: echo before; sleep 1000") as caught:
        await vm("succeed", "echo before; sleep 1000", timeout=0.1)
    assert caught.value.evidence == {"stdout": "before"}


async def test_a_background_child_hangs_no_call(vm: Driven) -> None:
    result = await vm("succeed", f"{NOTE.format(4)} & echo started", timeout=10)
    assert result.stdout == b"started\n"
    await vm("wait_for_file", "/tmp/process-4")
    await vm("succeed", "kill -9 $(cat /tmp/process-4); rm /tmp/process-4")


async def test_five_commands_at_once_and_twenty_in_a_row_of_slots(vm: Driven) -> None:
    meet = "touch /tmp/here-$0; until [ $(ls /tmp/here-* | wc -l) -ge 5 ]; do sleep 0.1; done"
    await asyncio.gather(*(vm("succeed", meet.replace("$0", str(number))) for number in range(5)))
    results = await asyncio.gather(*(vm("succeed", f"echo {number}") for number in range(20)))
    assert [int(result.stdout) for result in results] == list(range(20))


async def test_binary_output_is_safe_and_a_flood_is_cut_in_its_middle(vm: Driven) -> None:
    octal = "".join(f"\\{number:03o}" for number in range(256))
    assert (await vm("succeed", f"printf '{octal}'")).stdout == bytes(range(256))
    result = await vm("succeed", "echo head; yes | head -c 3000000; echo tail")
    assert result.truncated
    assert result.stdout.startswith(b"head\n")
    assert result.stdout.endswith(b"tail\n")
    assert re.search(rb"\[\.\.\. \d+ bytes cut out here \.\.\.\]", result.stdout)
    assert len(result.stdout) < OUTPUT_LIMIT + 100


async def test_a_shell_that_kills_itself_does_not_take_the_machine_along(vm: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.guest.shell.KILL_LIMIT", 0.3)
    await vm("execute", "kill -9 $$; sleep 1", timeout="300ms")
    assert (await vm("succeed", "echo next")).stdout == b"next\n"


async def test_wait_until_succeeds_and_fails(vm: Driven) -> None:
    await vm("succeed", "(sleep 0.3; touch /tmp/came) >/dev/null 2>&1 &")
    await vm("wait_until_succeeds", "test -e /tmp/came")
    await vm("succeed", "(sleep 0.3; rm /tmp/came) >/dev/null 2>&1 &")
    await vm("wait_until_fails", "test -e /tmp/came")
    with pytest.raises(DeadlineExceeded, match=r"no success within .* in \d+ tries: cat /nonexistent") as caught:
        await vm("wait_until_succeeds", "cat /nonexistent", timeout=0.1)
    assert caught.value.evidence["exit code of the last try"] in {"1", "none, it was killed"}
    assert "No such file" in caught.value.evidence["stderr"]
    with pytest.raises(DeadlineExceeded, match="no failure within"):
        await vm("wait_until_fails", "true", timeout=0.1)


async def test_wait_for_file(vm: Driven) -> None:
    await vm("succeed", "(sleep 0.3; touch '/tmp/it is here') >/dev/null 2>&1 &")
    await vm("wait_for_file", "/tmp/it is here")
    with pytest.raises(DeadlineExceeded, match="vm: /tmp/nothing to exist did not happen within"):
        await vm("wait_for_file", "/tmp/nothing", timeout=0.1)


async def test_wait_for_ports(vm: Driven) -> None:
    await vm("wait_for_closed_port", 7000)
    await vm("succeed", "(sleep 0.3; exec nc -l -p 7000 -e echo hello) </dev/null >/dev/null 2>&1 &")
    await vm("wait_for_open_port", 7000)
    with pytest.raises(DeadlineExceeded, match="port 7000 to be closed"):
        await vm("wait_for_closed_port", 7000, timeout=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", vm.machine.forwards[7000])
    assert await asyncio.wait_for(reader.read(), 30) == b"hello\n"
    writer.close()
    await vm("wait_for_closed_port", 7000)
    with pytest.raises(DeadlineExceeded, match="port 7000 to be open"):
        await vm("wait_for_open_port", 7000, timeout=0.1)


async def test_a_guest_without_systemd_has_no_units_to_wait_for(vm: Driven) -> None:
    with pytest.raises(CheckFailed, match=r"unit nginx\.service is not active: .*no systemd"):
        await vm("wait_for_unit", "nginx", timeout=20)


async def test_wait_for_console_text(vm: Driven) -> None:
    await vm("succeed", "(sleep 0.3; echo 'answer=42' > /dev/ttyS0) >/dev/null 2>&1 &")
    assert await vm("wait_for_console_text", r"answer=\d+") == "answer=42"
    assert "answer=42" in await vm("read_console")
    assert "answer=42" in await vm("read_console", 3)
    assert b"answer=42" in vm.machine.console_log.read_bytes()
    with pytest.raises(DeadlineExceeded, match="console text /never said/"):
        await vm("wait_for_console_text", "never said", timeout=0.1)


async def test_copies_go_both_ways_with_modes(vm: Driven, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    script = tmp_path / "run me"
    script.write_bytes(b"#!/bin/sh\necho ran\n")
    script.chmod(0o750)
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "data").write_bytes(data)
    (folder / "deep" / "data").chmod(0o640)
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("deep/data")
    (folder / "private").mkdir(mode=0o700)

    await vm("copy_to", source=script, target="/opt/new/")
    assert (await vm("succeed", "'/opt/new/run me'; stat -c %a '/opt/new/run me'")).stdout == b"ran\n750\n"
    await vm("copy_to", source=folder, target="/opt/copy")
    assert (await vm("succeed", "stat -c %a /opt/copy/deep/data /opt/copy/private; readlink /opt/copy/link")).stdout_text == (
        "640\n700\ndeep/data\n"
    )
    back = tmp_path / "back"
    await vm("copy_from", source="/opt/copy", target=back)
    assert (back / "deep" / "data").read_bytes() == data
    assert oct((back / "deep" / "data").stat().st_mode & 0o777) == "0o640"
    assert oct((back / "private").stat().st_mode & 0o777) == "0o700"
    assert (back / "link").readlink() == Path("deep/data")
    assert (back / "empty").read_bytes() == b""
    await vm("copy_from", source="/opt/new/run me", target="relative/name")
    assert (vm.results / "relative" / "name").read_text().endswith("echo ran\n")
    assert os.access(vm.results / "relative" / "name", os.X_OK)


async def test_copies_that_cannot_be_made(vm: Driven, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    with pytest.raises(UsageError, match="does not exist on this host"):
        await vm("copy_to", source=copies / "nothing", target="/tmp/")
    with pytest.raises(CheckFailed, match="could not be copied from the guest") as caught:
        await vm("copy_from", source="/nothing/here", target=copies / "x")
    assert "nothing" in caught.value.evidence["the guest said"]
    assert list(copies.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckFailed, match="could not be copied to /proc/x"):
        await vm("copy_to", source=tmp_path / "file", target="/proc/x")


async def test_what_is_typed_arrives_on_the_first_terminal(vm: Driven) -> None:
    await vm("send_chars", "echo 'Type: $HOME ~!@#%^&*()_+{}|:<>?[]' > /tmp/typed\n")
    await vm("wait_for_file", "/tmp/typed")
    await vm("wait_until_succeeds", "grep -q Type: /tmp/typed")
    assert (await vm("succeed", "cat /tmp/typed")).stdout_text == "Type: $HOME ~!@#%^&*()_+{}|:<>?[]\n"
    await vm("send_chars", NOTE.format(5))
    await vm("send_key", "ret")
    await vm("wait_for_file", "/tmp/process-5")
    await vm("send_key", "ctrl-c")
    await vm("wait_until_fails", "kill -0 $(cat /tmp/process-5)")


async def test_a_character_without_a_key_types_nothing(vm: Driven) -> None:
    with pytest.raises(UsageError, match=r"'ß' .* has no key"):
        await vm("send_chars", "touch /tmp/half\nß")
    await vm("fail", "test -e /tmp/half")


async def test_a_screenshot_shows_the_screen(vm: Driven) -> None:
    path = await vm("screenshot", "first look")
    assert path == vm.results / "shots" / "vm-01-first-look.png"
    frame = await vm.machine.grab()
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (frame.width, frame.height)
        assert picture.convert("L").getextrema()[1] > 100
    assert "black" not in frame.describe()
    assert (await vm("screenshot")).name == "vm-02-screen.png"


async def test_the_serial_console_can_be_logged_in_to(vm: Driven) -> None:
    await vm("send_console", "\n")
    await vm("wait_for_console_text", r"login: \Z")
    await vm("send_console", "root\n")
    await vm("wait_for_console_text", r"Password: \Z")
    await vm("send_console", "root\n")
    await vm("wait_for_console_text", r"qa:~# \Z")
    await vm("send_console", "expr 6000 + 66 > /tmp/sum\n")
    await vm("wait_until_succeeds", "grep -x 6066 /tmp/sum")
    await vm("send_console", "exit\n")


async def test_a_flood_on_the_console_stalls_no_command_and_stays_on_the_disk(vm: Driven) -> None:
    await vm("wait_for_console_text", r"login: \Z")  # before that, getty hangs the line up
    before, resident = vm.machine.console_log.stat().st_size, resident_bytes()
    flood = asyncio.create_task(
        vm("succeed", "stty -F /dev/ttyS0 raw; yes 0123456789 | head -c 500000 > /dev/ttyS0; echo; echo end", timeout=60)
    )
    commands = 0
    while not flood.done():
        await vm("succeed", "true")
        commands += 1
    assert (await flood).exit_code == 0
    assert commands > 3  # the flood takes seconds, a command milliseconds
    async with asyncio.timeout(60):
        while vm.machine.console_log.stat().st_size - before < 500_000:  # noqa: ASYNC110 -- the guest has done it, its port not yet
            await asyncio.sleep(0.05)
    assert resident_bytes() - resident < 30_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_paused_machine_takes_no_commands_until_it_is_resumed(vm: Driven) -> None:
    await vm("pause")
    with pytest.raises(MachineOff, match="vm is paused"):
        await vm("succeed", "true")
    with pytest.raises(MachineOff, match="vm is paused"):
        await vm("shutdown")
    with pytest.raises(MachineOff, match="vm is paused"):
        await vm("reboot")
    assert (await vm.machine.grab()).width > 0
    await vm("resume")
    await vm("succeed", "true")


async def test_a_screen_becomes_still_although_its_cursor_blinks_and_not_while_lines_come(vm: Driven) -> None:
    sight = await vm("wait_for_still_screen", "1s")
    assert sight.wanted.startswith("still for 1.")
    await vm(
        "execute", "(while sleep 0.1; do printf '\\033[20;40H%s' $((n = n + 1)) >/dev/tty1; done) >/dev/null 2>&1 </dev/null &"
    )
    with pytest.raises(
        DeadlineExceeded, match=r"vm: a screen that is still for 1\.0 s did not happen .*: \d+x\d+ at \d+,\d+ changed"
    ) as told:
        await vm("wait_for_still_screen", "1s", timeout="500ms")
    (mark, *_) = told.value.result.marks  # type: ignore[attr-defined]
    assert (abs(mark.x - 39 * 8) <= 16, mark.y) == (True, 19 * 16)  # row 20, column 40, in tiles
    assert await vm("wait_for_still_screen", "1s", ignore=[[39 * 8, 19 * 16, 80, 16]])
