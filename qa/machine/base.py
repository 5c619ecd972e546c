"""What all parts of the vocabulary share: the machine's state, and how it reaches the guest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from qa.console import SerialConsole, Terminal
from qa.deadline import Deadline, parse_duration
from qa.errors import MachineOff, UsageError
from qa.events import Bus
from qa.guest.channel import Channel
from qa.images.image import Image
from qa.machine.setup import MachineSetup

if TYPE_CHECKING:  # whoever only checks a script does not load QEMU's monitor
    from qa.machine.power import PowerCycle

T = TypeVar("T")


def _duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.hint}") from error


Duration = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(description="A time limit: seconds, or 500ms, 10s, 2m, 1h. Multiplied under software emulation."),
]
PortNumber = Annotated[int, Field(ge=1, le=65535, description="A TCP port of the guest.")]
Command = Annotated[str, Field(min_length=1, description="A shell command; several lines are fine.")]
Pattern = Annotated[str, Field(min_length=1, description="A regular expression that must be found.")]

COMMAND_LIMIT = 60.0
"""Seconds for a command of which nothing else is said."""

WAIT_LIMIT = 60.0
"""Seconds for a wait of which nothing else is said."""


class MachineBase:
    """A machine: off, or on for one power cycle after the other, with the same disks and firmware variables.

    Attributes:
        stages: rung of the ladder to readiness to seconds since power-on, for the last boot.
        ready_s: seconds from power-on to ready, for the last boot; None where it never was.
        channel_name: how commands reach the guest.
        forwards: port of the guest to the port on 127.0.0.1 that leads there, for the last boot.
        disks: what it writes to; a machine that was frozen goes on with a new layer on each.
        ended: why it is off; empty while it is on.
    """

    def __init__(self, setup: MachineSetup, bus: Bus) -> None:
        self.setup = setup
        self.bus = bus
        self.name = setup.name
        self.stages: dict[str, float] = {}
        self.ready_s: float | None = None
        self.channel_name = ""
        self.forwards: dict[int, int] = {}
        self.disks = setup.disks
        self.ended = "never booted"
        self._console = SerialConsole(setup.console_log)
        self._terminal = Terminal(self._console)
        self._power: PowerCycle | None = None
        self._channel: Channel | None = None
        self._tried: dict[str, str] = {}

    @property
    def image(self) -> Image:
        """What it boots."""
        return self.setup.image

    @property
    def power_state(self) -> Literal["ready", "booting", "paused", "off", "dead"]:
        """How it does. ``booting``: it is on, and was not ready yet; ``dead``: the guest or QEMU failed."""
        power = self._power
        if power is None:
            return "off"
        if power.vitals.failure is not None:
            return "dead"
        if power.vitals.ended:
            return "off"
        if power.paused:
            return "paused"
        return "booting" if self.ready_s is None else "ready"

    @property
    def accel(self) -> str:
        """``kvm`` or ``tcg``."""
        return self.setup.accel

    @property
    def console_log(self) -> Path:
        """The raw serial console, from the first byte of the first boot on."""
        return self.setup.console_log

    @property
    def console_moments(self) -> tuple[tuple[float, int], ...]:
        """When, in monotonic seconds, how many bytes of it were there."""
        return self._console.clock.moments

    @property
    def qemu_log(self) -> Path:
        """QEMU's command lines and messages."""
        return self.setup.qemu_log

    def console_tail(self, lines: int = 40) -> str:
        """The console's last lines, without escape sequences."""
        return self._console.tail(lines)

    def _on(self) -> PowerCycle:
        """The running power cycle.

        Raises:
            MachineError: it is off, or failed.
        """
        if self._power is None:
            raise MachineOff(f"{self.name} is off: {self.ended}", hint="boot it first")
        self._power.vitals.check()
        return self._power

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds, self.setup.factor)

    async def _guarded(
        self, awaitable: Awaitable[T], deadline: Deadline, what: str, *, seen: Callable[[], str] | None = None
    ) -> T:
        return await self._on().vitals.guard(awaitable, deadline, what, seen=seen)

    async def _way_in(self) -> Channel:
        """The channel for commands.

        Raises:
            MachineOff: the machine is off or paused, or is not ready.
        """
        power = self._on()
        if power.paused:
            raise MachineOff(f"{self.name} is paused", hint="resume it first")
        if self.setup.channel == "none":
            hint = "leave out channel: none, or use the screen, the keyboard and the console: they need nothing in the guest"
            raise UsageError(f"{self.name} has no way in for commands and files (channel: none)", hint=hint)
        if self._channel is None:
            raise MachineOff(f"{self.name} is not ready: no channel into the guest yet", hint="wait_for_ready first")
        return self._channel
