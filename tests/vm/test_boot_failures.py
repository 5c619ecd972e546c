"""Boots that cannot succeed end at once and say why; and nothing of QEMU is left, however its owner ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from machines import driven, qemus

from qa.config import Config
from qa.errors import BootFailed, QemuExited
from qa.paths import Paths


async def boot(home: Paths, tmp_path: Path, image: str, **options: object) -> None:
    async with driven(home, tmp_path, image, config=Config(accel="tcg"), **options):
        pass


async def test_an_empty_disk_fails_in_the_firmware(home: Paths, tmp_path: Path) -> None:
    disk = tmp_path / "empty.raw"
    disk.write_bytes(b"\0" * 510 + b"\x55\xaa")
    os.truncate(disk, 64 << 20)
    with pytest.raises(BootFailed) as caught:
        await boot(home, tmp_path, str(disk), network="none")
    assert caught.value.message.startswith("vm: the firmware ")
    assert "/EFI/BOOT/BOOTX64.EFI" in (caught.value.hint or "")
    assert "BdsDxe" in caught.value.evidence["console, last lines"]
    assert qemus() == []
    assert list(home.work.iterdir()) == []


async def test_a_qemu_that_is_killed_in_the_middle_of_the_boot(home: Paths, tmp_path: Path) -> None:
    async def kill() -> None:
        while not (found := qemus()):  # noqa: ASYNC110 -- nobody tells us of it
            await asyncio.sleep(0.05)
        os.kill(found[0], signal.SIGKILL)

    killing = asyncio.create_task(kill())
    with pytest.raises(QemuExited, match=r"signal 9|ended while it started|is gone"):
        await boot(home, tmp_path, "builtin", network="none")
    await killing
    assert list(home.work.iterdir()) == []


async def test_a_boot_that_is_given_up_leaves_nothing(home: Paths, tmp_path: Path) -> None:
    booting = asyncio.create_task(boot(home, tmp_path, "builtin", network="none"))
    while not qemus():  # noqa: ASYNC110 -- nobody tells us of it
        await asyncio.sleep(0.05)
    booting.cancel()
    await asyncio.wait({booting})
    assert booting.cancelled()
    assert qemus() == []
    assert list(home.work.iterdir()) == []
