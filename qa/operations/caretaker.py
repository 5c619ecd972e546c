"""Takes care of machines that nobody looks after: their leases, and what they write to the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from qa.errors import QaError
from qa.operations.limits import Quota
from qa.operations.roll import Roll
from qa.operations.vm import Vm

ROUND_S = 5.0
"""Seconds between two looks at the disk. Leases are looked at when they end."""


@dataclass
class Caretaker:
    """Ends machines whose time is over, and pauses those that fill the disk. ``end`` destroys a machine for a reason."""

    roll: Roll
    quota: Quota
    end: Callable[[Vm, str], Awaitable[None]]
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """There is a new machine to be taken care of."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._take_care(), name="caretaker of machines")
        self._changed.set()

    def stop(self) -> None:
        """Take care of nothing any more."""
        if self._task:
            self._task.cancel()

    async def _take_care(self) -> None:
        while self.roll.of():
            self._changed.clear()  # first: what changes while we look is looked at again
            over = [(vm, why) for vm in self.roll.of() if (why := vm.expired())]
            for vm, why in over:
                self.roll.note(vm.client, f"{vm.name} was destroyed: {why}")
            await asyncio.gather(*(self.end(vm, why) for vm, why in over))
            with contextlib.suppress(OSError):
                if too_much := await self.quota.over():
                    await self._pause_all(too_much)
            ends = [end for vm in self.roll.of() if (end := vm.lease_ends_s) is not None]
            looks = [ROUND_S] if self.quota.limits.disk is not None else []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min([*ends, *looks], default=None)):
                    await self._changed.wait()

    async def _pause_all(self, why: str) -> None:
        """All that run: who is at fault cannot be told, and a machine that stands still loses nothing."""
        for vm in self.roll.of():
            if vm.state == "ready":
                with contextlib.suppress(QaError):
                    await vm.machine.pause()
                    vm.note = f"paused, because {why}"
                    self.roll.note(vm.client, f"{vm.name} is paused: {why}; destroy what is not needed, then resume it")
