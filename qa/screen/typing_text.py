"""Typing whole texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from qa.errors import CheckFailed
from qa.screen.keyboard import Keyboard
from qa.screen.layouts import Layout
from qa.screen.typing_pace import SCREEN_RATE, Pace
from qa.screen.typing_proof import ECHO_LIMIT, Look, Proof

Verify = Literal[True, False, "auto"]

BLIND_RATE = 100.0
"""Characters a second for a text console that does not show what is typed. Kernels keep thousands; firmware keeps 256."""

_RUNS = re.compile(r"[^\n\t\b\x1b]+|[\n\t\b\x1b]+")
"""A text in pieces: characters that a console shows as they are, and keys with which it does something."""


@dataclass(frozen=True)
class Typed:
    """What became of a text: its characters, how many of them the screen showed, and how many corrections it took."""

    characters: int
    seen: int
    mended: int

    def describe(self) -> str:
        """In words, for reports."""
        words = [f"{self.characters} character{'' if self.characters == 1 else 's'}"]
        if self.seen:
            words.append(f"{self.seen} of them seen on the screen")
        if self.mended:
            words.append(f"corrected {self.mended} time{'' if self.mended == 1 else 's'}")
        return ", ".join(words)


@dataclass(frozen=True)
class Typist:
    """Types on one keyboard.

    Attributes:
        look: reads the text console that the screen shows; None where it shows none.
        factor: multiplies limits under software emulation.
        check: raises what makes going on senseless; told how many characters were sent.
    """

    keyboard: Keyboard
    look: Look
    factor: float = 1.0
    check: Callable[[int], None] = lambda _: None

    async def type(self, text: str, layout: Layout, *, verify: Verify = "auto", rate: float | None = None) -> Typed:
        """Type ``text``; nobody else types meanwhile.

        Args:
            verify: the screen must show what was typed. ``auto`` sees to it where the screen is a text console that does.
            rate: characters a second at most.

        Raises:
            UsageError: characters have no key; nothing was typed then.
            CheckFailed: ``verify`` is true, and the screen does not show it.
            DeadlineExceeded: the guest takes no keys.
            QemuExited: QEMU is gone.
        """
        spelled = layout.spell(text)
        text = unicodedata.normalize("NFC", text)
        async with self.keyboard.turn:
            on_console = verify is not False and await self.look() is not None
            if verify is True and not on_console:
                hint = "leave verify out, and check what came of the text"
                raise CheckFailed("the screen shows no text console where typing could be seen; nothing was typed", hint=hint)
            pace = Pace(self.keyboard, rate or (None if on_console else SCREEN_RATE), lambda: self.check(pace.sent))
            required = verify is True
            patience = ECHO_LIMIT * (self.factor if required else 1.0)
            proof = Proof(pace, self.look, layout.spell("\b")[0], required, patience)
            for start, end, plain in _pieces(text):
                if plain and on_console and not proof.given_up:
                    await proof.type(text[start:end], spelled[start:end])
                else:
                    if on_console and proof.given_up and rate is None:
                        pace.rate = min(pace.rate or BLIND_RATE, BLIND_RATE)
                    await pace.send(spelled[start:end])
        return Typed(len(text), proof.seen, proof.mended)


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each piece, and whether a console shows it as it is: behind a Tab or Esc it may be anything."""
    plain = True
    for run in _RUNS.finditer(text):
        acts = run[0][0] in "\n\t\b\x1b"
        if acts:
            plain = run[0].endswith("\n")
        yield run.start(), run.end(), plain and not acts
