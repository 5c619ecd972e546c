"""Characters that look the same: the Latin, Greek and Cyrillic A are one glyph in most console fonts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

_LATIN = "LATIN"
_SCRIPTS = (_LATIN, "GREEK", "CYRILLIC")


def settle(cells: Sequence[str]) -> str:
    """The text of a row whose cells hold the characters that each may be, the likeliest first.

    A letter that could be of several scripts is of the one that the rest of its word is of, or else the rest of its row.
    """
    likeliest = "".join(cell[0] for cell in cells)
    if likeliest.isascii() and all(len(cell) == 1 for cell in cells):
        return likeliest
    row = _script(cells)
    text = list(likeliest)
    for word in re.finditer(r"[^ ]+", likeliest):
        script = _script(cells[word.start() : word.end()]) or row
        if script and script != _LATIN:
            for at in range(word.start(), word.end()):
                text[at] = next((one for one in cells[at] if script_of(one) == script), text[at])
    return "".join(text)


def _script(cells: Iterable[str]) -> str:
    """The one script of those letters that can only be of one; empty where there are none, or letters of several."""
    found = {script_of(cell[0]) for cell in cells if len({script_of(one) for one in cell}) == 1} - {""}
    return found.pop() if len(found) == 1 else ""


@cache
def script_of(character: str) -> str:
    """``LATIN``, ``GREEK``, ``CYRILLIC``, or nothing."""
    if not character.isalpha():
        return ""
    script = unicodedata.name(character, "").partition(" ")[0]
    return script if script in _SCRIPTS else ""
