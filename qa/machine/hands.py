"""Hands on the machine's keyboard and serial console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qa.deadline import parse_duration
from qa.errors import ChannelLost, MachineOff, UsageError
from qa.machine.looking import Looking
from qa.screen.keyboard_keys import parse_combination
from qa.screen.layouts import LayoutName, load_layout

if TYPE_CHECKING:
    from qa.machine.power import PowerCycle
    from qa.screen.text.found import Grid

SLOWEST = 5.0
"""Characters a second. A text that takes longer than it would at this rate has come to a halt somewhere."""

START_LIMIT = 60.0
"""Seconds that a text may take beside the time for its characters."""


def _seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.hint}") from error


Keys = Annotated[
    str,
    Field(min_length=1, description="ctrl-alt-f2, ret, esc, f12, a: keys held together. A character is the key that makes it."),
]
KeyboardLayout = Annotated[
    LayoutName | None, Field(description="The guest's keyboard layout; that of machine: keyboard if not given.")
]
Hold = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    Field(description="How long the keys are held down: seconds, or 500ms, 2s."),
]


class Hands(Looking):
    """Verbs that type."""

    async def send_key(
        self,
        keys: Keys,
        times: Annotated[int, Field(ge=1, le=1000, description="How often, one after the other.")] = 1,
        hold: Hold = 0.0,
        layout: KeyboardLayout = None,
    ) -> None:
        """Press a key, or several together, on the machine's keyboard. They are released again whatever happens."""
        combination = parse_combination(keys, load_layout(layout or self.setup.keyboard))
        power = self._running()
        deadline = self._deadline(START_LIMIT + times * (hold + 1 / SLOWEST))
        await self._guarded(power.keyboard.press(combination, times=times, hold=hold), deadline, f"{keys} to be pressed")

    async def send_chars(
        self,
        text: Annotated[
            str, Field(description="The text; a line feed is the Enter key; tab, backspace and escape characters are keys too.")
        ],
        layout: KeyboardLayout = None,
        verify: Annotated[
            Literal[True, False, "auto"],
            Field(
                description="true: a text console must show what is typed; false: nobody looks; "
                "auto: look where there is a text console that shows it."
            ),
        ] = "auto",
        rate: Annotated[
            float | None, Field(gt=0, description="Characters a second at most; as many as the guest takes if not given.")
        ] = None,
    ) -> str:
        """Type a text on the machine's keyboard, as fast as the guest takes it and no faster.

        On a text console what was typed is read back from the screen, and mended before the Enter key where it is wrong. A
        character that the keyboard layout does not have is an error before the first key.
        """
        from qa.screen.typing_text import Typist  # noqa: PLC0415 -- whoever only checks a script types nothing

        with_layout = load_layout(layout or self.setup.keyboard)
        try:
            with_layout.spell(text)
        except UsageError as error:
            raise UsageError(f"{error.message}; nothing was typed", hint=error.hint) from None
        power = self._running()
        flow = power.keyboard.flow
        resets = flow.resets

        def check(sent: int) -> None:
            if flow.resets != resets:
                raise ChannelLost(f"{self.name}: the guest was reset when {sent} of {len(text)} characters were typed")

        typist = Typist(power.keyboard, self._console_grid, self.setup.factor, check)
        deadline = self._deadline(START_LIMIT + len(text) / min(rate or SLOWEST, SLOWEST))
        work = typist.type(text, with_layout, verify=verify, rate=rate)
        return (await self._guarded(work, deadline, f"{len(text)} characters to be typed")).describe()

    async def send_console(self, text: Annotated[str, Field(description="The text; a line feed is the Enter key.")]) -> None:
        """Type a text into the serial console."""
        self._on()
        self._console.write(text.replace("\n", "\r").encode())

    def type_console(self, data: bytes) -> None:
        """Type keys into the serial console as a terminal sends them. Nothing happens when the machine is off."""
        self._console.write(data)

    def _running(self) -> PowerCycle:
        """The power cycle of a guest that runs.

        Raises:
            MachineOff: it is off or paused: QEMU would throw its keys away.
        """
        power = self._on()
        if power.paused:
            raise MachineOff(f"{self.name} is paused", hint="resume it first")
        return power

    async def _console_grid(self) -> Grid | None:
        """The text console that the screen shows."""
        from qa.screen.text import read_console_grid  # noqa: PLC0415 -- as above

        return read_console_grid(await self.grab())
