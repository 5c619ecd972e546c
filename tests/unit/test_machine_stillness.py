"""Waiting until the screen is still, and the looks at it for the film."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from painted import Rectangle, painted

import qa.machine.filming
import qa.machine.stillness
from qa.console import SerialConsole
from qa.deadline import Deadline
from qa.errors import DeadlineExceeded, QemuExited, UsageError
from qa.guest.vitals import Vitals
from qa.machine.filming import Filming
from qa.machine.stillness import Stillness
from qa.operations.catalogue import CATALOGUE
from qa.screen.film import Film
from qa.screen.frames import Frame
from qa.screen.sight import Mark, Sight

CLOCK: Rectangle = (240, 0, 60, 20)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qa.machine.stillness, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(qa.machine.filming, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(qa.machine.filming, "LONGEST_PAUSE", 0.0)


class Screen(Stillness):
    """A machine of which only the screen is there; each look is half a second after the one before."""

    name = "vm"

    def __init__(self, tmp_path: Path, *pictures: tuple[Rectangle, ...], endless: bool = False) -> None:
        self.pictures, self.endless, self.looks = pictures, endless, 0
        self.vitals = Vitals("vm", SerialConsole(tmp_path / "console.log"))

    async def grab(self) -> Frame:
        number = self.looks % len(self.pictures) if self.endless else min(self.looks, len(self.pictures) - 1)
        self.looks += 1
        return painted(*self.pictures[number], taken=0.5 * self.looks)

    def _on(self) -> Any:
        return SimpleNamespace(vitals=self.vitals)

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds)


async def ask(screen: Screen, value: Any = None, **more: Any) -> Sight:
    operation = CATALOGUE["wait_for_still_screen"]
    arguments = operation.parse(operation.as_mapping(value) | more)
    sight = await operation(screen, arguments)
    assert isinstance(sight, Sight)
    return sight


async def test_it_ends_when_nothing_has_changed_for_so_long(tmp_path: Path) -> None:
    screen = Screen(tmp_path, (), (CLOCK,), ((0, 100, 50, 50),))
    sight = await ask(screen, "1500ms")
    assert screen.looks == 6
    assert sight.wanted == "still for 1.5 s"
    assert sight.frame.digest == painted((0, 100, 50, 50)).digest


async def test_a_black_screen_is_still_and_said_to_be_black(tmp_path: Path) -> None:
    assert (await ask(Screen(tmp_path, ()), "1s")).wanted == "still for 1.0 s, all black"


async def test_what_moves_is_told_with_its_place_and_drawn(tmp_path: Path) -> None:
    screen = Screen(tmp_path, (), (CLOCK,), endless=True)
    with pytest.raises(
        DeadlineExceeded, match=r"vm: a screen that is still for 1\.0 s did not happen within .*: 64x32 at 240,0 changed"
    ) as told:
        await ask(screen, still=1.0, timeout=1.1)
    sight = told.value.result  # type: ignore[attr-defined]
    assert [(mark.x, mark.y, mark.width, mark.height) for mark in sight.marks] == [(240, 0, 64, 32)]
    assert isinstance(sight.marks[0], Mark)
    assert "ignore" in str(told.value.hint)


@pytest.mark.parametrize(
    "ignored", [[[240, 0, 60, 20]], [{"x": 200, "y": 0, "width": 120, "height": 30}]], ids=["list", "mapping"]
)
async def test_what_is_ignored_may_move(tmp_path: Path, ignored: Any) -> None:
    assert await ask(Screen(tmp_path, (), (CLOCK,), endless=True), ignore=ignored)


async def test_so_many_pixels_may_change(tmp_path: Path) -> None:
    screen = Screen(tmp_path, (), (CLOCK,), endless=True)
    assert await ask(screen, changes=60 * 20)
    with pytest.raises(DeadlineExceeded):
        await ask(screen, changes=60 * 20 - 1, still=0.5, timeout=0.6)


async def test_ignoring_everything_or_waiting_too_shortly_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cover the whole screen"):
        await ask(Screen(tmp_path, ()), ignore=[[0, 0, 4000, 4000]])
    with pytest.raises(UsageError, match="no screen is still for 2 min 00 s within 1 min 00 s"):
        await ask(Screen(tmp_path, ()), "2m")


@pytest.mark.parametrize("ignored", [[[1, 2, 3]], [[0, 0, 0, 5]], [[-1, 0, 5, 5]], [{"x": 1}], ["top"], [[1, 2, 3, "a"]]])
def test_what_is_no_area_is_refused(ignored: Any) -> None:
    with pytest.raises(ValueError, match="ignore"):
        CATALOGUE["wait_for_still_screen"].parse({"ignore": ignored})


class Filmed(Filming):
    """A machine that is on; each look shows a bar that is longer, or raises what it is told to."""

    def __init__(self, film: Film) -> None:
        self._power = cast("Any", object())
        self.looks = 0
        self.looked = asyncio.Condition()
        self.error: BaseException | None = None
        self.hangs = self.is_busy = False
        self._filming = asyncio.create_task(self._film(film))
        self.film = film

    @property
    def _busy(self) -> bool:
        return self.is_busy

    async def grab(self) -> Frame:
        self.looks += 1
        async with self.looked:
            self.looked.notify_all()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        frame = painted((0, 40, 20 * (self.looks % 15 + 1), 8), taken=100.0 * self.looks)
        self.film.see(frame)
        return frame

    async def after(self, looks: int) -> None:
        async with self.looked:
            await self.looked.wait_for(lambda: self.looks >= looks)


async def test_the_screen_is_looked_at_while_nobody_asks_and_once_more_at_the_end(tmp_path: Path) -> None:
    machine = Filmed(Film(tmp_path / "film"))
    await machine.after(3)
    before = machine.looks
    await machine._stop_filming()
    looks = machine.looks
    assert looks == before + 1
    await machine.film.develop(last=True)
    assert machine.film.shots[-1].at == 100.0 * looks
    await machine._stop_filming()
    assert machine.looks == looks


async def test_a_machine_that_fails_or_is_off_does_not_end_the_looks(tmp_path: Path) -> None:
    machine = Filmed(Film(tmp_path / "film"))
    machine.error = QemuExited("QEMU is gone")
    await machine.after(3)
    machine.error, machine._power = None, None
    for _ in range(20):
        await asyncio.sleep(0)
    looks = machine.looks
    machine._power = cast("Any", object())
    await machine.after(looks + 2)
    await machine._stop_filming()
    assert machine.film.seen >= 2


async def test_nobody_looks_while_the_machine_is_frozen(tmp_path: Path) -> None:
    machine = Filmed(Film(tmp_path / "film"))
    machine.is_busy = True
    for _ in range(20):
        await asyncio.sleep(0)
    assert machine.looks == 0
    machine.is_busy = False
    await machine.after(1)
    await machine._stop_filming()


async def test_a_qemu_that_hangs_does_not_hang_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qa.machine.filming, "LAST_LOOK", 0.01)
    machine = Filmed(Film(tmp_path / "film"))
    machine.hangs = True
    await machine.after(1)
    async with asyncio.timeout(20):
        await machine._stop_filming()
