"""Console output as text."""

from __future__ import annotations

import pytest

from qa.console.text import _ESCAPES, plain, without_kernel_lines


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"one\r\r\ntwo", "one\ntwo"),
        (b"10%\r20%\r30%", "10%\n20%\n30%"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe", "BdsDxe"),
        (b"\x1b]0;title\x07prompt", "prompt"),
        (b"\x1b]0;title\x1b\\prompt", "prompt"),
        (b"\x1bPdevice\x1b\\after", "after"),
        (b"\x1b]Rlogin: ", "login: "),
        (b"\x1b]P0123AbcLogin: ", "Login: "),
        (b"\x1b]P012\r\nlogin: ", "\nlogin: "),
        (b"\x1b]0;unfinished\r\nlogin: ", "\nlogin: "),
        (b"\x1b]0;unfinished", ""),
        (b"noise \x1bX\x9c\x80\nlogin: ", "noise \nlogin: "),
        (b"noise \x1bP\x90\r25%", "noise \n25%"),
        (b"\x1b_noise\x1b[1;1Hlogin: ", "login: "),
        (b"\x1b^noise\x18login: ", "login: "),
        (b"\x1b]0;title\x1b]1;icon\x07prompt", "prompt"),
        (b"\x1b(Bascii\x1b)0", "ascii"),
        (b"\x1bM\x1b7\x1b8up", "up"),
        (b"a\x00b\x07c\x08d\x7f", "abcd"),
        (b"tab\there", "tab\there"),
        ("Größe ✓".encode(), "Größe ✓"),
        (b"half \xc3", "half \ufffd"),
    ],
)
def test_plain_text(raw: bytes, text: str) -> None:
    assert plain(raw) == text


@pytest.mark.parametrize("begin", [b"]", b"P", b"X", b"^", b"_", b"[", b"[1;", b"", b"(", b" "])
def test_no_escape_reads_what_the_next_one_reads(begin: bytes) -> None:
    """Each byte is looked at by one sequence, so the time is that of the length, however many begin and do not end."""
    begun = b"\x1b" + begin
    found = [match.span() for match in _ESCAPES.finditer((begun * 1000).decode())]
    assert all(end - start <= len(begun) for start, end in found)
    assert plain(begun * (1 << 20)).count("\x1b") == 0


def test_carriage_returns_without_a_newline_take_no_long_time() -> None:
    assert plain(b"\r" * (1 << 20) + b"\r\nend") == "\nend"
    assert plain(b"\r" * (1 << 20)) == "\n" * (1 << 20)


def test_a_kernel_message_in_the_middle_of_a_prompt_is_cut_out() -> None:
    assert without_kernel_lines(plain(b"log[   12.345678] usb 1-1: new\r\nin: ")) == "login: "


def test_several_kernel_messages_are_cut_out() -> None:
    assert without_kernel_lines("a[    0.000001] x\nb[   99.000000][    T1] y\nc[12345.678901][ C0] z\n") == "abc"


def test_a_kernel_message_that_is_still_coming_is_cut_out() -> None:
    assert without_kernel_lines("login: [    5.123456] random: cr") == "login: "


@pytest.mark.parametrize("text", ["[ 50.5] percent", "array[1.234567]x", "[12.345678]no blank"])
def test_what_only_looks_like_a_kernel_message_stays(text: str) -> None:
    assert without_kernel_lines(text) == text
