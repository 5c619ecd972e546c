"""Console output as text."""

from __future__ import annotations

import pytest

from qa.console.text import plain, without_kernel_lines


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


def test_a_kernel_message_in_the_middle_of_a_prompt_is_cut_out() -> None:
    assert without_kernel_lines(plain(b"log[   12.345678] usb 1-1: new\r\nin: ")) == "login: "


def test_several_kernel_messages_are_cut_out() -> None:
    assert without_kernel_lines("a[    0.000001] x\nb[   99.000000][    T1] y\nc[12345.678901][ C0] z\n") == "abc"


def test_a_kernel_message_that_is_still_coming_is_cut_out() -> None:
    assert without_kernel_lines("login: [    5.123456] random: cr") == "login: "


@pytest.mark.parametrize("text", ["[ 50.5] percent", "array[1.234567]x", "[12.345678]no blank"])
def test_what_only_looks_like_a_kernel_message_stays(text: str) -> None:
    assert without_kernel_lines(text) == text
