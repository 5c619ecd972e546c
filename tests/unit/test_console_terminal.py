"""The console as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qa.console import SerialConsole, Terminal
from qa.console.emulator import MOST_MARKS
from qa.console.serial import TAIL
from qa.console.terminal import COLUMNS, HISTORY, LINES


@pytest.fixture
def console(tmp_path: Path) -> Iterator[SerialConsole]:
    console = SerialConsole(tmp_path / "console.log")
    yield console
    console.close()


def test_text_drawn_with_cursor_movements_is_on_the_screen(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"\x1b[2J\x1b[3;10Hword:\x1b[3;5HPass")
    assert terminal.screen()[2] == "    Pass word:"
    console.data_received(b"\x1b[3;9H\x1b[1P")
    assert terminal.screen()[2] == "    Password:"
    assert terminal.cursor() == (8, 2)


def test_it_sees_only_what_comes_after_its_making(console: SerialConsole) -> None:
    console.data_received(b"before")
    terminal = Terminal(console)
    console.data_received(b"after")
    assert terminal.text() == "after"


def test_scrolled_lines_are_kept_above_the_screen(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"".join(b"line %d\r\n" % number for number in range(100)))
    assert terminal.text().splitlines() == [f"line {number}" for number in range(100)]
    assert terminal.text(0).splitlines() == [f"line {number}" for number in range(100 - LINES + 1, 100)]


def test_a_lot_of_output_keeps_a_bounded_history(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"".join(b"%d\r\n" % number for number in range(3 * HISTORY)))
    lines = terminal.text().splitlines()
    assert lines[-1] == str(3 * HISTORY - 1)
    assert HISTORY <= len(lines) <= HISTORY + LINES


def test_of_a_long_backlog_only_the_end_is_fed(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"\x1b[31mfirst\r\n" + (b"x" * 70 + b"\r") * (TAIL // 71 + 1) + b"\r\nlast")
    assert terminal.text().splitlines()[-1] == "last"
    assert "first" not in terminal.text()


@pytest.mark.parametrize(
    "sequence",
    [b"\x1b[>4;1m", b"\x1b[?25;1;2m", b"\x1b[=3h", b"\x1b[999999999999999999999C", b"\x1b[;;;;;;H", b"\x1b[6n\x1b[c",
     b"\x1b]999;x\x07",
     b"\x1bP+q544e\x1b\\", b"\x1b[1;2;3;4;5r", b"\x9b31m", b"\xff\xfe", b"\x1b[38;5m", b"\x1b[38;2;1m", b"\x1b[5;1r\x1b[4L"],
)  # fmt: skip
def test_no_sequence_disturbs_what_follows(console: SerialConsole, sequence: bytes) -> None:
    terminal = Terminal(console)
    console.data_received(sequence + b"x\r\n")
    console.data_received(b"\x1bc\x1b[2J\x1b[Hlogin: ")
    assert terminal.screen()[0] == "login:"


@pytest.mark.parametrize("begin", [b"\x1b]", b"\x1b]0;title", b"\x1bP", b"\x1b[", b"\x9d", "\x9d".encode()])
def test_a_sequence_that_does_not_end_hides_no_more_than_its_line(console: SerialConsole, begin: bytes) -> None:
    whole, pieces = Terminal(console), Terminal(console)
    for byte in b"noise " + begin + b"\r\nlogin: \x1b]0;title\x07":
        console.data_received(bytes([byte]))
        pieces.screen()
    for terminal in (whole, pieces):
        shown = [line for line in terminal.screen() if line]
        assert (shown[0][:5], shown[1:]) == ("noise", ["login:"])


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("下载\rOK!\r\nready> ", ["OK!", "ready>"]),
        ("下载\rOK!\x1b[1;5Hend", ["OK! end", ""]),
        ("下载\x1b[1;2HX", [" X载", ""]),
        ("下\x1b[1;1Ha", ["a", ""]),
        ("下载完\x1b[1;3H\x1b[1P", ["下 完", ""]),
        (f"{'x' * (COLUMNS - 1)}下", [f"{'x' * (COLUMNS - 1)}下", ""]),
        (f"{'x' * (COLUMNS - 2)}下\b\b下", [f"{'x' * (COLUMNS - 3)}下", ""]),
    ],
)
def test_half_of_a_wide_letter_that_was_overwritten_is_blank(console: SerialConsole, printed: str, shown: list[str]) -> None:
    terminal = Terminal(console)
    console.data_received(printed.encode())
    assert terminal.screen()[:2] == shown
    console.data_received(b"\r\n" * LINES)
    assert terminal.text().splitlines() == [line for line in shown if line]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("a⚠\ufe0f warning: disk full", "a⚠ warning: disk full"),
        ("zero\u200bwidth \u202aleft\u202c \ufeffmark", "zerowidth left mark"),
        ("control\x01 and\x85 next", "control and next"),
        ("cafe\u0301 o\u0323\u0302", "café ộ"),
        ("ไม่ได้ที่นี่", "ไม่ได้ที่นี่"),
        ("हिन्दी: शुरू", "हिन्दी: शुरू"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af!", "한글!"),
        ("か\u3099き", "がき"),
        ("\u0301\u0e31first", "first"),
        ("1\ufe0f\u20e3 of 2", "1\u20e3 of 2"),
    ],
)
def test_characters_without_a_width_hide_nothing_behind_them(console: SerialConsole, printed: str, shown: str) -> None:
    whole, pieces = Terminal(console), Terminal(console)
    for byte in printed.encode():  # a letter is cut anywhere
        console.data_received(bytes([byte]))
        pieces.screen()
    assert (whole.screen()[0], pieces.screen()[0]) == (shown, shown)


def test_a_mark_behind_the_last_column_begins_no_new_line(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(("x" * (COLUMNS - 1) + "e\u0301").encode() + b"\r\nnext")
    assert terminal.screen()[:2] == ["x" * (COLUMNS - 1) + "é", "next"]


def test_a_letter_takes_no_endless_heap_of_marks(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"x" + "\u0335".encode() * (TAIL // 2 - 10) + b"end")
    assert terminal.screen()[0] == "x" + "\u0335" * (MOST_MARKS - 1) + "end"


def test_it_never_answers_the_guest(console: SerialConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[bytes] = []
    monkeypatch.setattr(console, "write", typed.append)
    terminal = Terminal(console)
    console.data_received(b"\x1b[6n\x1b[c\x1b[5n")
    terminal.screen()
    assert typed == []


def test_long_lines_wrap(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"x" * (COLUMNS + 5))
    assert terminal.screen()[:2] == ["x" * COLUMNS, "x" * 5]


def test_a_machine_that_goes_on_from_a_frozen_state_shows_what_it_showed(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"what is undone\r\n")
    assert terminal.text() == "what is undone"
    console.go_on_from(b"\x1b[2J\x1b[1;1Hlogin: ", 5)
    assert terminal.text() == "login:"
    console.data_received(b"root")
    assert terminal.text() == "login: root"


def test_a_past_with_less_in_it_than_was_seen_is_shown_as_well(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"line\r\n" * 1000)
    terminal.screen()
    console.go_on_from(b"x", 1)
    assert terminal.text() == "x"
    console.go_on_from(b"", 0)
    assert terminal.text() == ""
