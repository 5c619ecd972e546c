"""Output that comes in pieces, which are cut anywhere: what of a letter is at their ends."""

from __future__ import annotations

import codecs


def cut_letter(data: bytes) -> int:
    """Bytes at the beginning that end a letter of UTF-8 of which the beginning is missing."""
    return next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


def unfinished_letter(data: bytes) -> int:
    """Bytes at the end that begin a letter of UTF-8 whose rest has not come. Bytes that can begin none are none."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-3:])
    return len(decoder.getstate()[0])
