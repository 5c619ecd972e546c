"""When which part of a console was printed, for whoever wants to see it as it was at a moment."""

from __future__ import annotations

MOST = 2000
"""Moments that are kept, of however long a run."""

FINEST = 0.05
"""Seconds: nobody sees two moments that are closer as different ones."""


class ConsoleClock:
    """Pairs of a time and of how many bytes were in the log by then. The last one is always exact.

    When there are too many, every second one goes, and from then on they are twice as far apart.
    """

    def __init__(self) -> None:
        self._moments: list[tuple[float, int]] = []
        self._apart = FINEST

    @property
    def moments(self) -> tuple[tuple[float, int], ...]:
        """In the order of time."""
        return tuple(self._moments)

    def note(self, at: float, size: int) -> None:
        """At the time ``at`` the log has ``size`` bytes."""
        if len(self._moments) > 1 and at - self._moments[-2][0] < self._apart:
            self._moments.pop()
        self._moments.append((at, size))
        if len(self._moments) > MOST:
            self._moments = [*self._moments[:-1:2], self._moments[-1]]
            self._apart *= 2
