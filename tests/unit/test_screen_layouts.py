"""Keyboard layouts: which keys make which characters, and what is said of characters that have none."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from qa.errors import UsageError
from qa.screen.layouts import LAYOUTS, LayoutName, load_layout

PRINTABLE = [chr(number) for number in range(0x20, 0x7F)]


def test_there_is_a_file_for_each_name_and_a_name_for_each_file() -> None:
    files = {
        file.name.removesuffix(".toml") for file in resources.files("qa.screen.layouts").iterdir() if file.name.endswith(".toml")
    }
    assert files == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_can_type_all_of_ascii_with_keys_of_its_own(name: LayoutName) -> None:
    layout = load_layout(name)
    keys = [layout.strokes(character) for character in [*PRINTABLE, "\n", "\t", "\b", "\x1b"]]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_names_no_character_twice_and_nothing_unknown(name: LayoutName) -> None:
    content = tomllib.loads((resources.files("qa.screen.layouts") / f"{name}.toml").read_text())
    made = [character for row in content["keys"].values() for character in row if character]
    assert sorted(set(made)) == sorted(made)
    assert all(len(one) == 1 or one.startswith("dead_") for one in made)
    assert all(one in load_layout(name).dead for one in made if len(one) > 1)


@pytest.mark.parametrize(
    ("name", "character", "strokes"),
    [
        ("us", "a", (("a",),)),
        ("us", "A", (("shift", "a"),)),
        ("us", "~", (("shift", "grave_accent"),)),
        ("de", "z", (("y",),)),
        ("de", "@", (("alt_r", "q"),)),
        ("de", "ß", (("minus",),)),
        ("de", "^", (("grave_accent",), ("spc",))),
        ("de", "`", (("shift", "equal"), ("spc",))),
        ("de", "é", (("equal",), ("e",))),
        ("de", "È", (("shift", "equal"), ("shift", "e"))),
        ("fr", "a", (("q",),)),
        ("fr", "1", (("shift", "1"),)),
        ("fr", "é", (("2",),)),
        ("fr", "ê", (("bracket_left",), ("e",))),
        ("fr", "ï", (("shift", "bracket_left"), ("i",))),
        ("fr", "@", (("alt_r", "0"),)),
        ("fr", "^", (("alt_r", "9"),)),
        ("uk", '"', (("shift", "2"),)),
        ("uk", "@", (("shift", "apostrophe"),)),
        ("uk", "\\", (("less",),)),
        ("uk", "£", (("shift", "3"),)),
        ("es", "ñ", (("semicolon",),)),
        ("es", "¿", (("shift", "equal"),)),
        ("es", "á", (("apostrophe",), ("a",))),
        ("it", "{", (("shift", "alt_r", "bracket_left"),)),
        ("pl", "Ł", (("shift", "alt_r", "l"),)),
        ("br", "/", (("ro",),)),
    ],
)
def test_what_is_printed_on_the_keys(name: LayoutName, character: str, strokes: tuple[tuple[str, ...], ...]) -> None:
    assert load_layout(name).strokes(character) == strokes


@pytest.mark.parametrize("character", ["é", "日", "٣", "\x07", "\r", "\u00a0", ""])
def test_what_a_us_keyboard_does_not_have(character: str) -> None:
    assert load_layout("us").strokes(character) is None


def test_a_dead_key_makes_no_letters_that_its_keyboard_cannot_type() -> None:
    assert load_layout("fr").strokes("ñ") is None
    assert load_layout("de").strokes("ç") is None
    assert load_layout("de").strokes("ế") is None


def test_letters_and_accents_that_are_apart_are_one_character() -> None:
    assert load_layout("de").spell("e\u0301") == load_layout("de").spell("é")


def test_all_characters_without_a_key_are_told_with_their_places() -> None:
    with pytest.raises(UsageError) as caught:
        load_layout("us").spell("café €\nnaïve é")
    assert caught.value.message == (
        "'é' (line 1, character 4, and 1 more), '€' (line 1, character 6), 'ï' (line 2, character 3) have no key in the "
        "keyboard layout us"
    )
    assert caught.value.hint
    assert caught.value.hint.endswith("these characters are in: fr, es, pt, be, ch, dk, fi, no, se")


def test_many_characters_without_a_key_are_counted() -> None:
    with pytest.raises(UsageError, match=r"'ж' \(line 1, character 8\) and 3 others have no key"):
        load_layout("us").spell("абвгдеёжзик")


def test_control_characters_are_keys_of_their_own() -> None:
    with pytest.raises(UsageError, match=r"'\\x03' \(line 1, character 2\) has no key") as caught:
        load_layout("us").spell("a\x03")
    assert caught.value.hint
    assert "send_key: ctrl-c" in caught.value.hint


def test_characters_of_no_keyboard_are_told_another_way() -> None:
    with pytest.raises(UsageError) as caught:
        load_layout("us").spell("日本")
    assert caught.value.hint
    assert "copy_to" in caught.value.hint
