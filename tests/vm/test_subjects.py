"""What comes before any system: the firmware's menu, its boot manager and its shell, on a machine that is only looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Original, driven, original

from qa.config import Config
from qa.errors import MachineOff, UsageError
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_into_the_firmware_its_shell_and_on_in_a_fork(shared_home: Paths, tmp_path: Path) -> None:
    options = {"channel": "none", "boot_menu": "30s", "network": "none"}
    async with driven(shared_home, tmp_path, "builtin", config=Config(accel="tcg"), start="warm", **options) as vm:
        assert vm.machine.ready_s is not None
        with pytest.raises(UsageError, match="no way in for commands and files"):
            await vm("succeed", "true")
        await vm("wait_for_text", "Start boot option")
        await vm("send_key", "esc")
        await vm("wait_for_text", "Boot Manager")
        assert "256 MB RAM" in await vm("read_screen_text")
        await vm("send_key", "down", times=2)
        await vm("send_key", "ret")
        await vm("wait_for_text", "EFI Internal Shell")
        await vm("send_key", "down")  # it is behind the disk
        await vm("send_key", "ret")
        await vm("wait_for_text", "UEFI Interactive Shell")
        await vm("send_key", "esc")  # no startup script
        await vm("wait_for_text", "Shell>")
        await vm("send_chars", "echo typed in the shell\n")
        await vm("wait_for_text", r"^ *typed in the shell")
        vm.machine.check_alive()
        [fork] = await vm.machine.fork()
        assert fork.ready_s is not None
        await fork.send_chars("reset\n")
        await fork.wait_for_text("Start boot option")
        assert "typed" in await vm("read_screen_text")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin", network="none") as booted:
        yield booted


async def test_who_does_not_wait_for_a_boot_sees_it_and_can_wait_later(booted: Original, tmp_path: Path) -> None:
    async with booted.fork(tmp_path) as vm:
        await vm("reboot", wait=False)
        assert vm.machine.ready_s is None
        with pytest.raises(MachineOff, match="not ready"):
            await vm("succeed", "true")
        await vm("wait_for_console_text", "BdsDxe: starting")
        await vm("boot")
        assert "boot loader" in vm.machine.stages
        await vm("succeed", "true")
        await vm("crash")
        await vm("boot", wait=False)
        assert list(vm.machine.stages) == ["power-on"]
