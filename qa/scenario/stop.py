"""Stopping runs when the user or the system asks: once, cleanly, with a report of what was done."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = {
    signal.SIGINT: "interrupted by the user (Ctrl-C)",
    signal.SIGTERM: "terminated (SIGTERM)",
    signal.SIGHUP: "the terminal was closed (SIGHUP)",
}


class Stop:
    """A wish to stop, shared by all runs of a command."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""

    def request(self, reason: str) -> None:
        """Wish it. The first reason stays."""
        self.reason = self.reason or reason
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether it was wished."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Until it is wished."""
        await self._event.wait()


@contextmanager
def stop_on_signals(stop: Stop, say: Callable[[str], None]) -> Iterator[None]:
    """While inside, a signal to end the process requests ``stop``.

    The second one changes nothing and ``say`` tells why; the third ends the process at once. A SIGHUP that was ignored when
    we were started (``nohup``) stays ignored.
    """
    loop = asyncio.get_running_loop()
    caught = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    count = 0

    def catch(number: signal.Signals) -> None:
        nonlocal count
        count += 1
        if count == 1:
            stop.request(SIGNALS[number])
            say("stopping: machines are closed and the report is written")
        elif count == 2:
            say("still cleaning up; once more ends it at once, and anima-qa gc removes what is left behind")
        else:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in caught:
        loop.add_signal_handler(number, catch, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
