from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AbstractAsyncContextManager

import pytest

from qa.fleet.admission import Admission, Need
from qa.host.resources import Resources

GB = 1 << 30


class House:
    """A host with 4 processors and 8 GB, and requests on it by name."""

    def __init__(self, at_most: int | None = None) -> None:
        self.host = Resources(memory=8 * GB, memory_total=9 * GB, cpus=4)
        self.said: list[str] = []
        self.admission = Admission(at_most, say=self.said.append, look=lambda: self.host)
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, memory: float = 1, cpus: int = 1) -> None:
        """Ask for a run, or for a fork where the name says so, and let those run that may."""
        self.ends[name] = asyncio.Event()
        size = int(memory * GB)
        room = self.admission.room(size, cpus) if name.startswith("fork") else self.admission.run(Need(size, cpus))
        self.tasks[name] = asyncio.create_task(self._run(name, room))
        await settled()

    async def _run(self, name: str, room: AbstractAsyncContextManager[None]) -> None:
        async with room:
            self.running.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.running.remove(name)

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await settled()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_fits_runs_at_once() -> None:
    house = House()
    for name in "abcd":
        await house.ask(name)
    assert (house.running, house.said) == (["a", "b", "c", "d"], [])


@pytest.mark.parametrize(("memory", "cpus"), [(5, 1), (1, 3)])
async def test_what_does_not_fit_waits_for_memory_and_processors(memory: float, cpus: int) -> None:
    house = House()
    await house.ask("a", memory, cpus)
    await house.ask("b", memory, cpus)
    assert house.running == ["a"]
    await house.end("a")
    assert house.running == ["b"]


async def test_waiting_is_told_once() -> None:
    house = House()
    for name in "abc":
        await house.ask(name, 5)
    assert house.said == [
        "not all run at once: this host has 4 processors and 8,192 MB of memory to spare, and the others wait for their turn"
    ]


async def test_none_is_passed_over() -> None:
    house = House()
    await house.ask("a", 5)
    await house.ask("large", 7)
    await house.ask("small", 1)
    assert house.running == ["a"]
    await house.end("a")
    assert house.running == ["large", "small"]


@pytest.mark.parametrize(("memory", "cpus"), [(64, 1), (1, 16)])
async def test_what_is_larger_than_the_host_is_admitted_alone(memory: float, cpus: int) -> None:
    house = House()
    await house.ask("a")
    await house.ask("giant", memory, cpus)
    await house.ask("b")
    assert house.running == ["a"]
    await house.end("a")
    assert house.running == ["giant"]
    await house.end("giant")
    assert house.running == ["b"]


async def test_memory_that_others_took_meanwhile_is_not_given_away() -> None:
    house = House()
    await house.ask("a", 1)
    house.host = dataclasses.replace(house.host, memory=GB // 2)
    await house.ask("b", 1)
    assert house.running == ["a"]


async def test_promised_memory_counts_before_it_is_used() -> None:
    house = House()
    await house.ask("a", 6)  # the host still says 8 GB: the guest has not touched its memory
    await house.ask("b", 6)
    assert house.running == ["a"]


async def test_a_number_caps_and_is_not_told() -> None:
    house = House(2)
    for name in "abc":
        await house.ask(name)
    assert (house.running, house.said) == (["a", "b"], [])
    await house.end("a")
    assert house.running == ["b", "c"]


async def test_a_number_leaves_processors_out_of_account_but_not_memory() -> None:
    house = House(8)
    await house.ask("a", 1, 4)
    await house.ask("b", 1, 4)
    await house.ask("c", 7, 1)
    assert house.running == ["a", "b"]
    assert len(house.said) == 1


async def test_one_that_gives_up_makes_way() -> None:
    house = House()
    await house.ask("a", 5)
    await house.ask("large", 7)
    await house.ask("small", 1)
    await house.cancel("large")
    assert house.running == ["a", "small"]
    await house.end("a")
    await house.end("small")
    assert house.running == []


async def test_one_that_is_cancelled_as_it_is_admitted_leaves_nothing_taken() -> None:
    house = House(1)
    await house.ask("a")
    await house.ask("b")
    house.ends["a"].set()
    await house.tasks["a"]  # now b is admitted, and has not run yet
    house.tasks["b"].cancel()
    await house.ask("c")
    assert house.running == ["c"]


async def test_the_end_of_one_that_failed_gives_back_what_it_had() -> None:
    house = House(1)
    with pytest.raises(ZeroDivisionError):
        async with house.admission.run(Need(GB, 1)):
            raise ZeroDivisionError
    await house.ask("a")
    assert house.running == ["a"]


async def test_forks_go_before_new_runs() -> None:
    house = House()
    await house.ask("a", 1, 2)
    await house.ask("fork 1", 1, 2)
    await house.ask("b", 1, 2)
    await house.ask("fork 2", 1, 2)
    assert house.running == ["a", "fork 1"]
    await house.end("fork 1")
    assert house.running == ["a", "fork 2"]
    await house.end("fork 2")
    assert house.running == ["a", "b"]


async def test_a_number_caps_runs_and_not_their_forks_which_share_the_processors() -> None:
    house = House(1)
    await house.ask("a", 1, 2)
    for number in (1, 2, 3):
        await house.ask(f"fork {number}")
    assert house.running == ["a", "fork 1", "fork 2"]


async def test_forks_that_never_fit_are_let_go_by_their_run() -> None:
    house = House()
    await house.ask("a", 5, 1)
    await house.ask("fork 1", 5, 1)
    await house.ask("b", 1, 1)
    assert house.running == ["a"]
    await house.cancel("fork 1")
    assert house.running == ["a", "b"]
