"""Output that comes in pieces, which are cut anywhere: what at their ends is no whole."""

from __future__ import annotations

import codecs
import re

LONGEST_ESCAPE = 512
"""Bytes of an escape sequence whose rest is awaited: a long title of a window. Behind a stray byte there is no end to await."""

_BEGUN = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*"  # see qa.console.text for the whole ones
    rb"|(?:\](?!R|P[0-9A-Fa-f]{7})|[PX^_])[^\x07\x18\x1a\x1b\r\n]*\x1b?"
    rb"|[ -/]*)\Z"
)
_LINE_END = re.compile(rb"(?<!\r)\r+\n|[\r\n]")


def cut_letter(data: bytes) -> int:
    """Bytes at the beginning that end a letter of UTF-8 of which the beginning is missing."""
    return next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


def unfinished_letter(data: bytes) -> int:
    """Bytes at the end that begin a letter of UTF-8 whose rest has not come. Bytes that can begin none are none."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-3:])
    return len(decoder.getstate()[0])


def unfinished(data: bytes) -> int:
    """Bytes at the end that begin a letter or an escape sequence whose rest has not come."""
    end = data[-LONGEST_ESCAPE:]
    begun = _BEGUN.search(end)
    return len(end) - begun.start() if begun else unfinished_letter(end)


def last_lines(data: bytes, lines: int) -> int:
    """Where the last ``lines`` lines begin; a return of the cursor begins one, too."""
    begins = [match.end() for match in _LINE_END.finditer(data) if match.end() < len(data)]
    return begins[-lines] if len(begins) >= lines else 0
