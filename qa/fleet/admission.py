"""Who may start machines now: what this host has is shared out, first come, first served.

A request that does not fit waits, and those behind it wait with it, so that none is passed over for ever. A run that is larger
than the whole host is admitted alone. What a run asks for when it goes on (forks for its branches) comes before new runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from qa.host.resources import Resources, resources


@dataclass(frozen=True)
class Need:
    """What machines take: bytes of memory, and processors."""

    memory: int
    cpus: int


@dataclass(eq=False)
class _Request:
    """Somebody who waits, or was admitted."""

    need: Need
    is_run: bool
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """Shares out this host. One object for everything that a command starts.

    Args:
        at_most: how many runs at once; None: as many as this host has memory and processors for. With a number the processors
            are the user's to judge: what is short of them is slow, while what is short of memory dies.
        say: told once, when something has to wait because the host is full.
        look: what this host has.
    """

    def __init__(
        self,
        at_most: int | None = None,
        *,
        say: Callable[[str], None] = lambda message: None,
        look: Callable[[], Resources] = resources,
    ) -> None:
        self._at_most = at_most
        self._say = say
        self._look = look
        self._admitted: list[_Request] = []
        self._forks: list[_Request] = []
        self._runs: list[_Request] = []
        self._memory = 0
        self._told = False

    @asynccontextmanager
    async def run(self, need: Need) -> AsyncGenerator[None]:
        """Wait until a run may begin whose machines take ``need``; it is taken until the block ends."""
        async with self._taken(_Request(need, is_run=True), self._runs):
            yield

    @asynccontextmanager
    async def room(self, memory: int, cpus: int) -> AsyncGenerator[None]:
        """Wait until there is room for more machines of a run; it is taken until the block ends.

        A run must be able to go on without: it may be larger than what this host will ever have beside the run itself.
        """
        async with self._taken(_Request(Need(memory, cpus), is_run=False), self._forks):
            yield

    @asynccontextmanager
    async def _taken(self, request: _Request, queue: list[_Request]) -> AsyncGenerator[None]:
        queue.append(request)
        try:
            self._serve()
            await request.turn
            yield
        finally:
            for place in (queue, self._admitted):
                if request in place:
                    place.remove(request)
            self._serve()

    def _serve(self) -> None:
        """Admit all whose turn it is."""
        for queue in (self._forks, self._runs):
            while queue and self._has_room(queue[0]):
                request = queue.pop(0)
                if not request.turn.done():  # else it was cancelled, and is on its way out
                    self._admit(request)
            if queue:
                return

    def _admit(self, request: _Request) -> None:
        if not self._admitted:
            self._memory = self._look().memory
        self._admitted.append(request)
        request.turn.set_result(None)

    def _has_room(self, request: _Request) -> bool:
        """Whether it may begin. A guest takes its memory little by little: what is promised counts, not what is used."""
        if not self._admitted:
            return True
        if request.is_run and self._at_most is not None and sum(one.is_run for one in self._admitted) >= self._at_most:
            return False
        host = self._look()
        room = min(self._memory - sum(one.need.memory for one in self._admitted), host.memory)
        idle = host.cpus - sum(one.need.cpus for one in self._admitted)
        fits = request.need.memory <= room and (request.need.cpus <= idle or (request.is_run and self._at_most is not None))
        if not fits and not self._told:
            self._told = True
            self._say(
                f"not all run at once: this host has {host.cpus} processor{'' if host.cpus == 1 else 's'} and "
                f"{self._memory >> 20:,} MB of memory to spare, and the others wait for their turn"
            )
        return fits
