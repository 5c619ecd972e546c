"""Frames: what the guest's screen shows, taken over QMP into memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import QemuFailed
from qa.screen.display import WORDS, DisplayState, display_state

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qa.qemu.monitor import Monitor

MAX_PIXELS = 40_000_000
"""No screen is larger: 8K has 33 million. What claims more is not believed: to look for a needle takes many bytes for each."""

NO_DISPLAY = "There is no console"
"""What QEMU 7.2 to 10 say of a picture that no device could show."""


@dataclass(frozen=True)
class Frame:
    """One picture of the screen, in binary PPM as QEMU writes it fastest (5 ms for 1280x800, where PNG takes 29 ms).

    Attributes:
        taken: when, in monotonic seconds.
    """

    width: int
    height: int
    ppm: bytes = field(repr=False)
    taken: float = field(default_factory=time.monotonic, compare=False)

    @cached_property
    def pixels(self) -> memoryview:
        """Three bytes for each pixel: red, green, blue; row by row from the top left."""
        return memoryview(self.ppm)[-3 * self.width * self.height :]

    @cached_property
    def digest(self) -> bytes:
        """Equal for frames that show the same."""
        return hashlib.blake2b(self.ppm, digest_size=16).digest()

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The pixels as an array of height, width and three colours, which cannot be written to."""
        import numpy as np  # noqa: PLC0415 -- costs 0.1 s, and a run that only takes pictures does not need it

        return np.frombuffer(self.pixels, np.uint8).reshape(self.height, self.width, 3)

    def save_png(self, path: Path) -> None:
        """Write it as PNG; quick compression, because screens are flat."""
        from PIL import Image  # noqa: PLC0415 -- costs 60 ms, and most runs' first picture comes late

        with Image.open(BytesIO(self.ppm)) as picture:
            try:
                picture.save(path, compress_level=3)
            except OSError:  # a full disk: no picture is better than a broken one
                path.unlink(missing_ok=True)
                raise

    @cached_property
    def state(self) -> DisplayState:
        """What the display is doing: ``picture``, ``black``, ``off`` or ``uninitialised``."""
        return display_state(self)

    @property
    def note(self) -> str:
        """That it is black, or that the display is off or not set up yet; empty for every other picture."""
        return WORDS[self.state]

    def describe(self) -> str:
        """What can be said without looking closely: the size, and the note where there is one."""
        return ", ".join(filter(None, (f"{self.width}x{self.height}", self.note)))


class Camera:
    """Takes frames of one machine. QEMU writes into a file in memory that only we and it can see."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._lock = asyncio.Lock()
        self._memory = os.memfd_create("anima-qa-frame", os.MFD_CLOEXEC)
        self._writable = -1
        self._set = -1

    async def grab(self) -> Frame:
        """The screen now; QEMU answers when the picture is complete.

        Raises:
            QemuFailed: there is no display, or QEMU wrote no picture.
            QemuExited: QEMU is gone.
        """
        # A wait that is over before QEMU has answered must not leave it writing into the file of the next picture.
        taking = asyncio.ensure_future(self._take())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def _take(self) -> Frame:
        async with self._lock:
            if self._set < 0:
                # QEMU wants a descriptor that is open for writing only, as a file of its own would be.
                self._writable = os.open(f"/proc/self/fd/{self._memory}", os.O_WRONLY | os.O_CLOEXEC)
                self._set = await self._monitor.add_descriptor(self._writable)
            os.ftruncate(self._memory, 0)
            os.lseek(self._writable, 0, os.SEEK_SET)  # QEMU's copy shares the position
            try:
                await self._monitor.execute("screendump", {"filename": f"/dev/fdset/{self._set}", "format": "ppm"})
            except QemuFailed as error:
                if NO_DISPLAY in error.message:
                    hint = "a screen needs a graphics device; what the machine prints is in its console (read_console)"
                    raise QemuFailed("the machine has no display", hint=hint) from error
                raise
            size = os.fstat(self._memory).st_size
            return _parse(os.pread(self._memory, size, 0))

    def close(self) -> None:
        """Give the memory back."""
        for descriptor in (self._memory, self._writable):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._writable = -1


def _parse(ppm: bytes) -> Frame:
    header = ppm[:64].split(None, 4)
    if len(header) < 4 or header[0] != b"P6" or not (header[1] + header[2]).isdigit():
        raise QemuFailed("QEMU wrote no picture of the screen")
    width, height = int(header[1]), int(header[2])
    before_pixels = len(b"P6\n%d %d\n255\n" % (width, height))
    if not 0 < width * height <= MAX_PIXELS or len(ppm) < before_pixels + 3 * width * height:
        raise QemuFailed(f"QEMU wrote a broken picture of the screen: {width}x{height}, {len(ppm)} bytes")
    return Frame(width, height, ppm)
