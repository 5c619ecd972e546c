"""Keys: which there are, that none stays pressed, and that none is lost because it came too early."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest
from played_keyboard import PlayedKeyboard

from qa.errors import DeadlineExceeded, QemuFailed, UsageError
from qa.qemu.input import QUEUE, bytes_of
from qa.screen import keyboard_flow
from qa.screen.keyboard import Keyboard
from qa.screen.keyboard_keys import parse_combination
from qa.screen.layouts import load_layout


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ret", ("ret",)),
        ("Enter", ("ret",)),
        ("ctrl-alt-delete", ("ctrl", "alt", "delete")),
        ("CTRL-ALT-F2", ("ctrl", "alt", "f2")),
        ("a", ("a",)),
        ("7", ("7",)),
        ("/", ("slash",)),
        ("!", ("shift", "1")),
        ("shift-!", ("shift", "1")),
        ("super-l", ("meta_l", "l")),
        ("-", ("minus",)),
        ("ctrl--", ("ctrl", "minus")),
        ("ctrl-minus", ("ctrl", "minus")),
        ("kp_5", ("kp_5",)),
        ("altgr-e", ("alt_r", "e")),
        (" esc ", ("esc",)),
    ],
)
def test_combinations(text: str, keys: tuple[str, ...]) -> None:
    assert parse_combination(text) == keys


def test_characters_in_combinations_are_those_of_the_layout() -> None:
    assert parse_combination("ctrl-z", load_layout("de")) == ("ctrl", "y")
    assert parse_combination("ctrl-a", load_layout("fr")) == ("ctrl", "q")
    assert parse_combination("ctrl--", load_layout("de")) == ("ctrl", "slash")
    assert parse_combination("slash", load_layout("de")) == ("slash",)  # a name is a place


@pytest.mark.parametrize("text", ["f13", "ctrl-altt-x", "hello", "ctrl-", "-ctrl", "ctrl---", "ß", " "])
def test_what_is_no_combination_is_the_users_error(text: str) -> None:
    with pytest.raises(UsageError, match="there is no key"):
        parse_combination(text)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        parse_combination("ctrl-alt-delte")
    assert caught.value.hint == "did you mean 'delete'?"


def test_more_keys_than_a_keyboard_holds_are_refused() -> None:
    with pytest.raises(UsageError, match="too many keys at once"):
        parse_combination("up-down-left-right")


async def test_keys_are_pressed_in_order_and_released_in_reverse() -> None:
    played = PlayedKeyboard()
    await Keyboard(played.monitor).press(("ctrl", "alt", "f2"))
    assert played.events == ["+ctrl", "+alt", "+f2", "-f2", "-alt", "-ctrl"]
    assert len(played.commands) == 1  # so that nothing can come between them


async def test_a_key_is_pressed_as_often_as_wanted_and_none_is_lost() -> None:
    played = PlayedKeyboard(takes=1)
    await Keyboard(played.monitor).press(("down",), times=40)
    assert played.events == ["+down", "-down"] * 40
    assert played.lost == []


async def test_a_key_is_held_down() -> None:
    played = PlayedKeyboard()
    with mock.patch("asyncio.sleep", wraps=asyncio.sleep) as sleep:
        await Keyboard(played.monitor).press(("shift", "a"), hold=0.01)
    assert played.commands == [["+shift", "+a"], ["-a", "-shift"]]
    assert mock.call(0.01) in sleep.mock_calls


async def test_keys_are_released_when_the_press_fails() -> None:
    played = PlayedKeyboard(refuse=True)
    with pytest.raises(QemuFailed):
        await Keyboard(played.monitor).press(("ctrl", "c"), hold=1)
    assert played.events == ["+ctrl", "+c", "-c", "-ctrl"]


async def test_keys_are_released_when_the_press_is_given_up() -> None:
    played = PlayedKeyboard()
    pressing = asyncio.create_task(Keyboard(played.monitor).press(("shift", "a"), hold=100))
    while not played.events:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    pressing.cancel()
    await asyncio.wait({pressing})
    assert played.events == ["+shift", "+a", "-a", "-shift"]


async def test_keys_are_released_when_it_is_given_up_twice() -> None:
    played = PlayedKeyboard()
    pressing = asyncio.create_task(Keyboard(played.monitor).press(("shift", "a"), hold=100))
    while not played.events:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    pressing.cancel()
    await asyncio.sleep(0)
    pressing.cancel()
    await asyncio.wait({pressing})
    assert played.events == ["+shift", "+a", "-a", "-shift"]


async def test_two_who_press_at_once_do_not_mix_their_combinations() -> None:
    played = PlayedKeyboard()
    keyboard = Keyboard(played.monitor)
    await asyncio.gather(keyboard.press(("ctrl", "a"), hold=0.001), keyboard.press(("alt", "b"), hold=0.001))
    assert played.events == ["+ctrl", "+a", "-a", "-ctrl", "+alt", "+b", "-b", "-alt"]


async def test_a_key_that_is_pressed_many_times_is_not_mixed_with_another() -> None:
    played = PlayedKeyboard(takes=1)
    keyboard = Keyboard(played.monitor)
    await asyncio.gather(keyboard.press(("a",), times=20), keyboard.press(("b",), times=20))
    assert played.events == ["+a", "-a"] * 20 + ["+b", "-b"] * 20


@pytest.mark.parametrize("takes", [1, 2, 3, 5, 7, 100])
async def test_a_slow_guest_gets_every_key(takes: int) -> None:
    played = PlayedKeyboard(takes=takes)
    strokes = [("shift", "b"), ("a",), ("alt_r", "q"), ("shift", "alt_r", "l"), ("up",)] * 30
    await Keyboard(played.monitor).strike(strokes)
    assert played.lost == []
    assert len(played.events) == 2 * sum(map(len, strokes))


async def test_a_guest_that_is_quick_gets_several_strokes_at_once() -> None:
    played = PlayedKeyboard()
    await Keyboard(played.monitor).strike([("a",)] * 21)
    assert [len(events) for events in played.commands] == [14, 14, 14]


async def test_a_guest_that_takes_nothing_any_more_is_told_and_nothing_is_lost() -> None:
    played = PlayedKeyboard()
    keyboard = Keyboard(played.monitor)
    await keyboard.strike([("a",)])
    await keyboard.flow.drained()
    played.takes = 0
    with mock.patch.object(keyboard_flow, "STALL_LIMIT", 0.05), pytest.raises(DeadlineExceeded, match="the guest to take a key"):
        await keyboard.strike([("b",)] * 30)
    assert played.lost == []
    assert played.events[-2:] == ["+b", "-b"]


async def test_a_press_does_not_wait_for_a_guest_that_does_not_look_yet() -> None:
    played = PlayedKeyboard(takes=0)
    with mock.patch("qa.screen.keyboard.TAKEN_LIMIT", 0.01):
        await Keyboard(played.monitor).press(("esc",))
    assert played.events == ["+esc", "-esc"]


async def test_a_guest_whose_reading_cannot_be_counted_is_typed_to_slowly() -> None:
    played = PlayedKeyboard(counts=False)
    with (
        mock.patch.object(keyboard_flow, "STALL_LIMIT", 0.02),
        mock.patch.object(keyboard_flow, "UNCOUNTED_RATE", 4000.0),
        mock.patch("asyncio.sleep", wraps=asyncio.sleep) as sleep,
    ):
        await Keyboard(played.monitor).strike([("a",)] * 70)
    assert len(played.events) == 140
    rests = [call.args[0] for call in sleep.mock_calls if call.args[0] > 0]
    assert sum(rests) >= (140 - 2 * QUEUE) / 4000 > 0.02  # more than the wait that showed that counting is no use


async def test_what_a_guest_threw_away_is_not_waited_for() -> None:
    played = PlayedKeyboard(takes=0)
    keyboard = Keyboard(played.monitor)
    await keyboard.strike([("a",)] * 7)
    played.takes = 1
    await keyboard.flow.drained(0)
    played.flush()
    with mock.patch.object(keyboard_flow, "FLUSHED", 0.02):
        await keyboard.strike([("b",)] * 7)
    assert played.events.count("+b") == 7
    assert played.lost == []


async def test_after_a_reset_nothing_is_waited_for() -> None:
    played = PlayedKeyboard(takes=0)
    keyboard = Keyboard(played.monitor)
    await keyboard.strike([("a",)] * 7)
    played.flush()
    keyboard.flow.forget()
    await keyboard.strike([("b",)] * 7)
    assert played.lost == []


async def test_a_machine_is_not_stopped_while_a_key_is_down() -> None:
    played = PlayedKeyboard()
    keyboard = Keyboard(played.monitor)
    pressing = asyncio.create_task(keyboard.press(("shift", "a"), hold=0.02))
    while not played.events:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    async with keyboard.still():
        assert played.events[-1] == "-shift"
        typing = asyncio.create_task(keyboard.strike([("b",)]))
        await asyncio.sleep(0.01)
        assert "+b" not in played.events
    await asyncio.gather(pressing, typing)
    assert played.events[-2:] == ["+b", "-b"]


async def test_a_guest_is_asked_whether_it_reads_without_a_key_going_down() -> None:
    played = PlayedKeyboard(takes=1)
    keyboard = Keyboard(played.monitor)
    assert await keyboard.answered()
    assert {event[0] for event in played.events} == {"-"}
    played.takes = 0
    with mock.patch("qa.screen.keyboard.ANSWER_LIMIT", 0.01):
        assert not await keyboard.answered()
    assert len(played.lost) == 0


def test_no_burst_is_larger_than_the_keyboard() -> None:
    from qa.screen.keyboard import _bursts

    for strokes in ([("a",)] * 50, [("shift", "a")] * 50, [("shift", "alt_r", "l"), ("a",)] * 20):
        bursts = _bursts(strokes)
        assert [stroke for burst in bursts for stroke in burst] == strokes
        assert all(sum(map(bytes_of, burst)) < QUEUE for burst in bursts)
