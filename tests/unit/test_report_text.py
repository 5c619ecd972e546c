"""What guests print, made harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa.report.text import MAX_LINE, Span, clip, coloured_lines, one_line, plain, read_clip


@pytest.mark.parametrize(
    ("printed", "read"),
    [
        ("a\r\nb\r\r\nc", "a\nb\nc"),
        ("[ * ] waiting\r[ ok ] done", "[ ok ] done"),
        ("\x1b[2J\x1b[1;1Htop\x1b[2;1Hnext\x1b[2;40Hsame", "top\nnextsame"),
        ("ab\x08c", "ac"),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", "textlink"),
        ("\x1b]Rlogin: \x1b]P0123abcroot", "login: root"),
        ("\x1bPpayload\x1b\\text\x1b(B\x1b7!", "text!"),
        ("nul \x00 bell \x07 del \x7f csi \x9b31m", "nul ␀ bell ␇ del ␡ csi \ufffd31m"),
        ("exe.\u202egnp\u2066", "exe.⟨U+202E⟩gnp⟨U+2066⟩"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("tab\tstays", "tab\tstays"),
        ("unfinished \x1b", "unfinished ␛"),
    ],
)
def test_escapes_and_controls_are_gone(printed: str, read: str) -> None:
    assert plain(printed) == read


def test_an_unfinished_title_does_not_swallow_what_follows() -> None:
    assert plain("\x1b]0;" + "x" * 1000 + " the end").endswith("the end")
    assert plain("\x1b]0;short\nthe end") == "\nthe end"


def test_colours_become_data() -> None:
    lines = list(coloured_lines("\x1b[1;31mred\x1b[0m plain \x1b[38;5;33mpalette\x1b[92mbright\n\x1b[39mnone"))
    assert lines == [
        [Span("red", 1, True), Span(" plain "), Span("palette"), Span("bright", 10)],
        [Span("none")],
    ]


def test_rgb_arguments_are_not_taken_for_colours() -> None:
    assert list(coloured_lines("\x1b[38;2;31;32;33mx")) == [[Span("x")]]


def test_a_line_of_megabytes_is_cut() -> None:
    line = plain("y" * 5_000_000)
    assert line.startswith("y" * MAX_LINE + " … 4,996,000 more")
    assert len(line) < MAX_LINE + 50


@pytest.mark.parametrize("evil", ["\r", "\x1b[", "\x1b]", "x\x08", "\x1b", "\x1b[1;1H"])
def test_megabytes_of_escapes_take_no_quadratic_time(evil: str) -> None:
    # Quadratic, this would not come to an end.
    assert plain(evil * 300_000 + " \nend").endswith("end")


def test_one_line_is_one_line() -> None:
    assert one_line("a\n b\r\n\x1b[31mc ") == "a b c"
    assert one_line("x" * 400, limit=10) == "xxxxxxxxx…"


def test_a_clip_says_what_it_left_out() -> None:
    assert clip("abcdefghij", 2, 3).text == "ab\n… 5 bytes left out …\nhij"
    assert clip("abcde", 2, 3).text == "abcde"


def test_a_file_is_read_at_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"head" + b"\xff" * 1_000_000 + b"tail")
    found = read_clip(path, 4, 4)
    assert (found.head, found.tail, found.cut, found.size) == ("head", "tail", 1_000_000, 1_000_008)
    path.write_bytes(b"bad \xff\xc3")
    assert read_clip(path, 100, 100).text == "bad \ufffd\ufffd"
