"""Keyboard layouts: which keys make which characters.

A layout is a TOML file beside this module: for each key what it makes plain, with Shift, with AltGr, and with Shift and AltGr.
The keys are named as QEMU names them, after what a US keyboard has at that place. Only what is printed on such keyboards is in
them, so that Linux's console, X and other systems agree.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

from qa.errors import UsageError

Stroke = tuple[str, ...]
"""Keys that are pressed together, in this order, and released in reverse."""

LayoutName = Literal["us", "uk", "de", "fr", "es", "it", "pt", "br", "latam", "be", "ch", "dk", "fi", "no", "pl", "se"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)

_LEVELS: tuple[Stroke, ...] = ((), ("shift",), ("alt_r",), ("shift", "alt_r"))
"""What is held with a key for each of its characters, in the order of the files."""

_ACCENTS = {
    "dead_grave": "\u0300", "dead_acute": "\u0301", "dead_circumflex": "\u0302", "dead_tilde": "\u0303",
    "dead_diaeresis": "\u0308",
}  # fmt: skip
"""Dead keys, and what Unicode puts behind a letter for the same accent."""

_WITH_SPACE = {"`": "dead_grave", "^": "dead_circumflex", "~": "dead_tilde"}
"""Characters that a dead key and the space bar make; consoles and X do not agree on the other dead keys."""

_CONTROLS: Mapping[str, tuple[Stroke, ...]] = {
    "\n": (("ret",),), "\t": (("tab",),), "\b": (("backspace",),), "\x1b": (("esc",),),
}  # fmt: skip

_NAMED = 8
"""Characters without a key that a message names; the rest is counted."""


@dataclass(frozen=True)
class Layout:
    """A keyboard layout.

    Attributes:
        direct: character to the one stroke that makes it, with the fewest keys.
        dead: dead key to its stroke.
    """

    name: str
    title: str
    direct: Mapping[str, Stroke]
    dead: Mapping[str, Stroke]

    def strokes(self, character: str) -> tuple[Stroke, ...] | None:
        """The strokes that make ``character``, one after the other; None where this layout has none."""
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in self.direct:
            return (self.direct[character],)
        if (accent := _WITH_SPACE.get(character)) in self.dead:
            return (self.dead[str(accent)], self.direct[" "])
        apart = unicodedata.normalize("NFD", character)
        letter = apart[:1]
        accent = next((name for name, mark in _ACCENTS.items() if apart[1:] == mark), None)
        if accent in self.dead and letter in self.direct:
            return (self.dead[str(accent)], self.direct[letter])
        return None

    def spell(self, text: str) -> list[tuple[Stroke, ...]]:
        """The strokes of each character of ``text``; letters and accents that are apart in it are taken together.

        Raises:
            UsageError: characters have no key; all are named.
        """
        text = unicodedata.normalize("NFC", text)
        spelled = [self.strokes(character) for character in text]
        if None in spelled:
            raise self._no_keys(text)
        return [strokes for strokes in spelled if strokes is not None]

    def _no_keys(self, text: str) -> UsageError:
        places: dict[str, list[str]] = {}
        for number, line in enumerate(text.split("\n"), 1):
            for column, character in enumerate(line, 1):
                if self.strokes(character) is None:
                    places.setdefault(character, []).append(f"line {number}, character {column}")
        told = [
            f"{character!r} ({where[0]}{f', and {len(where) - 1} more' if where[1:] else ''})"
            for character, where in places.items()
        ]
        more = f" and {len(told) - _NAMED} others" if len(told) > _NAMED else ""
        has = "has" if len(told) == 1 else "have"
        message = f"{', '.join(told[:_NAMED])}{more} {has} no key in the keyboard layout {self.name}"
        return UsageError(message, hint=_hint("".join(places)))


def _hint(characters: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in characters):
        return "keys that make no character are pressed with send_key, such as send_key: ctrl-c; the Enter key is a line feed"
    able = [name for name in LAYOUTS if all(load_layout(name).strokes(character) for character in characters)]
    if not able:
        return "type what a keyboard has; other characters can be written to a file (copy_to) or pasted in the guest"
    return f"if the guest has another layout, name it (layout: {able[0]}); these characters are in: {', '.join(able)}"


@cache
def load_layout(name: LayoutName) -> Layout:
    """The layout called ``name``."""
    file = resources.files(__name__) / f"{name}.toml"
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    direct: dict[str, Stroke] = {}
    dead: dict[str, Stroke] = {}
    for level, held in enumerate(_LEVELS):
        for key, made in content["keys"].items():
            if level < len(made) and made[level]:
                (dead if made[level] in _ACCENTS else direct).setdefault(made[level], (*held, key))
    return Layout(name, content["title"], direct, dead)
