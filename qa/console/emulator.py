"""The emulator behind the terminal: pyte's, which takes a guest's letters for granted, mended where they are not."""

from __future__ import annotations

import re
import unicodedata

import pyte
from wcwidth import wcwidth

MOST_MARKS = 8
"""Marks that a letter takes, with itself. Languages put three or four on one; an endless heap of them would cost endless time."""

_VARIANTS = re.compile("[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that choose between pictures of one letter: whoever looks for the letter does not look for them."""


class Screen(pyte.HistoryScreen):
    """A screen that loses no letter behind one that takes no room."""

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
