"""Side by side: subjects take turns, so that whatever disturbs the machine disturbs them alike; medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass

Subject = Callable[[], Awaitable[object]]
"""What is measured. If it gives a function, that is called afterwards and not measured: it ends or removes what is left."""


@dataclass(frozen=True)
class Row:
    """A line of the table. ``ratio`` is against the first row of its group, which is what the others are compared with."""

    group: str
    subject: str
    value: float
    unit: str
    ratio: float | None = None
    note: str = ""

    def as_record(self) -> dict[str, object]:
        return asdict(self)


async def take_turns(group: str, subjects: Mapping[str, Subject], rounds: int) -> list[Row]:
    """Run each subject once in each round, and compare medians with that of the first one. Milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():  # the first call of each pays for what is set up lazily
        await _clear(await subject())
    for _ in range(rounds):
        for name, subject in subjects.items():
            started = time.perf_counter()
            left = await subject()
            times[name].append((time.perf_counter() - started) * 1000)
            await _clear(left)
    return rows_of(group, times)


def rows_of(group: str, times: Mapping[str, list[float]]) -> list[Row]:
    """The medians of what was measured, compared with that of the first subject. Milliseconds."""
    base = statistics.median(next(iter(times.values())))
    return [
        Row(group, name, statistics.median(taken), "ms", statistics.median(taken) / base, _spread(taken))
        for name, taken in times.items()
    ]


async def _clear(left: object) -> None:
    if callable(left):
        await left()


def _spread(taken: list[float]) -> str:
    ordered = sorted(taken)
    return f"{ordered[len(ordered) // 10]:.1f} to {ordered[-1 - len(ordered) // 10]:.1f}"
