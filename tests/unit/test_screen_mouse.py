"""The mouse: where it goes, what it presses, and that nothing stays pressed."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from pydantic import ValidationError

from qa.errors import DeadlineExceeded, QemuFailed, UsageError
from qa.machine.place import click_point
from qa.operations.catalogue import CATALOGUE
from qa.qemu.input import position_events
from qa.qemu.monitor import Monitor
from qa.screen.mouse import Mouse, Spot
from qa.screen.sight import Candidate

SIZE = (800, 600)


@pytest.fixture(autouse=True)
def quick() -> object:
    with mock.patch("qa.screen.mouse.BEAT", 0.0), mock.patch("qa.screen.mouse.DOUBLE_BEAT", 0.0):
        yield


class PlayedPointer:
    """A monitor that notes what the pointer does: places in pixels, and buttons; a command at a time."""

    def __init__(self, *, read: bool = True, refuse: str = "") -> None:
        self.did: list[str] = []
        self.read = read
        self._refuse = refuse

    async def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        if command == "query-mice":
            return [{"current": not self.read, "absolute": False}, {"current": self.read, "absolute": True}]
        assert command == "input-send-event"
        assert arguments
        events = arguments["events"]
        if events[0]["type"] == "abs":
            x, y = (event["data"]["value"] * size // 0x8000 for event, size in zip(events, SIZE, strict=True))
            self.did.append(f"{x},{y}")
        else:
            (event,) = events
            self.did.append(("+" if event["data"]["down"] else "-") + event["data"]["button"])
        await asyncio.sleep(0)
        if self._refuse and self.did[-1] == self._refuse:
            raise QemuFailed("QEMU refused input-send-event")
        return None


def pointer(**how: Any) -> tuple[PlayedPointer, Mouse]:
    played = PlayedPointer(**how)

    async def answered() -> bool:
        played.did.append("?")
        return True

    return played, Mouse(cast("Monitor", played), 1.0, answered)


def spot(x: int, y: int) -> Spot:
    return Spot(x, y, *SIZE)


@pytest.mark.parametrize("size", [1, 2, 3, 640, 800, 1023, 1024, 1366, 3840, 7680])
def test_a_pixel_is_hit_however_the_guest_rounds(size: int) -> None:
    for pixel in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        value = position_events(pixel, 0, size, 1)[0]["data"]["value"]
        assert 0 <= value <= 0x7FFF
        assert value * size // 0x8000 == pixel  # libinput, evdev
        assert value * 65535 // 0x7FFF * size // 65536 == pixel  # X, through a scale of 65536
        assert value * size // 0x7FFF == pixel  # QEMU's own


async def test_a_click_presses_and_goes_aside() -> None:
    played, mouse = pointer()
    await mouse.click(spot(10, 20))
    assert played.did == ["10,20", "+left", "-left", "?", "798,598"]


async def test_a_click_may_stay_be_double_and_with_another_button() -> None:
    played, mouse = pointer()
    await mouse.click(spot(10, 20), "right", times=2, stay=True)
    assert played.did == ["10,20", "+right", "-right", "+right", "-right", "?"]


async def test_a_drag_moves_slowly_at_first_and_over_places_between() -> None:
    played, mouse = pointer()
    await mouse.drag(spot(100, 100), spot(300, 200))
    assert played.did[:3] == ["100,100", "+left", "?"]
    assert played.did[-4:] == ["300,200", "-left", "?", "798,598"]
    way = [tuple(map(int, place.split(","))) for place in played.did[3:-3]]
    assert way == sorted(way)
    assert way[:3] == [(101, 100), (102, 101), (103, 102)]
    assert len(way) > 15
    assert max(after[0] - before[0] for before, after in itertools.pairwise(way)) <= 10


async def test_a_drag_to_the_same_place_is_a_click() -> None:
    played, mouse = pointer()
    await mouse.drag(spot(5, 5), spot(5, 5), stay=True)
    assert set(played.did) == {"5,5", "+left", "-left", "?"}


async def test_the_wheel_turns_by_notches() -> None:
    played, mouse = pointer()
    await mouse.scroll(spot(1, 2), "down", 2)
    assert played.did == ["1,2", "+wheel-down", "-wheel-down", "+wheel-down", "-wheel-down", "?", "798,598"]


async def test_a_button_is_released_when_the_drag_is_given_up() -> None:
    played, mouse = pointer()
    with mock.patch("qa.screen.mouse.BEAT", 0.001):
        dragging = asyncio.create_task(mouse.drag(spot(0, 0), spot(500, 500)))
        while "1,1" not in played.did:  # noqa: ASYNC110 -- no event to wait for
            await asyncio.sleep(0)
        dragging.cancel()
        await asyncio.wait({dragging})
    assert played.did[-1] == "-left"


async def test_a_button_is_released_when_the_press_fails() -> None:
    played, mouse = pointer(refuse="+left")
    with pytest.raises(QemuFailed):
        await mouse.click(spot(0, 0))
    assert played.did[-1] == "-left"


async def test_gestures_are_not_mixed_and_a_machine_is_not_stopped_within_one() -> None:
    played, mouse = pointer()
    await asyncio.gather(mouse.click(spot(1, 1), stay=True), mouse.click(spot(2, 2), stay=True))
    assert played.did == ["1,1", "+left", "-left", "?", "2,2", "+left", "-left", "?"]
    dragging = asyncio.create_task(mouse.drag(spot(0, 0), spot(9, 9)))
    while "+left" not in played.did[8:]:  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0)
    async with mouse.still():
        assert played.did[-1] == "798,598"
    await dragging


async def test_a_guest_that_does_not_look_at_its_pointer_is_told() -> None:
    played, mouse = pointer(read=False)
    with mock.patch("qa.screen.mouse.READ_LIMIT", 0.01), pytest.raises(DeadlineExceeded) as caught:
        await mouse.click(spot(1, 1))
    assert caught.value.hint
    assert "USB tablets" in caught.value.hint
    assert played.did == ["1,1"]


@pytest.mark.parametrize(("x", "y"), [(800, 0), (0, 600), (-1, 0), (5000, 5000)])
def test_a_place_outside_of_the_screen_is_told_with_its_size(x: int, y: int) -> None:
    with pytest.raises(UsageError, match=f"{x},{y} is outside of the screen, which has 800x600 pixels"):
        spot(x, y).check()


@pytest.mark.parametrize(
    ("verb", "value", "problem"),
    [
        ("click", None, "exactly one of at, needle and text"),
        ("click", {"text": "OK", "at": [1, 2]}, "exactly one of at, needle and text"),
        ("click", {"text": "OK", "point": "left"}, "point belongs to a needle"),
        ("move_mouse", {}, "exactly one of at, needle and text"),
        ("scroll", {"text": "a", "needle": "b"}, "only one of at, needle and text"),
        ("drag", {"from": {"text": "a", "needle": "b"}, "to": [1, 2]}, "exactly one of at, needle and text"),
        ("drag", {"from": "a"}, "Field required"),
        ("click", {"at": [1]}, "Field required"),
        ("click", {"at": [-1, 2]}, "greater than or equal to 0"),
    ],
)
def test_places_that_are_none_are_told_before_anything_runs(verb: str, value: Any, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        CATALOGUE[verb].parse(value)


def test_short_ways_to_name_a_place() -> None:
    drag: Any = CATALOGUE["drag"].parse({"from": [1, 2], "to": "trash"})
    assert getattr(drag, "from").at == (1, 2)
    assert drag.to.needle == "trash"
    scroll: Any = CATALOGUE["scroll"].parse("up")
    assert (scroll.direction, scroll.amount, scroll.at) == ("up", 3, None)
    click: Any = CATALOGUE["click"].parse("button-ok")
    assert click.needle == "button-ok"
    move: Any = CATALOGUE["move_mouse"].parse([3, 4])
    assert move.at == (3, 4)


def seen(points: dict[str, tuple[int, int]]) -> Candidate:
    return Candidate("ok", Path("ok.png"), matched=True, error=0.0, areas=(), click_points=points)


def test_a_needle_is_clicked_at_the_click_point_that_is_named() -> None:
    assert click_point(seen({"": (3, 4)}), "") == (3, 4)
    assert click_point(seen({"a": (3, 4), "b": (5, 6)}), "b") == (5, 6)
    for points, point in (({"a": (3, 4), "b": (5, 6)}, ""), ({"a": (3, 4)}, "x"), ({}, "x")):
        with pytest.raises(KeyError):
            click_point(seen(points), point)
