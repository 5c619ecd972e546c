"""What at the ends of pieces is no whole."""

from __future__ import annotations

import pytest

from qa.console.pieces import LONGEST_ESCAPE, cut_letter, last_lines, unfinished
from qa.console.text import plain


@pytest.mark.parametrize(
    "whole",
    ["é", "€", "😀", "\x1b[1;31m", "\x1b[?25 h", "\x1b]0;größer\x07", "\x1b]0;title\x1b\\", "\x1bP+q544e\x1b\\", "\x1b(B",
     "\x1bM", "\x1b]R", "\x1b]P0123abc"],
)  # fmt: skip
def test_what_has_begun_and_not_ended_is_unfinished(whole: str) -> None:
    data = whole.encode()
    assert [unfinished(b"text" + data[:length]) for length in range(len(data) + 1)] == [*range(len(data)), 0]


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"\xff", b"a\xc0", b"\x80\x80\x80", b"\xe9 ", b"\x1b]Rlogin: ", b"\x1b]P0123abclogin: ", b"\x1bX noise\r\n",
     b"\x1bX noise\x18", b"\x1b]" + b"x" * LONGEST_ESCAPE, b"\x1b[" + b"1" * LONGEST_ESCAPE, b"\x1b[1mbold"],
)  # fmt: skip
def test_what_does_not_go_on_is_not_unfinished(data: bytes) -> None:
    assert unfinished(data) == 0


def test_of_an_escape_in_an_unfinished_one_the_last_counts() -> None:
    assert unfinished(b"\x1bP noise\x1b[1") == 3


@pytest.mark.parametrize(("data", "cut"), [(b"", 0), (b"abc", 0), ("€".encode()[1:] + b"a", 2), (b"\x80" * 9, 0)])
def test_the_rest_of_a_letter_is_cut_off(data: bytes, cut: int) -> None:
    assert cut_letter(data) == cut


@pytest.mark.parametrize(
    "data", [b"one\ntwo\r\nthree\r\r\nfour\n", b"one\ntwo\nthree\nfour", b"one\rtwo\rthree\r\rfour\r", b"\n\n\n", b""]
)
@pytest.mark.parametrize("lines", [1, 2, 3, 4, 9])
def test_the_last_lines_begin_where_a_line_does(data: bytes, lines: int) -> None:
    cut = last_lines(data, lines)
    assert plain(data[cut:]).splitlines() == plain(data).splitlines()[-lines:]
    assert cut == 0 or data[cut - 1 : cut] in (b"\r", b"\n")


def test_returns_without_a_newline_take_no_long_time() -> None:
    # Quadratic, this would not come to an end.
    assert last_lines(b"\r" * (1 << 20), 3) == (1 << 20) - 3
