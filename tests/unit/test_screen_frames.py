"""Frames: what QEMU writes is not believed blindly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from qa.errors import QemuFailed
from qa.qemu.monitor import Monitor
from qa.screen.frames import Camera, Frame


class Painter:
    """Plays the monitor: writes what it was given into the descriptor, as QEMU does."""

    def __init__(self, *pictures: bytes) -> None:
        self._pictures = list(pictures)
        self._copy = -1
        self.handed = 0

    async def add_descriptor(self, descriptor: int) -> int:
        self.handed += 1
        self._copy = os.dup(descriptor)
        return 7

    async def execute(self, command: str, arguments: dict[str, Any]) -> None:
        assert (command, arguments) == ("screendump", {"filename": "/dev/fdset/7", "format": "ppm"})
        os.write(self._copy, self._pictures.pop(0))


def camera(*pictures: bytes) -> Camera:
    return Camera(cast("Monitor", Painter(*pictures)))


RED = b"P6\n2 1\n255\n" + b"\xff\0\0" * 2


async def test_a_picture_is_taken() -> None:
    assert await camera(RED).grab() == Frame(2, 1, RED)


async def test_a_smaller_picture_after_a_larger_one_is_whole() -> None:
    large = b"P6\n4 4\n255\n" + b"\0" * 48
    eyes = camera(large, RED, large)
    assert [(await eyes.grab()).ppm for _ in range(3)] == [large, RED, large]


async def test_a_picture_larger_than_screens_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.screen.frames.MAX_PIXELS", 1)
    with pytest.raises(QemuFailed, match="a broken picture of the screen: 2x1"):
        await camera(RED).grab()


@pytest.mark.parametrize(
    "picture",
    [b"", b"P6\n", b"P5\n2 1\n255\n" + b"\0" * 6, b"P6\n2 1\n255\n" + b"\0" * 5, b"P6\n0 0\n255\n",
     b"P6\n-2 1\n255\n" + b"\0" * 9, b"P6\n99999999 99999999\n255\n", b"not a picture at all, but some text"],
)  # fmt: skip
async def test_what_is_no_picture_is_an_error(picture: bytes) -> None:
    with pytest.raises(QemuFailed, match="QEMU wrote"):
        await camera(picture).grab()


async def test_the_descriptor_is_handed_over_once() -> None:
    painter = Painter(RED, RED)
    eyes = Camera(cast("Monitor", painter))
    await eyes.grab()
    await eyes.grab()
    assert painter.handed == 1


@pytest.mark.parametrize("grabbed", [True, False])
async def test_closing_gives_everything_back(grabbed: bool) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    painter = Painter(RED)
    eyes = Camera(cast("Monitor", painter))
    if grabbed:
        await eyes.grab()
        os.close(painter._copy)
    eyes.close()
    eyes.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_png_has_the_same_pixels(tmp_path: Path) -> None:
    Frame(2, 1, RED).save_png(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.size, picture.getpixel((1, 0))) == ((2, 1), (255, 0, 0))


@pytest.mark.parametrize(
    ("pixels", "said"), [(b"\0" * 6, "2x1, all black"), (b"\0" * 5 + b"\1", "2x1")], ids=["black", "nearly black"]
)
def test_a_black_screen_is_named_as_such(pixels: bytes, said: str) -> None:
    frame = Frame(2, 1, b"P6\n2 1\n255\n" + pixels)
    described: Callable[[], str] = frame.describe
    assert described() == said
