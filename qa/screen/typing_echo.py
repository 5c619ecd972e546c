"""What was typed, as a text console shows it: found, missing, or wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qa.screen.text.found import Grid

_PROMPT_ENDS = frozenset(" #$%>:)]")
"""What a prompt ends with that came onto the screen after typing began."""


@dataclass(frozen=True)
class Anchor:
    """The place where the next typed character will appear.

    Attributes:
        before: what stands before it in its row, spaces included.
        row: counted from the top.
        columns: cells of a row.
        rows: of the console.
    """

    before: str
    row: int
    columns: int
    rows: int

    @classmethod
    def of(cls, grid: Grid) -> Anchor | None:
        """The cell under the cursor; None where no cursor is seen."""
        if grid.cursor is None:
            return None
        column, row = grid.cursor
        return cls(_padded(grid, row)[:column], row, grid.columns, len(grid.rows))

    def after(self, text: str) -> Anchor:
        """Where the next character appears when ``text`` was typed here."""
        rows, column = divmod(len(self.before) + len(text), self.columns)
        whole = self.before + text
        return replace(self, before=whole[len(whole) - column :], row=min(self.row + rows, self.rows - 1))

    @property
    def room(self) -> int:
        """How many characters are all on the screen when they are typed here; at least one."""
        return max(self.columns * (self.rows - 1) - len(self.before), 1)

    def fits_in_row(self, text: str) -> bool:
        """Whether ``text`` ends in the row where it begins, with the cursor behind it."""
        return len(self.before) + len(text) < self.columns

    def fills_row(self, text: str) -> bool:
        """Whether ``text`` ends at a row's very end, where consoles do not agree on where the cursor is."""
        return (len(self.before) + len(text)) % self.columns == 0


def is_shown(grid: Grid, anchor: Anchor, typed: str) -> bool:
    """Whether the console shows ``typed`` from ``anchor`` on, and nothing behind it.

    The rows may have moved: a full screen scrolls, and a program may have printed something above.
    """
    if typed.endswith(" ") and grid.cursor is None:
        return False  # a space that is missing cannot be seen, the cursor behind it can
    wanted = _wrapped(anchor.before + typed, anchor.columns)
    for start in range(len(grid.rows) - len(wanted), -1, -1):
        if _cursor_fits(grid, start, anchor, typed) and all(
            _same(row, _padded(grid, start + number)) for number, row in enumerate(wanted)
        ):
            return True
    return not anchor.before.strip() and _is_before_cursor(grid, typed)


def shown_instead(grid: Grid, anchor: Anchor) -> str | None:
    """What stands between the anchor and the cursor, in one row, with nothing behind it; None where that cannot be told."""
    if grid.cursor is None:
        return None
    column, row = grid.cursor
    text = _padded(grid, row)
    if not text.startswith(anchor.before) or column < len(anchor.before) or text[column:].strip():
        return None
    return text[len(anchor.before) : column]


def looks_mistyped(typed: str, shown: str) -> bool:
    """Whether ``shown`` is ``typed`` with a few characters lost, doubled or changed, and not what a program made of it."""
    if abs(len(typed) - len(shown)) > max(1, len(typed) // 2):
        return False
    if _is_in(shown, typed) or _is_in(typed, shown):
        return True
    wrong = sum(1 for one, other in zip(typed, shown, strict=False) if one != other)
    return len(typed) == len(shown) and wrong <= max(1, len(typed) // 10)


def in_common(typed: str, shown: str) -> int:
    """How many characters at the beginning are right."""
    right = 0
    for one, other in zip(typed, shown, strict=False):
        if not _alike(one, other):
            break
        right += 1
    return right


def _is_in(shorter: str, longer: str) -> bool:
    """Whether ``shorter`` is ``longer`` with characters left out."""
    rest = iter(longer)
    return bool(shorter) and all(character in rest for character in shorter)


def _padded(grid: Grid, row: int) -> str:
    return grid.rows[row].ljust(grid.columns)


def _wrapped(text: str, columns: int) -> list[str]:
    rows = [text[start : start + columns].ljust(columns) for start in range(0, len(text), columns)]
    return rows or [" " * columns]


def _same(wanted: str, shown: str) -> bool:
    return len(wanted) == len(shown) and all(map(_alike, wanted, shown))


def _alike(wanted: str, shown: str) -> bool:
    """Fonts of consoles lack characters, and draw some alike; with ASCII they do not."""
    return wanted == shown or (not wanted.isascii() and shown != " ")


def _cursor_fits(grid: Grid, start: int, anchor: Anchor, typed: str) -> bool:
    if grid.cursor is None or anchor.fills_row(typed):
        return True
    rows, column = divmod(len(anchor.before) + len(typed), anchor.columns)
    return grid.cursor == (column, start + rows)


def _is_before_cursor(grid: Grid, typed: str) -> bool:
    """Whether ``typed`` ends at the cursor, behind a prompt that was not there when typing began."""
    if grid.cursor is None:
        return False
    column, row = grid.cursor
    text = "".join(_padded(grid, number) for number in range(row)) + _padded(grid, row)[:column]
    before = text[: len(text) - len(typed)]
    return _same(typed, text[len(before) :]) and before[-1:] in _PROMPT_ENDS
