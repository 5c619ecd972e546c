"""Texts: nothing lost, doubled or mixed, and what a console shows of them is read back."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from unittest import mock

import pytest
from played_keyboard import PlayedConsole, PlayedKeyboard

from qa.errors import ChannelLost, CheckFailed, UsageError
from qa.screen.keyboard import Keyboard
from qa.screen.layouts import load_layout
from qa.screen.text.found import Grid
from qa.screen.typing_echo import Anchor, is_shown, looks_mistyped, shown_instead
from qa.screen.typing_pace import Pace
from qa.screen.typing_text import Typed, Typist

US = load_layout("us")


@pytest.fixture(autouse=True)
def no_long_waits() -> object:
    with (
        mock.patch("qa.screen.typing_text.ECHO_LIMIT", 0.05),
        mock.patch("qa.screen.typing_proof.LEAST_PATIENCE", 0.05),
        mock.patch("qa.screen.typing_proof.CURSOR_LIMIT", 0.05),
        mock.patch("qa.screen.typing_proof.LOOK_PAUSE", 0.001),
        mock.patch("qa.screen.typing_text.SCREEN_RATE", 100_000.0),
        mock.patch("qa.screen.typing_text.BLIND_RATE", 100_000.0),
    ):
        yield


class Desk:
    """A keyboard, a console and a typist."""

    def __init__(self, *, takes: int = 5, prompt: str = "$ ", columns: int = 40) -> None:
        self.keyboard = PlayedKeyboard(takes=takes)
        self.console = PlayedConsole(self.keyboard, prompt=prompt, columns=columns)
        self.typist = Typist(Keyboard(self.keyboard.monitor), self.console.look)

    async def type(self, text: str, **how: object) -> Typed:
        return await self.typist.type(text, US, **how)  # type: ignore[arg-type]


def some_text(characters: int, seed: int = 1) -> str:
    chance = random.Random(seed)
    return "".join("\n" if chance.random() < 0.02 else chr(chance.randrange(33, 127)) for _ in range(characters))


async def test_a_text_arrives_and_is_seen() -> None:
    desk = Desk()
    assert await desk.type("echo Hello, World!\n") == Typed(19, seen=18, mended=0)
    assert desk.console.typed == "echo Hello, World!\n"


@pytest.mark.parametrize(("prompt", "columns"), [("root@host:~# ", 20), ("", 40), ("$ ", 80)])
async def test_ten_thousand_characters_arrive_and_are_seen(prompt: str, columns: int) -> None:
    desk, text = Desk(takes=1000, prompt=prompt, columns=columns), some_text(10_000)
    typed = await desk.type(text)
    assert desk.console.typed == text
    assert desk.keyboard.lost == []
    assert typed == Typed(10_000, seen=10_000 - text.count("\n"), mended=0)


@pytest.mark.parametrize("takes", [1, 3])
async def test_a_slow_guest_gets_all_of_it(takes: int) -> None:
    desk, text = Desk(takes=takes), some_text(150, seed=takes)
    await desk.type(text, verify=False)
    assert desk.console.typed == text


@pytest.mark.parametrize("length", [36, 37, 38, 39, 40, 78, 79, 80])
async def test_a_line_may_end_at_the_edge_of_the_screen(length: int) -> None:
    desk = Desk()
    assert await desk.type("x" * length + "\n", verify=True) == Typed(length + 1, seen=length, mended=0)


async def test_a_cursor_that_blinks_is_waited_for() -> None:
    desk = Desk()
    desk.console.blink = 5
    assert (await desk.type("one two \nthree\n", verify=True)).seen == 13


def losing(*numbers: int) -> object:
    """Loses the characters with these numbers."""
    count = iter(range(10_000))
    return lambda character: "" if next(count) in numbers else character


async def test_what_got_lost_is_mended_before_the_enter_key() -> None:
    desk = Desk()
    desk.console.mangle = losing(3)  # type: ignore[assignment]
    assert await desk.type("reboot --force\n") == Typed(15, seen=14, mended=1)
    assert desk.console.lines == ["reboot --force"]


async def test_what_came_twice_is_mended() -> None:
    desk = Desk()
    count = iter(range(1000))
    desk.console.mangle = lambda character: character * (2 if next(count) == 0 else 1)
    await desk.type("rm -r x\n")
    assert desk.console.lines == ["rm -r x"]


async def test_what_cannot_be_mended_is_an_error_where_it_must_be_seen() -> None:
    desk = Desk()
    desk.console.mangle = lambda character: "" if character == "a" else character
    with pytest.raises(CheckFailed, match="not on the screen as it was typed") as caught:
        await desk.type("banana split\n", verify=True)
    assert caught.value.evidence["typed"] == "banana split"
    assert "$ bnn split" in caught.value.evidence["the screen"]
    assert desk.console.lines == []  # the Enter key was not pressed


async def test_what_was_changed_in_vain_is_an_error_before_the_enter_key() -> None:
    desk = Desk()
    desk.console.mangle = lambda character: "" if character == "a" else character
    with pytest.raises(CheckFailed, match="not on the screen as it was typed"):
        await desk.type("banana split\n")
    assert desk.console.lines == []


async def test_the_command_of_an_editor_is_not_typed_again() -> None:
    desk = Desk(prompt="~ ")
    count = iter(range(1000))
    desk.console.mangle = lambda character: "" if next(count) == 0 else character
    assert (await desk.type("iWritten in an editor")).mended == 0
    assert "+backspace" not in desk.keyboard.events


async def test_after_a_correction_it_goes_on_slowly() -> None:
    desk = Desk()
    desk.console.mangle = losing(3)  # type: ignore[assignment]
    with (
        mock.patch("qa.screen.typing_proof.CAREFUL_RATES", (123.0, 0.0, 0.0)),
        mock.patch.object(Pace, "send", autospec=True, side_effect=Pace.send) as send,
    ):
        await desk.type("reboot\n")
    assert [call.args[0].rate for call in send.mock_calls][-1] == 123.0


async def test_what_a_program_makes_of_the_text_is_left_alone() -> None:
    desk = Desk()
    desk.console.mangle = lambda character: chr(ord(character) ^ 1)
    assert (await desk.type("hello there\n")).mended == 0
    assert "+backspace" not in desk.keyboard.events


async def test_a_password_is_typed_without_a_look_at_it() -> None:
    desk = Desk(prompt="Password: ")
    desk.console.echo = False
    assert await desk.type("secret\n") == Typed(7, seen=0, mended=0)
    assert desk.console.typed == "secret\n"


async def test_a_password_that_must_be_seen_is_an_error() -> None:
    desk = Desk(prompt="Password: ")
    desk.console.echo = False
    with pytest.raises(CheckFailed) as caught:
        await desk.type("secret\n", verify=True)
    assert caught.value.hint
    assert "passwords" in caught.value.hint


async def test_nobody_looks_when_nobody_shall() -> None:
    desk = Desk()
    await desk.type("abc\n", verify=False)
    assert desk.console.looks == 0


async def test_a_picture_without_a_console_is_typed_to_without_looking() -> None:
    desk = Desk()

    async def nothing() -> None:
        return None

    typist = Typist(desk.typist.keyboard, nothing)
    assert await typist.type("abc", US) == Typed(3, seen=0, mended=0)
    assert desk.console.typed == "abc"
    with pytest.raises(CheckFailed, match="no text console"):
        await typist.type("def", US, verify=True)
    assert desk.console.typed == "abc"


async def test_behind_a_tab_nothing_is_expected_until_the_next_line() -> None:
    desk = Desk()
    assert (await desk.type("cd /e\tfoo\nls\n", verify=True)).seen == len("cd /els")
    assert desk.console.typed == "cd /e\tfoo\nls\n"


async def test_a_prompt_that_comes_late_is_no_mistake() -> None:
    desk = Desk(prompt="")
    desk.console.after_enter = lambda _: "output\n$ "
    assert (await desk.type("one\ntwo\n", verify=True)).seen == 6


async def test_a_character_without_a_key_is_refused_before_the_first_key() -> None:
    desk = Desk()
    with pytest.raises(UsageError, match=r"'é' \(line 2, character 1\) has no key"):
        await desk.type("caf\né")
    assert desk.keyboard.events == []


async def test_texts_of_two_typists_are_never_mixed() -> None:
    desk = Desk()
    first, second = "a" * 300 + "\n", "b" * 300 + "\n"
    await asyncio.gather(desk.type(first), desk.type(second, verify=False), desk.typist.keyboard.press(("tab",)))
    assert desk.console.typed == first + second + "\t"


async def test_what_had_to_be_typed_slowly_is_not_typed_fast_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float | None] = []
    send = Pace.send

    async def note(pace: Pace, strokes: Any, **how: Any) -> None:
        rates.append(pace.rate)
        await send(pace, strokes, **how)

    monkeypatch.setattr(Pace, "send", note)
    desk = Desk()
    desk.console.mangle = losing(1)  # type: ignore[assignment]

    def hide(_: str) -> str:
        desk.console.echo = False
        return ""

    desk.console.after_enter = hide
    await desk.type("ls x\n" + "ab\n" * 4)
    assert desk.console.lines == ["ls x", "ab", "ab", "ab", "ab"]
    assert rates[0] is None
    assert rates[-1] == 40.0


async def test_a_text_that_is_given_up_leaves_no_key_pressed_and_no_turn_taken() -> None:
    desk = Desk(takes=1)
    typing = asyncio.create_task(desk.type("ABC" * 1000))
    while len(desk.keyboard.events) < 100:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    typing.cancel()
    await asyncio.wait({typing})
    assert sorted(event[1:] for event in desk.keyboard.events if event[0] == "+") == sorted(
        event[1:] for event in desk.keyboard.events if event[0] == "-"
    )
    before = desk.console.typed
    await desk.type("z")
    assert desk.console.typed.startswith(before)
    assert desk.console.typed.endswith("z")


async def test_typing_ends_when_going_on_is_senseless() -> None:
    desk = Desk()

    def check(sent: int) -> None:
        if sent >= 400:
            raise ChannelLost("reset")

    typist = Typist(desk.typist.keyboard, desk.console.look, check=check)
    with pytest.raises(ChannelLost):
        await typist.type("x" * 1000, US)
    assert len(desk.console.typed) == 400


async def test_the_rate_is_kept() -> None:
    desk = Desk(takes=1000)
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with mock.patch("qa.screen.typing_pace.time.monotonic", side_effect=lambda: now), mock.patch("asyncio.sleep", sleep):
        await desk.type("x" * 101, verify=False, rate=20)
    assert 4.9 < now < 5.1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (Typed(1, 0, 0), "1 character"),
        (Typed(7, 0, 0), "7 characters"),
        (Typed(7, 6, 0), "7 characters, 6 of them seen on the screen"),
        (Typed(7, 6, 2), "7 characters, 6 of them seen on the screen, corrected 2 times"),
    ],
)
def test_what_is_told_of_a_text(typed: Typed, words: str) -> None:
    assert typed.describe() == words


def grid(*rows: str, cursor: tuple[int, int] | None = None, columns: int = 10) -> Grid:
    return Grid(tuple(row.rstrip() for row in rows), columns, (8, 16), cursor=cursor)


def test_a_text_is_found_where_the_rows_have_moved() -> None:
    anchor = Anchor("$ ", 2, 10, 5)
    assert is_shown(grid("x", "$ abcdefgh", "ij"), anchor, "abcdefghij")
    assert not is_shown(grid("x", "$ abcdefgh", "i"), anchor, "abcdefghij")
    assert not is_shown(grid("x", "$ abcdefgh", "ijk"), anchor, "abcdefghij")


def test_a_text_behind_which_there_is_more_is_not_what_was_typed() -> None:
    assert not is_shown(grid("$ abcc"), Anchor("$ ", 0, 10, 5), "abc")
    assert not is_shown(grid("$ aabc"), Anchor("$ ", 0, 10, 5), "abc")


def test_spaces_at_the_end_are_seen_by_the_cursor_alone() -> None:
    anchor = Anchor("$ ", 0, 10, 5)
    assert not is_shown(grid("$ a"), anchor, "a ")
    assert not is_shown(grid("$ a", cursor=(3, 0)), anchor, "a ")
    assert is_shown(grid("$ a", cursor=(4, 0)), anchor, "a ")


def test_an_older_line_of_the_same_text_does_not_count() -> None:
    assert not is_shown(grid("$ ls", "$ l", cursor=(3, 1)), Anchor("$ ", 1, 10, 5), "ls")


def test_characters_that_fonts_lack_count_as_shown() -> None:
    assert is_shown(grid("$ 5?"), Anchor("$ ", 0, 10, 5), "5€")
    assert not is_shown(grid("$ 5"), Anchor("$ ", 0, 10, 5), "5€")


def test_what_stands_there_instead_is_only_told_at_the_end_of_a_row() -> None:
    anchor = Anchor("$ ", 0, 10, 5)
    assert shown_instead(grid("$ ac", cursor=(4, 0)), anchor) == "ac"
    assert shown_instead(grid("$ ac de", cursor=(4, 0)), anchor) is None
    assert shown_instead(grid("$ ac"), anchor) is None
    assert shown_instead(grid("> ac", cursor=(4, 0)), anchor) is None


@pytest.mark.parametrize(
    ("typed", "shown", "mistyped"),
    [
        ("hello", "helo", True),
        ("hello", "helllo", True),
        ("hello", "", False),
        ("hello", "HELLO", False),
        ("hello world", "hellp world", True),
        ("x", "while true do", False),
        ("dd", "ab", False),
    ],
)
def test_mistyped_is_what_lacks_a_little_or_has_a_little_too_much(typed: str, shown: str, mistyped: bool) -> None:
    assert looks_mistyped(typed, shown) is mistyped
