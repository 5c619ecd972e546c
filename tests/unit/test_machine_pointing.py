"""Where hands go when the screen changes its size under them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from test_machine_seeing import Screen, picture, put

from qa.errors import CheckFailed, UsageError
from qa.machine.place import Place
from qa.machine.pointing import Pointing
from qa.screen.mouse import Spot


class Pointed(Screen, Pointing):
    """A machine of which only the screen is there, and which notes what would be done with its mouse."""

    def __init__(self, folder: Path, *pictures: Any) -> None:
        super().__init__(folder, *pictures)
        self.__dict__["name"] = "machine"
        self.setup = cast("Any", SimpleNamespace(name="machine", keyboard="us", text_language="eng"))
        self.did: list[tuple[str, Any]] = []

    def _running(self) -> Any:
        return None

    async def _gesture(self, held: Any, gesture: Any, *, notches: int = 0) -> None:
        self.held, self.notches = held, notches

        async def note(*arguments: Any, **_: Any) -> None:
            self.did.append(arguments)

        await gesture(SimpleNamespace(click=note, drag=note, scroll=note, move=note))


def larger(pixels: Any) -> Any:
    """The same in the middle of a larger screen, whose size has changed."""
    return np.pad(pixels, ((50, 50), (80, 80), (0, 0)))


async def test_what_was_found_is_looked_for_again_when_the_screen_has_another_size_then(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    screen = Pointed(tmp_path, picture(1), larger(picture(1)))
    sight = await screen.click("menu")
    assert [spot for spot, *_ in screen.did] == [Spot(120, 70, 320, 200)]
    assert (sight.frame.width, sight.wanted) == (320, "needle menu at 120,70")


async def test_both_ends_of_a_drag_are_on_a_screen_of_one_size(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    screen = Pointed(tmp_path, picture(1), larger(picture(1)))
    await screen.drag(Place(needle="menu"), Place(at=(300, 190)))
    assert [(start, end) for start, end, *_ in screen.did] == [(Spot(120, 70, 320, 200), Spot(300, 190, 320, 200))]


async def test_a_pixel_that_is_not_on_the_screen_any_more_is_not_clicked(tmp_path: Path) -> None:
    screen = Pointed(tmp_path, larger(picture(1)), picture(1))
    with pytest.raises(UsageError, match="300,190 is outside of the screen, which has 160x100 pixels"):
        await screen.click(at=(300, 190))
    assert screen.did == []


async def test_a_screen_that_does_not_keep_its_size_is_not_touched(tmp_path: Path) -> None:
    screen = Pointed(tmp_path, *[picture(1), larger(picture(1))] * 20)
    with pytest.raises(CheckFailed, match="the screen changed its size while it was pointed at: 160x100, then 320x200") as told:
        await screen.scroll("down", 3)
    assert "wait_for_still_screen" in str(told.value.hint)
    assert (screen.did, screen.looks) == ([], 6)


async def test_a_screen_that_keeps_its_size_is_looked_at_once_more_and_no_oftener(tmp_path: Path) -> None:
    screen = Pointed(tmp_path, picture(1))
    await screen.move_mouse(at=(5, 6))
    assert [spot for (spot,) in screen.did] == [Spot(5, 6, 160, 100)]
    assert screen.looks == 2


@pytest.mark.parametrize(
    ("direction", "holding", "turn", "held"),
    [("up", None, "up", ()), ("left", None, "up", ("shift",)), ("right", "ctrl", "down", ("shift", "ctrl"))],
)
async def test_sideways_is_the_wheel_with_shift(tmp_path: Path, direction: Any, holding: Any, turn: str, held: Any) -> None:
    screen = Pointed(tmp_path, picture(1))
    await screen.scroll(direction, 2, holding=holding)
    assert screen.did == [(Spot(80, 50, 160, 100), turn, 2)]
    assert (screen.held, screen.notches) == (held, 2)
