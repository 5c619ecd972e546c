"""Screens of a real system: GRUB's menu, the kernel's messages, a login on tty1, full-screen programs. One boot for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def show_the_login(vm: Driven) -> None:
    await vm("wait_for_text", "Login")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    # With several processors the emulation now and then loses a timer of a guest that boots on a busy host, and what was
    # chosen in a boot menu by hand cannot be chosen again by itself.
    async with original(shared_home, folder, "desktop", prepare=show_the_login, network="restricted", cpus=1) as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def test_from_the_boot_loaders_menu_to_the_kernels_messages_and_on_until_it_is_ready(vm: Driven) -> None:
    await vm("reboot", wait=False)
    await vm("wait_for_console_text", "BdsDxe: starting")
    await vm("send_key", "esc")  # GRUB looks for it before it boots at once
    await vm("wait_for_text", r"\*Debian desktop\b")
    await vm("send_key", "down")
    await vm("wait_for_text", r"\*Debian desktop, with the kernel's messages")
    await vm("send_key", "ret")
    await vm("wait_for_text", r"^\[ +\d+\.\d{6}\] \w+")
    await vm("wait_for_ready")
    await vm("succeed", "! grep -w quiet /proc/cmdline")


async def test_a_login_on_a_console_and_its_full_screen_programs(vm: Driven) -> None:
    await vm("send_key", "ctrl-alt-f1")
    await vm("wait_for_text", "desktop login:")
    await vm("send_chars", "tester\n")
    await vm("wait_for_text", "Password:")
    await vm("send_chars", "tester\n")
    await vm("wait_for_text", r"tester@desktop:~\$")

    await vm("send_chars", "seq 1000 | less\n")
    await vm("wait_for_text", "^1\n2\n3\n")
    await vm("send_key", "end")
    await vm("wait_for_text", r"^1000\n\(END\)")
    await vm("send_key", "q")

    await vm("send_chars", "vi note\n")
    await vm("wait_for_text", r'"note" \[New')
    await vm("send_chars", "iWritten in vim\x1b:wq\n")
    await vm("wait_for_file", "/home/tester/note")
    assert (await vm("succeed", "cat /home/tester/note")).stdout_text == "Written in vim\n"

    await vm("send_chars", "dialog --yesno 'Go on?' 7 30 && echo $((6*7)) agreed\n")
    await vm("wait_for_text", "< Yes > +< No +>")
    await vm("send_key", "ret")
    await vm("wait_for_text", "42 agreed")


async def test_nothing_on_the_screen_moves_and_the_guest_is_down_as_soon_as_its_programs_have_ended(vm: Driven) -> None:
    before = await vm.machine.grab()
    await vm("wait_for_still_screen")
    assert (await vm.machine.grab()).digest == before.digest
    await vm("shutdown", timeout=15)  # 75 s under emulation: less than the 90 that systemd gives what does not end
    assert vm.machine.ended == "guest shut down"
