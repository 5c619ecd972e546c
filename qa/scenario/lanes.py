"""Several ways on from one state: machines are frozen together once, and each way gets forks of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from qa.scenario.machines import Frozen, OpenMachine, ScriptMachine, together
from qa.scenario.script import MachinePlan
from qa.snapshots.manifest import Kind

Forks = AbstractAsyncContextManager[Mapping[str, ScriptMachine]]
"""Machines by name, which are there inside the context."""


class Admission(Protocol):
    """Says when there is room for more machines."""

    def room(self, memory: int, cpus: int) -> AbstractAsyncContextManager[object]:
        """Wait until ``memory`` bytes and ``cpus`` processors are free; inside the context they are taken."""


class TwoAtOnce:
    """Admission where nobody knows what the host can hold: one more beside those that run anyway."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    @asynccontextmanager
    async def room(self, memory: int, cpus: int) -> AsyncIterator[None]:
        """Wait until nobody else has it."""
        async with self._free:
            yield


@dataclass(frozen=True)
class Forked:
    """A machine that went on from another one's state. ``label`` tells it from others of its name."""

    name: str
    label: str
    machine: ScriptMachine


@dataclass(frozen=True)
class Forking:
    """What one run makes forks with. ``made`` collects all of them, for the result."""

    open_machine: OpenMachine
    plans: Mapping[str, MachinePlan]
    admission: Admission = field(default_factory=TwoAtOnce)
    made: list[Forked] = field(default_factory=list)

    async def each(
        self,
        machines: Mapping[str, ScriptMachine],
        labels: Sequence[str],
        body: Callable[[int, Forks], Awaitable[None]],
        *,
        title: str,
    ) -> None:
        """Call ``body`` for each of ``labels``, with its number from 0 and with forks of ``machines`` to be entered.

        As many run at once as there is room for, and one always: the machines that the forks are made of wait meanwhile, so
        their own room serves one more set.
        """
        states = await freeze_all(machines, "snapshot", title=title)
        waiting = deque(range(len(labels)))
        queued: set[asyncio.Task[None] | None] = set()

        async def work() -> None:
            while waiting:
                number = waiting.popleft()
                await body(number, self.forks(states, labels[number]))
            for task in filter(None, queued):
                task.cancel()

        async def work_when_admitted() -> None:
            async with self.admission.room(*self._size(machines)):
                queued.discard(asyncio.current_task())
                await work()

        try:
            async with asyncio.TaskGroup() as group:
                for label in labels[1:]:
                    queued.add(group.create_task(work_when_admitted(), name=f"branch {label}"))
                await work()
        finally:
            for state in states.values():
                state.release()

    @asynccontextmanager
    async def forks(self, states: Mapping[str, Frozen], label: str = "") -> AsyncIterator[Mapping[str, ScriptMachine]]:
        """Machines that go on from ``states``, ready; gone after the block."""
        opened: dict[str, ScriptMachine] = {}
        opening = {name: self.open_machine.fork(state, name, label=label) for name, state in states.items()}
        try:
            async with together(opening, opened):
                yield opened
        finally:
            self.made.extend(Forked(name, label, machine) for name, machine in opened.items())

    def _size(self, machines: Mapping[str, ScriptMachine]) -> tuple[int, int]:
        """Bytes of memory and processors of ``machines`` together."""
        plans = [self.plans[name] for name in machines]
        memory = sum(memory_of(plan, machines[plan.name]) for plan in plans)
        return memory, sum(plan.options.cpus for plan in plans)


def memory_of(plan: MachinePlan, machine: ScriptMachine | None) -> int:
    """Bytes of a machine's memory; 0 where only its image says and the machine never came up."""
    return plan.options.memory or int(getattr(getattr(machine, "image", None), "memory", 0))


async def freeze_all(machines: Mapping[str, ScriptMachine], kind: Kind, *, key: str = "", title: str = "") -> dict[str, Frozen]:
    """The states of all ``machines``, on or off, taken together; to be released by the caller.

    Args:
        key: under which they are found again, each with its machine's name behind it.
        title: what they are, for people.

    Raises:
        QaError: one cannot be frozen; then none is.
    """
    tasks = [
        asyncio.ensure_future(machine.freeze(kind, key=key_of(key, name), title=title)) for name, machine in machines.items()
    ]
    try:
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        _release(outcomes)
        raise
    if errors := [one for one in outcomes if isinstance(one, BaseException)]:
        _release(outcomes)
        raise errors[0]
    return {name: one for name, one in zip(machines, outcomes, strict=True) if not isinstance(one, BaseException)}


def key_of(key: str, machine: str) -> str:
    """The key of one machine's state under the key of all of them."""
    return f"{key}-{machine}" if key else ""


def _release(outcomes: Sequence[Frozen | BaseException]) -> None:
    for one in outcomes:
        if not isinstance(one, BaseException):
            one.release()
