"""What QEMU itself paints where a guest shows nothing."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from qa.errors import QemuFailed
from qa.qemu.monitor import Monitor
from qa.screen.frames import Camera, Frame


@asynccontextmanager
async def display(device: str | None) -> AsyncGenerator[Frame]:
    """The first frame of a machine whose processors never ran."""
    program = shutil.which("qemu-system-x86_64")
    assert program
    near, far = socket.socketpair()
    near.setblocking(False)
    argv = [
        program,
        "-machine",
        "q35",
        "-accel",
        "tcg",
        "-nodefaults",
        "-display",
        "none",
        "-S",
        "-vga",
        "none",
    ]
    argv += ["-device", device] if device else []
    argv += ["-chardev", f"socket,id=qmp,fd={far.fileno()}", "-mon", "chardev=qmp,mode=control"]
    process = await asyncio.create_subprocess_exec(*argv, pass_fds=[far.fileno()])
    far.close()
    monitor = Monitor("test", lambda *_: None)
    camera = Camera(monitor)
    try:
        await monitor.connect(near)
        yield await camera.grab()
    finally:
        process.kill()
        await process.wait()
        await monitor.disconnect()
        camera.close()


@pytest.mark.parametrize(("device", "state"), [("VGA", "uninitialised"), ("virtio-gpu-pci", "off")])
async def test_qemus_own_pictures_are_known(device: str, state: str) -> None:
    async with display(device) as frame:
        assert frame.state == state
        assert frame.describe().startswith("640x480, the display is ")


async def test_a_machine_without_a_display_says_so() -> None:
    with pytest.raises(QemuFailed, match=r"^the machine has no display$") as caught:
        async with display(None):
            pass
    assert "read_console" in (caught.value.hint or "")


async def test_a_pixel_more_is_a_picture_of_the_guests() -> None:
    async with display("VGA") as frame:
        for place in (0, 3 * 640 * 479, 3 * (640 * 230 + 300)):
            pixels = bytearray(frame.pixels)
            pixels[place] ^= 0xFF
            assert Frame(640, 480, b"P6\n640 480\n255\n" + bytes(pixels)).state == "picture"


async def test_the_sentence_at_another_place_is_a_picture_of_the_guests() -> None:
    async with display("VGA") as frame:
        row = 3 * 640
        moved = bytes(frame.pixels[row:]) + bytes(row)
        assert Frame(640, 480, b"P6\n640 480\n255\n" + moved).state == "picture"
