"""Keys: which there are, and that none stays pressed."""

from __future__ import annotations

import asyncio
import string
from typing import Any, cast

import pytest

from qa.errors import QemuFailed, UsageError
from qa.qemu.monitor import Monitor
from qa.screen.keyboard import Keyboard, keys_for, parse_combination


class Presses:
    """Plays the monitor: notes what is pressed, and may refuse."""

    def __init__(self, refuse: bool = False) -> None:
        self.events: list[str] = []
        self._refuse = refuse

    async def execute(self, command: str, arguments: dict[str, Any]) -> None:
        assert command == "input-send-event"
        for event in arguments["events"]:
            data = event["data"]
            self.events.append(("+" if data["down"] else "-") + data["key"]["data"])
        await asyncio.sleep(0)
        if self._refuse and any(event.startswith("+") for event in self.events[-len(arguments["events"]) :]):
            raise QemuFailed("QEMU refused input-send-event")


def keyboard(presses: Presses) -> Keyboard:
    return Keyboard(cast("Monitor", presses))


def test_every_printable_character_has_keys_of_its_own() -> None:
    characters = [chr(number) for number in range(0x20, 0x7F)] + ["\n", "\t"]
    keys = [keys_for(character) for character in characters]
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_capitals_and_upper_signs_need_shift() -> None:
    shifted = [character for character in string.printable if (keys := keys_for(character)) and keys[0] == "shift"]
    assert set(shifted) == set(string.ascii_uppercase + '~!@#$%^&*()_+{}|:"<>?')


@pytest.mark.parametrize("character", ["ß", "é", "日", "٣", "\x07", "\r", "\u00a0", ""])
def test_other_characters_have_none(character: str) -> None:
    assert keys_for(character) is None


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
        ("super-l", ("meta_l", "l")),
        ("-", ("minus",)),
        ("ctrl--", ("ctrl", "minus")),
        ("ctrl-minus", ("ctrl", "minus")),
        ("kp_5", ("kp_5",)),
        (" esc ", ("esc",)),
    ],
)
def test_combinations(text: str, keys: tuple[str, ...]) -> None:
    assert parse_combination(text) == keys


@pytest.mark.parametrize("text", ["f13", "ctrl-altt-x", "hello", "ctrl-", "-ctrl", "ctrl---", "ß", " "])
def test_what_is_no_combination_is_the_users_error(text: str) -> None:
    with pytest.raises(UsageError, match="there is no key"):
        parse_combination(text)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        parse_combination("ctrl-alt-delte")
    assert caught.value.hint == "did you mean 'delete'?"


async def test_keys_are_pressed_in_order_and_released_in_reverse() -> None:
    presses = Presses()
    await keyboard(presses).press(("ctrl", "alt", "f2"))
    assert presses.events == ["+ctrl", "+alt", "+f2", "-f2", "-alt", "-ctrl"]


async def test_keys_are_released_when_the_press_fails() -> None:
    presses = Presses(refuse=True)
    with pytest.raises(QemuFailed):
        await keyboard(presses).press(("ctrl", "c"))
    assert presses.events == ["+ctrl", "+c", "-c", "-ctrl"]


async def test_keys_are_released_when_the_press_is_given_up() -> None:
    presses = Presses()
    pressing = asyncio.create_task(keyboard(presses).press(("shift", "a")))
    while not presses.events:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    pressing.cancel()
    await asyncio.wait({pressing})
    assert presses.events == ["+shift", "+a", "-a", "-shift"]


async def test_a_text_is_typed_character_by_character() -> None:
    presses = Presses()
    await keyboard(presses).type("aB\n", rate=100_000)
    assert presses.events == ["+a", "-a", "+shift", "+b", "-b", "-shift", "+ret", "-ret"]


async def test_a_character_without_a_key_is_refused_before_the_first_key() -> None:
    presses = Presses()
    with pytest.raises(UsageError, match=r"'é' \(character 4 of the text\) has no key"):
        await keyboard(presses).type("café")
    assert presses.events == []


async def test_two_who_type_at_once_do_not_mix_their_combinations() -> None:
    presses = Presses()
    hands = keyboard(presses)
    await asyncio.gather(hands.press(("ctrl", "a")), hands.press(("alt", "b")))
    assert presses.events == ["+ctrl", "+a", "-a", "-ctrl", "+alt", "+b", "-b", "-alt"]
