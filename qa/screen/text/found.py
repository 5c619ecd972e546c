"""What was read off the screen: words with their places, and the text that they make."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

from qa.patterns import compile_pattern, in_time

How = Literal["glyphs", "tesseract", "none"]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a glyph that no font of ours has."""


@dataclass(frozen=True)
class Box:
    """A rectangle of the screen, in pixels from the top left."""

    x: int
    y: int
    width: int
    height: int

    @property
    def center(self) -> tuple[int, int]:
        """The pixel in its middle: where one clicks."""
        return self.x + self.width // 2, self.y + self.height // 2

    def around(self, other: Box) -> Box:
        """The smallest one that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Box(x, y, right - x, bottom - y)

    def overlaps(self, other: Box) -> bool:
        """Whether they have a pixel in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Word:
    """Characters without a space between them.

    Attributes:
        confidence: 0 to 1; 1 for what was read glyph by glyph.
    """

    text: str
    box: Box
    confidence: float = 1.0


@dataclass(frozen=True)
class Grid:
    """A text console, read cell by cell.

    Attributes:
        rows: from the top, trailing spaces cut; `UNKNOWN` for glyphs that the font does not have.
        columns: how many cells a row has.
        cell: width and height of a cell, in pixels.
        origin: x and y of the first cell, in pixels.
        cursor: column and row of the cell with the cursor; None where none is seen.
        font: name of the font that was recognised.
    """

    rows: tuple[str, ...]
    columns: int
    cell: tuple[int, int]
    origin: tuple[int, int] = (0, 0)
    cursor: tuple[int, int] | None = None
    font: str = ""

    @property
    def unknown(self) -> int:
        """How many glyphs the font does not have."""
        return sum(row.count(UNKNOWN) for row in self.rows)

    @property
    def text(self) -> str:
        """The rows with line feeds between them, without the empty ones at the end."""
        return "\n".join(self.rows).rstrip("\n")

    def box(self, row: int, start: int, end: int) -> Box:
        """The place of the cells from column ``start`` up to, not with, ``end``."""
        (width, height), (x, y) = self.cell, self.origin
        return Box(x + start * width, y + row * height, (end - start) * width, height)

    def inside(self, region: Box) -> Grid:
        """The cells whose centres are in ``region``."""
        (width, height), (x, y) = self.cell, self.origin
        left, right = (_cells_before(edge - x, width, self.columns) for edge in (region.x, region.x + region.width))
        top, bottom = (_cells_before(edge - y, height, len(self.rows)) for edge in (region.y, region.y + region.height))
        cursor = None
        if self.cursor and left <= self.cursor[0] < right and top <= self.cursor[1] < bottom:
            cursor = (self.cursor[0] - left, self.cursor[1] - top)
        rows = tuple(row[left:right].rstrip(" ") for row in self.rows[top:bottom])
        return Grid(rows, right - left, self.cell, (x + left * width, y + top * height), cursor, self.font)

    def words(self) -> tuple[tuple[Word, ...], ...]:
        """The words of each row."""
        return tuple(
            tuple(Word(found[0], self.box(number, found.start(), found.end())) for found in re.finditer(r"[^ ]+", row))
            for number, row in enumerate(self.rows)
        )


def _cells_before(pixels: int, size: int, most: int) -> int:
    """How many cells have their centre before a pixel."""
    return min(max((pixels + size // 2) // size, 0), most)


@dataclass(frozen=True)
class Match:
    """A text that was looked for and found."""

    text: str
    box: Box


@dataclass(frozen=True)
class ScreenText:
    """What a screen, or a part of it, says.

    Attributes:
        lines: the words of each line.
        how: read exactly, glyph by glyph; recognised by tesseract; or not at all.
        note: what the reader should know: the font, unknown glyphs, why nothing could be read.
        grid: the console's cells, where it is one.
        failed: it could not be read, though it may say something.
        hint: what would help then.
    """

    lines: tuple[tuple[Word, ...], ...]
    how: How
    note: str = ""
    grid: Grid | None = None
    failed: bool = False
    hint: str = ""

    @property
    def text(self) -> str:
        """With line feeds between lines. A console's columns are kept; else words stand one space apart."""
        return self.grid.text if self.grid else "\n".join(self._lines)

    def find(self, pattern: str) -> Box | None:
        """Where a regular expression is first found; None where it is not.

        On a console a text that goes on in the next row, because the row was full, is found too.

        Raises:
            UsageError: it is no regular expression.
        """
        found = self.search(pattern)
        return found.box if found else None

    def search(self, pattern: str) -> Match | None:
        """Like `find`, with the text that was found."""
        wanted = compile_pattern(unicodedata.normalize("NFC", pattern))
        straight = [(0, line + "\n") for line in self._lines]
        with in_time(pattern):
            return self._search(wanted, straight) or (self._search(wanted, self._flowing()) if self.grid else None)

    @cached_property
    def _lines(self) -> list[str]:
        return list(self.grid.rows) if self.grid else [" ".join(word.text for word in line) for line in self.lines]

    def _flowing(self) -> list[tuple[int, str]]:
        """The column from which on each line counts, and what it says from there on: one that fills its row ends in the next.

        Firmware uses the middle of the screen: a row is full where it leaves as much free on the right as on the left.
        """
        columns = self.grid.columns if self.grid else 0
        flowing, margin = [], 0
        for line in self._lines:
            start = margin if not line[:margin].strip() else 0
            left = len(line) - len(line.lstrip(" "))
            full = left + len(line) == columns
            flowing.append((start, line[start:] + ("" if full else "\n")))
            margin = left if full else 0
        return flowing

    def _search(self, wanted: re.Pattern[str], pieces: list[tuple[int, str]]) -> Match | None:
        """The first match in lines that are given from a column on, each with what ends it."""
        starts = list(accumulate((len(piece) for _, piece in pieces), initial=0))
        for match in wanted.finditer("".join(piece for _, piece in pieces)):
            boxes = []
            for number, ((column, piece), start) in enumerate(zip(pieces, starts, strict=False)):
                first, last = max(match.start() - start, 0), min(match.end() - start, len(piece.rstrip("\n")))
                if first < last:
                    boxes.append(self._box(number, column + first, column + last))
            if boxes:
                return Match(match[0], _hull(boxes))
        return None

    def _box(self, number: int, start: int, end: int) -> Box:
        """The place of characters of a line. Inside a recognised word they are taken to be equally wide."""
        if self.grid:
            return self.grid.box(number, start, end)
        boxes, at = [], 0
        for word in self.lines[number]:
            first, last = max(start - at, 0), min(end - at, len(word.text))
            if first < last:
                left, right = (word.box.width * place // len(word.text) for place in (first, last))
                boxes.append(Box(word.box.x + left, word.box.y, max(right - left, 1), word.box.height))
            at += len(word.text) + 1
        return _hull(boxes or [word.box for word in self.lines[number]])


def _hull(boxes: Iterable[Box]) -> Box:
    first, *others = boxes
    for box in others:
        first = first.around(box)
    return first
