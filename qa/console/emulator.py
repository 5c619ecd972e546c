"""The emulator behind the terminal: pyte's, which takes a guest's letters for granted, mended where they are not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

import pyte
from pyte.screens import Char
from wcwidth import wcwidth

MOST_MARKS = 8
"""Marks that a letter takes, with itself. Languages put three or four on one; an endless heap of them would cost endless time."""

_VARIANTS = re.compile("[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that choose between pictures of one letter: whoever looks for the letter does not look for them."""


class Screen(pyte.HistoryScreen):
    """A screen that loses no letter behind one that takes no room, and can be read with halves of letters on it."""

    def row(self, number: int) -> str:
        """What stands in a row of the screen, from 0, without trailing blanks."""
        return self._read(self.buffer[number])

    def scrolled(self) -> list[str]:
        """The rows that have gone above the screen."""
        return [self._read(line) for line in self.history.top]

    def _read(self, line: Mapping[int, Char]) -> str:
        """A wide letter takes two cells, the second of them empty. Where one half was overwritten, the other is blank."""
        cells = [line[column].data for column in range(self.columns)]
        text = "".join(cells)
        if len(text) == len(cells) and text.isascii():
            return text.rstrip()
        return "".join(map(_cell, ["", *cells], cells, [*cells[1:], ""])).rstrip()

    def draw(self, data: str) -> None:
        """Letters at the cursor. A mark joins the letter before it; whatever else takes no room is left out.

        Behind a character without a width that does not combine pyte drops the rest of the text.
        """
        if data.isascii() and data.isprintable():
            super().draw(data)
            return
        begun = 0
        for at, letter in enumerate(data.translate(self.g1_charset if self.charset else self.g0_charset)):
            if wcwidth(letter) <= 0:
                super().draw(data[begun:at])
                self._join(letter)
                begun = at + 1
        super().draw(data[begun:])

    def _join(self, mark: str) -> None:
        """Put a mark onto the letter before the cursor; the vowels that Korean, Thai and Hindi put there are marks, too."""
        if unicodedata.category(mark)[0] not in "LM" or _VARIANTS.match(mark):
            return
        line, column = self.buffer[self.cursor.y], self.cursor.x - 1
        if column > 0 and not line[column].data:  # the second half of a wide letter
            column -= 1
        if column >= 0 and len(line[column].data) < MOST_MARKS:
            line[column] = line[column]._replace(data=unicodedata.normalize("NFC", line[column].data + mark))


class Stream(pyte.ByteStream):
    """A stream in which no sequence hides more than its line."""

    def feed_line(self, data: bytes) -> None:
        """A line, or a piece of one. A stray byte may begin a title, of which pyte alone would await the end for ever."""
        self.feed(data)
        if data.endswith(b"\n") and not self._taking_plain_text:
            self._initialize_parser()
            self.feed(b"\r\n")


def _cell(before: str, cell: str, behind: str) -> str:
    """What a cell shows between its neighbours."""
    if not cell:
        return "" if _is_wide(before) else " "
    return " " if behind and _is_wide(cell) else cell


def _is_wide(letter: str) -> bool:
    return letter != "" and wcwidth(letter[0]) == 2
