"""Texts and their places on the screen."""

from __future__ import annotations

import pytest
from screens import screen

from qa.errors import UsageError
from qa.screen.text import Box, Grid, ScreenText, Word, read_console_grid
from qa.screen.text.nearest import nearest_text, plain


def of_grid(grid: Grid) -> ScreenText:
    return ScreenText(grid.words(), "glyphs", grid=grid)


def console(*rows: str, columns: int = 20) -> ScreenText:
    return of_grid(Grid(rows, columns, (8, 16)))


RECOGNISED = ScreenText(
    (
        (Word("Ask", Box(100, 50, 30, 12), 0.9), Word("before", Box(135, 50, 50, 12), 0.9)),
        (Word("Cancel", Box(300, 200, 60, 10), 0.8), Word("OK", Box(400, 202, 20, 10), 0.7)),
    ),
    "tesseract",
)


def test_a_consoles_text_keeps_its_columns_and_loses_what_is_empty_below() -> None:
    assert console("a  b", "", "   c", "", "").text == "a  b\n\n   c"


def test_recognised_words_are_a_space_apart() -> None:
    assert RECOGNISED.text == "Ask before\nCancel OK"


@pytest.mark.parametrize(
    ("pattern", "box"),
    [("Cancel", Box(300, 200, 60, 10)), ("OK", Box(400, 202, 20, 10)), ("^Cancel OK$", Box(300, 200, 120, 12)),
     ("Can", Box(300, 200, 30, 10)), ("cel O", Box(330, 200, 80, 12)), (r"before\nCancel", Box(135, 50, 225, 160)),
     ("(?i)ask", Box(100, 50, 30, 12)), ("nothing", None), ("x*", None)],
)  # fmt: skip
def test_a_recognised_text_has_a_place(pattern: str, box: Box | None) -> None:
    assert RECOGNISED.find(pattern) == box


@pytest.mark.parametrize(
    ("pattern", "box"),
    [("login", Box(24, 16, 40, 16)), ("^qa login: $", None), ("^qa login:$", Box(0, 16, 72, 16)),
     (r"\d+", Box(40, 0, 16, 16)), (r"12\n.*n:", Box(0, 0, 72, 32))],
)  # fmt: skip
def test_a_text_on_a_console_has_a_place(pattern: str, box: Box | None) -> None:
    assert console("line 12", "qa login:").find(pattern) == box


def test_the_place_that_is_clicked_is_the_middle() -> None:
    assert Box(400, 202, 20, 10).center == (410, 207)


def test_a_text_goes_on_in_the_next_row_where_the_row_is_full() -> None:
    text = console("0123456789 a long te", "xt that goes on", "and another")
    assert text.find("long text that") == Box(0, 0, 160, 32)
    assert text.find("goes on.and") is None
    assert text.find("goes onand") is None


def test_a_text_goes_on_in_the_next_row_in_the_middle_of_a_firmwares_screen() -> None:
    text = console("", "    0123456789ab", "    cdef", "    ghij")
    assert text.find("9abcd") == Box(8 * 4, 16, 8 * 12, 32)
    assert text.find("efgh") is None


def test_a_long_line_on_a_real_console_is_found() -> None:
    grid = read_console_grid(screen("linux-colours"))
    assert grid is not None
    assert of_grid(grid).find("xxxthe end of a long line") == Box(0, 9 * 16, 800, 32)


def test_accents_may_be_written_in_two_ways() -> None:
    assert console("gr\u00fc\u00dfe").find("gru\u0308") == Box(0, 0, 24, 16)


def test_what_is_no_regular_expression_is_told() -> None:
    with pytest.raises(UsageError, match="is not a regular expression"):
        RECOGNISED.find("(")
    with pytest.raises(UsageError, match="is not a regular expression"):
        RECOGNISED.find("(?P<n>\u0338a)")  # it is one as long as nobody joins > and the stroke through it


@pytest.mark.parametrize(
    ("pattern", "near"),
    [("qa login:", "qa 1ogin:"), (r"^qa\s+login:", "qa 1ogin:"), ("Passwort: ", "Password:"), (r"\bpassword\b", "Password"),
     ("something else entirely", ""), ("[0-9]+", ""), (".*", "")],
)  # fmt: skip
def test_the_nearest_text_is_told(pattern: str, near: str) -> None:
    assert nearest_text(pattern, "Debian GNU/Linux 13\n\n    qa 1ogin: root\nPassword:\n") == near


@pytest.mark.parametrize(("pattern", "words"), [(r"a\.b", "a.b"), (r"(?i)log(in|on):\s*$", "log in on :"), ("x{2,3}y", "x y")])
def test_a_pattern_is_read_as_the_text_that_was_meant(pattern: str, words: str) -> None:
    assert plain(pattern) == words
