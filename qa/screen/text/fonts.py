"""The fonts of text consoles, as they were seen on screens of real guests.

A font is a text file in ``fonts/``: a head of ``# key: value`` lines, then for each glyph its characters (hexadecimal code points
with a comma between those that look the same, the likeliest first) and its rows from the top, in hexadecimal, the leftmost pixel
highest, each row filled up to whole bytes. ``tools/console_fonts.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent / "fonts"

Place = Literal["corner", "centred"]
"""Where a console puts its first cell: into the corner of the screen, or so that the margins are equal on opposite sides."""


@dataclass(frozen=True)
class Font:
    """A console font.

    Attributes:
        name: for people.
        width, height: of a cell, in pixels.
        place: where consoles with this font put their grid.
        cursor: the rows that its underline cursor inverts, from the first up to, not with, the last.
        glyphs: what a cell shows to its characters, the likeliest first. A cell is one bit for each pixel, row by row, packed
            into bytes, 1 where the glyph is.
    """

    name: str
    width: int
    height: int
    place: Place
    cursor: tuple[int, int]
    glyphs: Mapping[bytes, str]

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def parse_font(text: str) -> Font:
    """The font in a file's text.

    Raises:
        ValueError: it is broken.
    """
    head: dict[str, str] = {}
    glyphs: dict[bytes, str] = {}
    width = height = 0
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            head[key.strip()] = value.strip()
            if key.strip() == "cell":
                width, height = map(int, value.split("x"))
            continue
        codes, _, rows = line.partition(" ")
        glyphs[pack_rows(bytes.fromhex(rows), width, height)] = "".join(chr(int(code, 16)) for code in codes.split(","))
    first, last = map(int, head["cursor"].split("-"))
    place: Place = "centred" if head["grid"] == "centred" else "corner"
    return Font(head["name"], width, height, place, (first, last + 1), glyphs)


def format_font(font: Font, origin: str) -> str:
    """A file's text. ``origin`` says on which screens the font was seen."""
    head = [
        f"# name: {font.name}",
        f"# cell: {font.width}x{font.height}",
        f"# grid: {font.place}",
        f"# cursor: {font.cursor[0]}-{font.cursor[1] - 1}",
        f"# seen on: {origin}",
    ]
    ordered = sorted(font.glyphs.items(), key=lambda item: item[1])
    lines = [
        f"{','.join(f'{ord(one):04X}' for one in characters)} {unpack_rows(glyph, font.width, font.height).hex().upper()}"
        for glyph, characters in ordered
    ]
    return "\n".join([*head, *lines]) + "\n"


def pack_rows(rows: bytes, width: int, height: int) -> bytes:
    """A glyph out of rows that are whole bytes.

    Raises:
        ValueError: there are not ``height`` rows of ``width`` pixels.
    """
    stride = (width + 7) // 8
    if width < 1 or len(rows) != stride * height:
        raise ValueError(f"a glyph of {width}x{height} has {stride * height} bytes, not {len(rows)}")
    if width == 8 * stride:
        return rows
    bits = "".join(
        format(int.from_bytes(rows[at : at + stride]), f"0{8 * stride}b")[:width] for at in range(0, len(rows), stride)
    )
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))


def unpack_rows(glyph: bytes, width: int, height: int) -> bytes:
    """The rows of a glyph, each filled up to whole bytes."""
    stride = (width + 7) // 8
    bits = format(int.from_bytes(glyph), f"0{8 * len(glyph)}b")
    rows = (bits[row * width : (row + 1) * width].ljust(8 * stride, "0") for row in range(height))
    return b"".join(int(row, 2).to_bytes(stride) for row in rows)


@cache
def known_fonts() -> tuple[Font, ...]:
    """All fonts that travel with the program, those that are met most often first."""
    files = sorted(FOLDER.glob("*.txt"))
    return tuple(parse_font(file.read_text(encoding="ascii")) for file in files)
