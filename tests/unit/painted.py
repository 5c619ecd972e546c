"""Frames that were painted instead of taken."""

from __future__ import annotations

from qa.screen.frames import Frame

Rectangle = tuple[int, int, int, int]


def painted(*rectangles: Rectangle, size: tuple[int, int] = (320, 200), taken: float = 0.0, ink: int = 200) -> Frame:
    """A black frame with grey rectangles (x, y, width, height) on it."""
    width, height = size
    pixels = bytearray(3 * width * height)
    for x, y, across, down in rectangles:
        for row in range(y, y + down):
            start = 3 * (row * width + x)
            pixels[start : start + 3 * across] = bytes([ink]) * (3 * across)
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + bytes(pixels), taken)
