"""Progress of long work on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from qa.errors import Interrupted
from qa.events import Bus, Event, Notice, Progress

T = TypeVar("T")

LINE_EVERY_S = 10.0
"""Seconds between two lines about one task where there is no terminal: enough to see that it lives."""


@contextlib.contextmanager
def shown() -> Iterator[Bus]:
    """A bus whose notices and progress a person sees."""
    bus = Bus()
    if not sys.stderr.isatty():
        bus.subscribe(_Lines())
        yield bus
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True, highlight=False)
    steps = Bars(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f}"), console=console
    )
    sizes = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    listener = _Bars(console.print, steps, sizes)
    bus.subscribe(listener)
    try:
        yield bus
    finally:
        listener.stop()


class _Lines:
    """For pipes and logs of CI systems."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            sys.stderr.write(("warning: " if event.level == "warning" else "") + event.message + "\n")
        elif isinstance(event, Progress) and event.unit == "bytes" and self._due(event):
            of = f" of {event.total / 1e6:.0f}" if event.total else ""
            sys.stderr.write(f"{event.task}: {event.done / 1e6:.0f}{of} MB\n")

    def _due(self, event: Progress) -> bool:
        now = time.monotonic()
        if event.done == event.total or now - self._last.setdefault(event.task, now) >= LINE_EVERY_S:
            self._last[event.task] = now
            return True
        return False


class _Bars:
    """For terminals. One display at a time: rich allows no two."""

    def __init__(self, write: Callable[[str], None], steps: object, sizes: object) -> None:
        from rich.progress import Progress as Display

        assert isinstance(steps, Display)
        assert isinstance(sizes, Display)
        self._write = write
        self._displays = {"bytes": sizes}
        self._steps = steps
        self._tasks: dict[str, object] = {}
        self._running: Display | None = None

    def __call__(self, event: Event) -> None:
        from rich.markup import escape

        if isinstance(event, Notice):
            self._write(escape(event.message) if event.level == "info" else f"[yellow]warning:[/] {escape(event.message)}")
        elif isinstance(event, Progress):
            self._advance(event)

    def _advance(self, event: Progress) -> None:
        from rich.progress import TaskID

        display = self._displays.get(event.unit, self._steps)
        if display is not self._running:
            self.stop()
            display.start()
            self._running = display
        task = self._tasks.get(event.task)
        if task is None:
            task = self._tasks[event.task] = display.add_task(event.task, total=event.total)
        display.update(TaskID(int(str(task))), completed=event.done, total=event.total)
        if event.done == event.total:
            display.refresh()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._running is not None:
            self._running.stop()
            self._running = None


def run_until_done(work: Callable[[Bus], Awaitable[T]]) -> T:
    """Run ``work`` with its progress shown. A signal to end cancels it, so that it cleans up.

    Raises:
        Interrupted: SIGINT or SIGTERM came.
    """

    async def main(bus: Bus) -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work(bus)

    with shown() as bus:
        try:
            return asyncio.run(main(bus))
        except asyncio.CancelledError:
            raise Interrupted("interrupted") from None
