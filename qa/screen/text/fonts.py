"""The fonts of text consoles, as they were seen on screens of real guests.

A font is a text file in ``fonts/``: a head of ``# key: value`` lines, then for each glyph its characters (hexadecimal code
points, with a comma between those that look the same, the likeliest first) and its pixels, also in hexadecimal: row by row from
the top left, a bit for each, filled up to whole bytes at the end. ``tools/console_fonts.py`` makes them. The numbers in the names
of the files say in which order fonts are tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, cast

FOLDER = Path(__file__).parent / "fonts"

Place = Literal["corner", "centred", "inset"]
"""Where a console puts its first cell: into the corner of the screen (Linux), so that opposite margins are equal (firmware), or
behind a margin of ten pixels (GRUB's graphical terminal)."""


@dataclass(frozen=True)
class Font:
    """A console font.

    Attributes:
        name: for people.
        width, height: of a cell, in pixels.
        place: where consoles with this font put their grid.
        cursor: the rows that its underline cursor inverts, from the first up to, not with, the last.
        lines: its glyphs as they are in the file.
    """

    name: str
    width: int
    height: int
    place: Place
    cursor: tuple[int, int]
    lines: tuple[str, ...] = field(repr=False)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @cached_property
    def glyphs(self) -> Mapping[bytes, str]:
        """The pixels of each glyph to its characters, the likeliest first. Decoded when they are first asked for."""
        pairs = (line.split() for line in self.lines)
        return {bytes.fromhex(pixels): "".join(chr(int(code, 16)) for code in codes.split(",")) for codes, pixels in pairs}

    @cached_property
    def table(self) -> Mapping[bytes, tuple[str, str]]:
        """What a cell shows, as pixels that differ from its first one, to its characters: where that one is background, and where
        it belongs to the glyph."""
        table: dict[bytes, tuple[str, str]] = {}
        for glyph, characters in self.glyphs.items():
            shape = self._from_first(glyph)
            upright, turned = table.get(shape, ("", ""))
            table[shape] = (upright, characters) if glyph[0] & 0x80 else (characters, turned)
        return table

    @cached_property
    def bare_cursor(self) -> bytes:
        """What a blank cell with the cursor on it shows."""
        first, last = self.cursor
        return self._bits(first * self.width, last * self.width)

    @cached_property
    def under_cursor(self) -> Mapping[bytes, str]:
        """What a cell with the cursor on it shows, in the same way as in ``table``, to its characters."""
        covered = {self._from_first(_xor(glyph, self.bare_cursor)): characters for glyph, characters in self.glyphs.items()}
        return covered | {self.bare_cursor: " "}

    def _from_first(self, glyph: bytes) -> bytes:
        """``glyph``, inverted where its first pixel is set."""
        return _xor(glyph, self._bits(0, self.width * self.height)) if glyph[0] & 0x80 else glyph

    def _bits(self, first: int, last: int) -> bytes:
        """A cell of which the pixels from ``first`` up to, not with, ``last`` are set."""
        size = self.width * self.height
        return (((1 << (last - first)) - 1) << (size - last) << (-size % 8)).to_bytes(-(-size // 8), "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def parse_font(text: str) -> Font:
    """The font in a file's text."""
    lines = text.splitlines()
    head = {key: value for key, _, value in (line[2:].partition(": ") for line in lines if line.startswith("#"))}
    width, height = map(int, head["cell"].split("x"))
    first, last = map(int, head["cursor"].split("-"))
    place = cast("Place", head["grid"])
    glyphs = tuple(line for line in lines if not line.startswith("#"))
    return Font(head["name"], width, height, place, (first, last + 1), glyphs)


def format_font(font: Font, origin: str) -> str:
    """A file's text. ``origin`` says on which screens the font was seen."""
    head = (
        f"# name: {font.name}",
        f"# cell: {font.width}x{font.height}",
        f"# grid: {font.place}",
        f"# cursor: {font.cursor[0]}-{font.cursor[1] - 1}",
        f"# seen on: {origin}",
    )
    return "\n".join([*head, *font.lines]) + "\n"


def format_glyphs(glyphs: Mapping[bytes, str]) -> tuple[str, ...]:
    """The lines of a file."""
    ordered = sorted(glyphs.items(), key=lambda item: (item[1], item[0]))
    return tuple(f"{','.join(f'{ord(one):04X}' for one in characters)} {pixels.hex().upper()}" for pixels, characters in ordered)


@cache
def known_fonts() -> tuple[Font, ...]:
    """All fonts that travel with the program, those that are met most often first."""
    files = sorted(FOLDER.glob("*.txt"))
    return tuple(parse_font(file.read_text(encoding="ascii")) for file in files)
