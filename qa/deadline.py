"""Deadlines and durations: every wait ends, and says what it waited for.

A guest under software emulation (TCG) is several times slower than on hardware, so limits on what a guest does are multiplied
by a factor there, and messages say so. The factor is documented, and ``ANIMA_QA_TCG_FACTOR`` changes it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from qa.errors import DeadlineExceeded, UsageError

T = TypeVar("T")

DEFAULT_TCG_FACTOR = 5.0
"""Chosen with room to spare, not measured: a Debian guest takes 37 s from power-on to SSH under TCG on two cores, where
people know 5 to 10 s from KVM."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)")


def parse_duration(value: str | float) -> float:
    """Seconds from ``90``, ``"90s"``, ``"1m30s"``, ``"500ms"`` or ``"1.5h"``.

    Raises:
        UsageError: the text is not a duration, or it is negative.
    """
    problem = UsageError(f"{value!r} is not a duration", hint="write 90, 90s, 1m30s, 500ms or 1.5h")
    if isinstance(value, bool):
        raise problem
    if isinstance(value, int | float):
        if not 0 <= value < float("inf"):
            raise problem
        return float(value)
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text).strip():
        raise problem
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """A duration as people write it: ``340 ms``, ``7.1 s``, ``2 min 05 s``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


@dataclass(frozen=True)
class Deadline:
    """A point in monotonic time, and where it came from."""

    expires: float
    limit_s: float
    factor: float = 1.0

    @classmethod
    def after(cls, seconds: float, factor: float = 1.0) -> Deadline:
        """The deadline ``seconds * factor`` from now."""
        return cls(time.monotonic() + seconds * factor, seconds, factor)

    @property
    def remaining(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.expires - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.expires

    def describe(self) -> str:
        """The limit in words, with the factor where one was applied."""
        if self.factor == 1.0:
            return format_duration(self.limit_s)
        limit, total = format_duration(self.limit_s), format_duration(self.limit_s * self.factor)
        return f"{total} ({limit} x {self.factor:g} under software emulation)"

    def exceeded(self, waited_for: str, seen: str = "") -> DeadlineExceeded:
        """The error for a wait that ended here. ``seen`` is what was observed last."""
        message = f"{waited_for} did not happen within {self.describe()}"
        return DeadlineExceeded(message, evidence={"seen last": seen} if seen else None)

    async def wait_for(self, awaitable: Awaitable[T], what: str) -> T:
        """Await ``awaitable``, cancelling it at the deadline.

        Raises:
            DeadlineExceeded: it was not done in time; ``what`` names it in the message.
        """
        timeout = asyncio.timeout(self.remaining)
        try:
            async with timeout:
                return await awaitable
        except TimeoutError:
            if timeout.expired():
                raise self.exceeded(what) from None
            raise
