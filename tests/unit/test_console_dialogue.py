"""Waiting for text: in the stream without kernel messages, and on the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qa import patterns
from qa.console import SerialConsole, Terminal, TextWatch, dialogue
from qa.console.dialogue import SILENCE, WINDOW
from qa.errors import UsageError


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[SerialConsole]:
    console = SerialConsole(tmp_path / "console.log")
    yield console
    console.close()


def listeners(console: SerialConsole) -> int:
    return len(console._listeners)


async def test_text_that_comes_is_found_with_its_groups_and_what_stood_before(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"no", r"inet (\S+)/(\d+)"])
    console.data_received(b"eth0: up\r\n  inet 10.0.2.15/24")
    found = await watch.wait()
    assert (found.index, found.text, found.groups) == (1, "inet 10.0.2.15/24", ("10.0.2.15", "24"))
    assert found.before == "eth0: up\n  "
    assert listeners(console) == 0


async def test_a_pattern_that_would_take_for_ever_is_given_up(console: SerialConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SEARCH_LIMIT_S", 0.1)
    watch = TextWatch(console, [r"(a+)+$"])
    console.data_received(b"a" * 60 + b"b")
    with pytest.raises(UsageError, match=r"the search for '\(a\+\)\+\$' was given up after 0.1 s of computing"):
        await watch.wait()
    assert listeners(console) == 0


async def test_of_several_patterns_the_one_that_stands_first_wins(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"login:", r"incorrect"])
    console.data_received(b"Login incorrect\r\nlogin: ")
    assert (await watch.wait()).index == 1


async def test_text_in_pieces_is_found(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"login: \Z"])
    for piece in (b"lo", b"gi", b"n:", b" "):
        console.data_received(piece)
        await asyncio.sleep(0)
    assert (await watch.wait()).text == "login: "


async def test_a_match_that_goes_on_in_the_next_piece_is_found_whole(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"answer=\d+"])
    for piece in (b"answer=4", b"2", b"\r\n"):
        console.data_received(piece)
        await asyncio.sleep(SILENCE / 4)
    assert (await watch.wait()).text == "answer=42"


async def test_a_prompt_after_which_something_came_was_none(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"login: \Z"])
    console.data_received(b"login: ")
    await asyncio.sleep(SILENCE / 4)
    console.data_received(b"disabled\r\n")
    waiting = asyncio.ensure_future(watch.wait())
    assert await asyncio.wait({waiting}, timeout=3 * SILENCE) == (set(), {waiting})
    console.data_received(b"host login: ")
    assert (await waiting).before == "login: disabled\nhost "


async def test_output_without_end_holds_no_match_back_for_ever(console: SerialConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "LONGEST_HOLD", 0.2)
    watch = TextWatch(console, [r"y[y\n]*"])
    waiting = asyncio.ensure_future(watch.wait())
    while not waiting.done():
        console.data_received(b"y\r\n")
        await asyncio.sleep(SILENCE / 10)
    assert set(waiting.result().text) == {"y", "\n"}


async def test_what_stands_there_since_long_is_found_at_once(console: SerialConsole) -> None:
    terminal = Terminal(console)
    console.data_received(b"\x1b[2J\x1b[5;15HManager\x1b[5;10HBoot\x1b[9;1Hlogin: ")
    for pattern in (r"login: \Z", "Boot Manager"):
        console.spoke_at = time.monotonic()
        assert not TextWatch(console, [pattern], terminal=terminal, seen=True)._found.done()
        console.spoke_at -= SILENCE
        assert TextWatch(console, [pattern], terminal=terminal, seen=True)._found.done()


async def test_kernel_messages_in_the_middle_do_not_disturb(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"login: \Z"])
    console.data_received(b"log[   12.345678] usb 1-1: new\r\nin: ")
    assert (await watch.wait()).text == "login: "


async def test_a_kernel_message_itself_can_be_waited_for(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"usb 1-1: (\w+)"])
    console.data_received(b"log[   12.345678] usb 1-1: new\r\nin: ")
    assert (await watch.wait()).groups == ("new",)


async def test_a_prompt_that_was_drawn_is_found_on_the_screen(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"Boot Manager"], terminal=Terminal(console))
    console.data_received(b"\x1b[2J\x1b[5;15HManager\x1b[5;10HBoot")
    assert (await watch.wait()).text == "Boot Manager"


async def test_a_screen_with_half_a_wide_letter_on_it_is_looked_at(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"Boot Manager"], terminal=Terminal(console))
    console.data_received("下载\rOK!\x1b[5;15HManager\x1b[5;10HBoot".encode())
    async with asyncio.timeout(20):
        assert (await watch.wait()).text == "Boot Manager"


async def test_what_was_there_before_counts_only_when_it_is_asked_for(console: SerialConsole) -> None:
    console.data_received(b"login: ")
    only_new = TextWatch(console, [r"login:"])
    both = TextWatch(console, [r"login:"], seen=True)
    assert (await both.wait()).text == "login:"
    console.data_received(b"password: login:")
    assert (await only_new.wait()).before == "password: "


async def test_a_flood_is_searched_once_in_a_turn_and_keeps_a_window(
    console: SerialConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []
    plain = dialogue.plain
    monkeypatch.setattr(dialogue, "plain", lambda data: searched.append(len(data)) or plain(data))
    watch = TextWatch(console, [r"the end"])
    for _ in range(1000):
        console.data_received(b"y\r\n" * 1000)
    console.data_received(b"the end")
    await watch.wait()
    assert searched == [WINDOW]


async def test_a_wait_that_is_given_up_leaves_nothing(console: SerialConsole) -> None:
    watch = TextWatch(console, [r"never"], terminal=Terminal(console))
    waiting = asyncio.create_task(watch.wait())
    await asyncio.sleep(0)
    console.data_received(b"something")
    waiting.cancel()
    await asyncio.wait({waiting})
    assert listeners(console) == 0
    watch.close()


async def test_a_pattern_that_is_none_is_the_users_error(console: SerialConsole) -> None:
    with pytest.raises(UsageError, match="'log\\(in' is not a regular expression"):
        TextWatch(console, ["log(in"])
    assert listeners(console) == 0
