"""What a display is doing, where its picture alone says so: nothing shown, switched off, not yet initialised.

QEMU itself paints a picture where the guest gives none: a sentence in its own font, in the middle of a black screen. Such a
picture is recognised by every pixel of it, so a guest that shows the same words in another way is not mistaken for one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qa.screen.frames import Frame

DisplayState = Literal["picture", "black", "off", "uninitialised"]
"""``off``: the guest has switched the display off. ``uninitialised``: no driver of the guest has set it up since power-on."""

WORDS: dict[DisplayState, str] = {
    "picture": "",
    "black": "all black",
    "off": 'the display is off: QEMU shows "Display output is not active."',
    "uninitialised": 'the display is not set up yet: QEMU shows "Guest has not initialized the display (yet)."',
}
"""What is said of a state to people."""

_CELL_WIDTH, _CELL_HEIGHT = 8, 16
"""Pixels of a character in QEMU's own font."""

_SENTENCES: tuple[tuple[DisplayState, int, str], ...] = (
    ("off", 29, "64126a98b45e61239db582eedf876917"),
    ("uninitialised", 44, "0fd4f1037e9078e398aa67fa13b5dff8"),
)
"""The state, the number of characters in QEMU's sentence for it, and the digest of the sentence's pixels, as QEMU 10 has them."""


def display_state(frame: Frame) -> DisplayState:
    """What the display is doing when it shows ``frame``; ``picture`` for everything that is not certainly one of the others."""
    for state, length, digest in _SENTENCES:
        sentence = _sentence(frame, length)
        if sentence and hashlib.blake2b(sentence, digest_size=16).hexdigest() == digest:
            lit = len(sentence) - sentence.count(0)
            return state if _lit(frame) == lit else "picture"
    return "black" if _lit(frame) == 0 else "picture"


def _sentence(frame: Frame, length: int) -> bytes:
    """The pixels where QEMU writes a sentence of ``length`` characters; empty where it does not fit."""
    left = (frame.width // _CELL_WIDTH - length) // 2 * _CELL_WIDTH
    top = (frame.height // _CELL_HEIGHT - 1) // 2 * _CELL_HEIGHT
    if left < 0 or top < 0:
        return b""
    row, width = 3 * frame.width, 3 * length * _CELL_WIDTH
    starts = range(top * row + 3 * left, (top + _CELL_HEIGHT) * row + 3 * left, row)
    return b"".join(frame.pixels[start : start + width] for start in starts)


def _lit(frame: Frame) -> int:
    """How many bytes of the pixels are not 0."""
    return len(frame.pixels) - frame.pixels.tobytes().count(0)
