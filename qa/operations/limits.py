"""How much the machines of one server may take, and what each of them has taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qa.errors import LimitReached
from qa.host.resources import Resources, free_space, resources
from qa.rules import DEFAULT_LEASE, DEFAULT_MACHINES, Limits
from qa.sizes import format_size
from qa.snapshots.entry import disk_size

LEAST_SPACE = 512 << 20
"""Bytes that must be free on the disk before a machine begins: what a small guest writes in its first minutes, with room."""

FORK_SHARE = 4
"""A fork shares its memory with others until it writes to it. A quarter is more than forks of idle guests were seen to take."""


@dataclass(frozen=True)
class Taken:
    """What one machine takes: bytes of memory, as promised to its guest."""

    name: str
    memory: int


@dataclass
class Quota:
    """Shares out what ``limits`` allow. What does not fit is refused at once: whoever asks can make room, or ask for less.

    Attributes:
        folder: that of the machines' files.
        besides: what they take in other places: folders, and bytes.
    """

    limits: Limits
    folder: Callable[[], Path]
    besides: Callable[[], tuple[tuple[Path, ...], int]] = lambda: ((), 0)
    look: Callable[[], Resources] = resources
    space: Callable[[Path], int] = free_space
    taken: list[Taken] = field(default_factory=list)

    @classmethod
    def for_agents(
        cls, limits: Limits, folder: Callable[[], Path], besides: Callable[[], tuple[tuple[Path, ...], int]] = lambda: ((), 0)
    ) -> Quota:
        """With the defaults for agents where the owner of the host has said nothing."""
        given = {name: value for name, value in limits.model_dump().items() if value is not None}
        return cls(Limits.model_validate({"machines": DEFAULT_MACHINES, "lease": DEFAULT_LEASE} | given), folder, besides)

    def check_count(self, more: int = 1) -> None:
        """See whether ``more`` machines may begin.

        Raises:
            LimitReached: they are too many.
        """
        most = self.limits.machines
        if most is not None and len(self.taken) + more > most:
            raise LimitReached(
                f"{_count(len(self.taken))} here already, and {most} are allowed at once", hint=self._hint("machines")
            )

    @contextmanager
    def machine(self, name: str, memory: int, *, fork: bool = False) -> Iterator[None]:
        """Have room for a machine until the block ends.

        Raises:
            LimitReached: there is none.
        """
        self.check_count()
        self._check_memory(name, memory, fork)
        self._check_space(name)
        one = Taken(name, memory)
        self.taken.append(one)
        try:
            yield
        finally:
            self.taken.remove(one)

    def _check_memory(self, name: str, memory: int, fork: bool) -> None:
        promised = sum(one.memory for one in self.taken)
        most = self.limits.memory
        if most is not None and promised + memory > most:
            message = (
                f"{name} is to have {format_size(memory)} of memory; {format_size(promised)} of {format_size(most)} are promised"
            )
            raise LimitReached(message, hint=self._hint("memory"))
        available = self.look().memory
        if memory // (FORK_SHARE if fork else 1) > available:
            message = f"{name} is to have {format_size(memory)} of memory, and this host has {format_size(available)} to spare"
            raise LimitReached(message, hint="ask for less with memory, or destroy a machine")

    def _check_space(self, name: str) -> None:
        if self.limits.disk is not None and (used := self.used()) >= self.limits.disk:
            message = f"{name} cannot begin: machines take {format_size(used)} of the {format_size(self.limits.disk)} allowed"
            raise LimitReached(message, hint=self._hint("disk"))
        if (free := self.space(self.folder())) < LEAST_SPACE:
            message = f"{name} cannot begin: {format_size(free)} are free on the disk of {self.folder()}"
            raise LimitReached(message, hint="anima-qa gc, image prune and template prune free space")

    def used(self) -> int:
        """Bytes that the machines' files take on the disk, with what they have left and what they can go back to."""
        return self._used(*self.besides())

    def _used(self, folders: tuple[Path, ...], more: int) -> int:
        return more + sum(disk_size(folder) for folder in (self.folder(), *folders))

    async def over(self) -> str:
        """What is wrong when machines take more of the disk than is allowed; empty when they do not."""
        if self.limits.disk is None:
            return ""
        used = await asyncio.to_thread(self._used, *self.besides())
        if used <= self.limits.disk:
            return ""
        return f"the machines' files take {format_size(used)}, and {format_size(self.limits.disk)} are allowed"

    def _hint(self, limit: str) -> str:
        names = ", ".join(one.name for one in self.taken)
        mine = f"destroy one that is not needed any more ({names})" if names else "ask for less"
        return f"{mine}; the owner of this host can change {limit} under [limits] in config.toml"


def _count(number: int) -> str:
    return f"{number} machine{' is' if number == 1 else 's are'}"
