"""Hands on the machine's keyboard, mouse and serial console."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qa.machine.base import MachineBase
from qa.screen.keyboard import parse_combination


class Hands(MachineBase):
    """Verbs that type."""

    async def send_key(
        self, keys: Annotated[str, Field(min_length=1, description="ctrl-alt-f2, ret, esc, f12, a: keys held together.")]
    ) -> None:
        """Press a key, or several together, on the machine's keyboard."""
        combination = parse_combination(keys)
        await self._on().keyboard.press(combination)

    async def send_chars(self, text: Annotated[str, Field(description="The text; a line feed is the Enter key.")]) -> None:
        """Type a text on the machine's keyboard, in the US layout. A character without a key is an error before the first key."""
        await self._on().keyboard.type(text)

    async def send_console(self, text: Annotated[str, Field(description="The text; a line feed is the Enter key.")]) -> None:
        """Type a text into the serial console."""
        self._on()
        self._console.write(text.replace("\n", "\r").encode())

    def type_console(self, data: bytes) -> None:
        """Type keys into the serial console as a terminal sends them. Nothing happens when the machine is off."""
        self._console.write(data)
