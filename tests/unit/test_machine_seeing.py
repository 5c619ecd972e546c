"""Waiting for needles: seen as soon as they are there, told well when they are not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from qa.deadline import Deadline
from qa.errors import HostError, MachineOff, UsageError
from qa.events import Bus, Notice
from qa.machine import MachineSetup, seeing
from qa.machine.seeing import NeedleNotSeen, Seeing
from qa.screen.frames import Frame
from qa.screen.library import Library
from qa.screen.look import look_for
from qa.screen.needle import Needle, read_needle
from qa.screen.sight import Sight
from qa.screen.telling import percent

AREA = {"xpos": 20, "ypos": 10, "width": 40, "height": 20, "type": "match"}


def picture(seed: int, *, shift: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 256, (100, 160, 3)).astype(np.uint8)
    return np.roll(pixels, shift, axis=1)


def frame(pixels: Any) -> Frame:
    height, width, _ = pixels.shape
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())


def put(folder: Path, name: str, pixels: Any, **more: Any) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"area": [AREA], "tags": [], **more}))
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    return path


class Screen(Seeing):
    """A machine of which only the screen is there: each look shows the next picture, and the last one stays."""

    def __init__(self, folder: Path, *pictures: Any) -> None:
        self.bus = Bus()
        self.setup = cast("MachineSetup", SimpleNamespace(text_language="deu"))
        self.frames = [frame(one) for one in pictures]
        self.looks = 0
        self.after: Callable[[], None] = lambda: None
        self.__dict__["_library"] = Library([folder])

    async def grab(self) -> Frame:
        self.looks += 1
        if self.looks > len(self.frames):
            self.after()
        return self.frames[min(self.looks, len(self.frames)) - 1]

    def _on(self) -> Any:
        return None

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds)

    async def _guarded(self, awaitable: Any, deadline: Deadline, what: str, **_: Any) -> Any:
        return await deadline.wait_for(awaitable, what)


async def test_a_needle_is_seen_when_it_comes(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    screen = Screen(tmp_path, picture(2), picture(3), picture(1))
    sight = await screen.assert_screen("menu")
    assert (sight.wanted, sight.match and sight.match.name) == ("needle menu", "menu")
    assert sight.frame.digest == screen.frames[2].digest
    assert screen.looks == 3


async def test_of_several_needles_and_tags_one_is_enough(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1), tags=["start"])
    put(tmp_path, "menu-2", picture(2), tags=["start"], properties=[{"name": "workaround", "value": "bug 7"}])
    put(tmp_path, "other", picture(3))
    for asked in ({"needle": ["other", "start"]}, {"tag": "start"}, {"needle": "other", "tag": ["start"]}):
        sight = await Screen(tmp_path, picture(2)).wait_for_screen(**asked)  # type: ignore[arg-type]
        assert sight.match
        assert (sight.match.name, sight.match.workaround) == ("menu-2", "bug 7")
    assert sight.wanted == "needle other or #start"


async def test_what_has_moved_far_is_seen_once_the_screen_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "STILL", 0.01)
    put(tmp_path, "menu", picture(1), area=[AREA | {"margin": 0}])
    sight = await Screen(tmp_path, picture(2), picture(1, shift=70)).assert_screen("menu", timeout=60)
    assert sight.match
    assert sight.match.areas[0].x == 90


async def test_a_screen_that_never_stands_still_is_looked_through_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_rests(frames: AsyncGenerator[Frame]) -> AsyncGenerator[tuple[Frame, bool]]:
        async for one in frames:
            yield one, False

    monkeypatch.setattr(seeing, "_with_rests", never_rests)
    monkeypatch.setattr(seeing, "STILL", 0)
    put(tmp_path, "menu", picture(1), area=[AREA | {"margin": 0}])
    restless = [picture(1, shift=70) for _ in range(8)]
    for number, one in enumerate(restless):
        one[99, 0] = number
    screen = Screen(tmp_path, *restless)
    assert (await screen.assert_screen("menu", timeout=60)).match
    assert screen.looks == 1


async def test_without_time_the_screen_is_looked_at_once_and_everywhere(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    assert (await Screen(tmp_path, picture(1, shift=100)).assert_screen("menu", timeout=0)).match
    with pytest.raises(NeedleNotSeen):
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)


async def test_what_is_not_seen_is_told_with_the_nearest_first(tmp_path: Path) -> None:
    near = picture(2)
    near[10:20, 20:60] ^= 64
    put(tmp_path, "far", picture(1), tags=["menu"])
    put(tmp_path, "near", near, tags=["menu"], area=[AREA, {**AREA, "xpos": 80}])
    with pytest.raises(NeedleNotSeen) as caught:
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)
    error = caught.value
    assert error.message.startswith("needle menu was not on the screen within 0 ms; nearest: near, ")
    assert error.message.endswith(" % alike, 96 % wanted")
    assert isinstance(error.result, Sight)
    assert [one.name for one in error.result.candidates] == ["near", "far"]
    lines = error.evidence["needles"].splitlines()
    assert lines[0] == "near"
    assert lines[1].startswith("  no  40x20 at 20,10: ")
    assert lines[2] == "  ok  40x20 at 80,10: 100 % alike, 96 % wanted (openqa)"
    assert lines[3] == "far"


async def test_a_black_screen_and_another_size_are_named(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    with pytest.raises(NeedleNotSeen, match="; the screen is 160x100, all black"):
        await Screen(tmp_path, np.zeros((100, 160, 3), np.uint8)).assert_screen("menu", timeout=0)
    with pytest.raises(NeedleNotSeen, match="the screen has 150x90 pixels, and the needle was made at 160x100"):
        await Screen(tmp_path, picture(2)[:90, :150]).assert_screen("menu", timeout=0)


async def test_a_screen_that_changes_size_while_it_is_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    sizes = [picture(2)[:5, :7], picture(3)[:60], np.zeros((300, 400, 3), np.uint8), picture(1)]
    assert (await Screen(tmp_path, *sizes).wait_for_screen("menu")).match


async def test_needles_that_are_not_there_are_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "menu", picture(1))
    screen = Screen(tmp_path, picture(1))
    with pytest.raises(UsageError, match="there is no needle 'mneu'") as caught:
        await screen.assert_screen("mneu")
    assert caught.value.hint == "did you mean 'menu'?"
    with pytest.raises(UsageError, match="no needle was named"):
        await screen.assert_screen()
    assert screen.looks == 0


async def test_a_broken_needle_among_others_is_told_and_left_out(tmp_path: Path) -> None:
    put(tmp_path, "broken", picture(1), tags=["menu"], area=[])
    put(tmp_path, "good", picture(1), tags=["menu"])
    screen, told = Screen(tmp_path, picture(1)), list[str]()
    screen.bus.subscribe(lambda event: told.append(event.message) if isinstance(event, Notice) else None)
    assert (await screen.assert_screen("menu")).match
    assert len(told) == 1
    assert "broken.json: area" in told[0]
    with pytest.raises(UsageError, match=r"broken\.json: area"):
        await screen.assert_screen("broken")


def cut(path: Path) -> None:
    """Its header can be read, and the rest cannot."""
    picture = path.with_suffix(".png")
    picture.write_bytes(picture.read_bytes()[:3000])


async def test_a_needle_with_a_damaged_picture_is_left_out_and_told_once(tmp_path: Path) -> None:
    cut(put(tmp_path, "cut", picture(1), tags=["menu"]))
    put(tmp_path, "good", picture(1), tags=["menu"])
    screen, told = Screen(tmp_path, picture(2), picture(1)), list[str]()
    screen.bus.subscribe(lambda event: told.append(event.message) if isinstance(event, Notice) else None)
    for timeout in (30, 0):
        sight = await screen.assert_screen("menu", timeout=timeout)
        assert sight.match
        assert sight.match.name == "good"
    assert len(told) == 1
    assert told[0].startswith("a needle is left out: needle cut: ")
    assert "cut.png is damaged" in told[0]
    assert screen._library.words() == {"good", "menu"}
    put(tmp_path, "cut", picture(1), tags=["menu"])  # mended
    assert (await screen.assert_screen("cut", timeout=0)).match


async def test_a_damaged_picture_is_an_error_where_its_needle_is_named_or_no_other_is_left(tmp_path: Path) -> None:
    cut(put(tmp_path, "cut", picture(1), tags=["menu", "alone"]))
    cut(put(tmp_path, "torn", picture(1), tags=["both", "menu"]))
    cut(put(tmp_path, "worn", picture(1), tags=["both"]))
    put(tmp_path, "good", picture(1), tags=["menu"])
    for asked in (["good", "cut"], ["alone"], ["both"]):
        for timeout in (30, 0):
            with pytest.raises(UsageError, match=r"needle (cut|torn|worn): .*\.png is damaged"):
                await Screen(tmp_path, picture(1)).assert_screen(asked, timeout=timeout)


async def test_a_damaged_picture_has_no_part_in_what_is_told_of_the_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeing, "LAST_LOOK", 0)
    cut(put(tmp_path, "cut", picture(1), tags=["menu"]))
    put(tmp_path, "good", picture(1), tags=["menu"])
    with pytest.raises(NeedleNotSeen) as caught:
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)
    assert "needles could be compared" not in caught.value.message
    assert [one.name for one in caught.value.result.candidates] == ["good"]


async def test_a_damaged_picture_does_not_hide_that_no_text_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable(monkeypatch)
    cut(put(tmp_path, "cut", picture(1), tags=["menu"]))
    put(tmp_path, "text", picture(1), tags=["menu"], area=[AREA | {"type": "ocr", "refstr": "OK"}])
    with pytest.raises(HostError, match="no tesseract"):
        await Screen(tmp_path, picture(1)).assert_screen("menu")


async def test_the_last_picture_counts_when_the_machine_has_ended(tmp_path: Path) -> None:
    screen = Screen(tmp_path)

    def gone() -> None:
        raise MachineOff("vm is off", hint="boot it first")

    screen.after = gone
    last = frame(picture(2))
    assert await screen._newest(seeing._Watch(last)) is last
    with pytest.raises(MachineOff):
        await screen._newest(seeing._Watch())


@pytest.mark.parametrize(("read", "matched"), [("Log  in\nhere", True), ("Log in thore", False), ("", False)])
async def test_text_areas_are_compared_with_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str, matched: bool
) -> None:
    regions = []

    async def read_frame(_: Frame, *, region: Any, language: str) -> Any:
        assert language == "deu"
        regions.append((region.x, region.y, region.width, region.height))
        return type("Text", (), {"text": read, "hint": "", "note": "", "failed": False})()

    monkeypatch.setattr("qa.screen.text.read_frame", read_frame)
    text = {"xpos": 80, "ypos": 40, "width": 200, "height": 20, "type": "ocr", "refstr": "Log in here"}
    wide = np.tile(picture(1), (1, 2, 1))
    put(tmp_path, "menu", wide, area=[AREA, text])
    screen = Screen(tmp_path, picture(1))
    if matched:
        sight = await screen.assert_screen("menu", timeout=0)
        assert sight.match
    else:
        with pytest.raises(NeedleNotSeen) as caught:
            await screen.assert_screen("menu", timeout=0)
        sight = caught.value.result
        assert f"read {read!r}" in caught.value.evidence["needles"]
    area = sight.candidates[0].areas[1]
    assert (area.kind, area.text, area.matched) == ("text", read, matched)
    assert set(regions) == {(80, 40, 80, 20)}  # what of it is on this screen
    regions.clear()
    with pytest.raises(NeedleNotSeen):
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)
    assert regions == []  # nothing is read where pixels decide already


def unreadable(monkeypatch: pytest.MonkeyPatch, hint: str = "apt-get install tesseract-ocr") -> None:
    async def read_frame(_: Frame, **__: Any) -> Any:
        return type("Text", (), {"text": "", "note": "no tesseract", "hint": hint, "failed": True})()

    monkeypatch.setattr("qa.screen.text.read_frame", read_frame)


@pytest.mark.parametrize("hint", ["apt-get install tesseract-ocr", ""], ids=["missing", "failing"])
async def test_a_text_that_nothing_here_can_read_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hint: str
) -> None:
    unreadable(monkeypatch, hint)
    put(tmp_path, "menu", picture(1), area=[AREA | {"type": "ocr", "refstr": "OK"}])
    screen = Screen(tmp_path, picture(1))
    with pytest.raises(HostError, match="no tesseract") as caught:
        await screen.assert_screen("menu")
    assert (caught.value.hint or "", screen.looks) == (hint, 1)


async def test_a_text_that_cannot_be_read_keeps_no_other_needle_from_being_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch)
    text = {**AREA, "ypos": 60, "type": "ocr", "refstr": "OK"}
    put(tmp_path, "a-text", picture(2), tags=["menu"], area=[AREA, text])
    put(tmp_path, "menu", picture(1))
    screen = Screen(tmp_path, picture(2), picture(1))
    sight = await screen.assert_screen("menu")
    assert sight.match
    assert (sight.match.name, screen.looks) == ("menu", 2)
    with pytest.raises(NeedleNotSeen) as caught:
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)
    assert "the text of a-text could not be read: no tesseract" in caught.value.message
    assert caught.value.hint == "apt-get install tesseract-ocr"


async def test_a_text_that_was_not_read_hides_no_pixels_that_differ(tmp_path: Path) -> None:
    near = picture(2)
    near[10:20, 20:60] ^= 64
    put(tmp_path, "near", near, tags=["menu"], area=[AREA, {**AREA, "ypos": 60, "type": "ocr", "refstr": "OK"}])
    put(tmp_path, "far", picture(1), tags=["menu"])
    with pytest.raises(NeedleNotSeen) as caught:
        await Screen(tmp_path, picture(2)).assert_screen("menu", timeout=0)
    best = caught.value.result.candidates[0]
    pixels, text = best.areas
    assert best.name == "near"
    assert pixels.similarity
    assert (best.error, text.similarity, text.matched) == ((1 - pixels.similarity) ** 2, None, False)
    assert f"nearest: near, {percent(pixels.similarity)} alike" in caught.value.message
    assert "      40x20 at 20,60: not read (text)" in caught.value.evidence["needles"].splitlines()


async def test_the_last_look_ends_and_says_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "LAST_LOOK", 0)
    for number in range(3):
        put(tmp_path, f"menu-{number}", picture(number), tags=["menu"])
    screen = Screen(tmp_path, picture(9))
    with pytest.raises(NeedleNotSeen, match="only 1 of 3 needles could be compared in 0 s"):
        await screen.assert_screen("menu", timeout=0)


async def test_a_look_that_is_given_up_compares_no_further_needle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on, compared = threading.Event(), threading.Event(), list[str]()

    def slowly(_: Any, needle: Needle, __: float) -> None:
        compared.append(needle.name)
        started.set()
        go_on.wait(30)

    monkeypatch.setattr("qa.screen.look.matching_areas", slowly)
    needles = [read_needle(put(tmp_path, f"menu-{number}", picture(number))) for number in range(3)]
    looking = asyncio.ensure_future(look_for(frame(picture(9)), needles, 1.0, language="eng", only_match=True))
    await asyncio.to_thread(started.wait, 30)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert compared == ["menu-0"]


async def test_another_size_is_told_of_the_nearest_needle(tmp_path: Path) -> None:
    put(tmp_path, "small", picture(2)[:90, :150], tags=["menu"])
    put(tmp_path, "menu", picture(1))
    like_menu, like_small = picture(1), picture(2)
    like_menu[10:20, 20:60] ^= 64
    like_small[10:20, 20:60] ^= 64
    with pytest.raises(NeedleNotSeen, match="; the screen has 160x100 pixels, and small was made at 150x90"):
        await Screen(tmp_path, like_small).assert_screen("menu", timeout=0)
    with pytest.raises(NeedleNotSeen) as caught:
        await Screen(tmp_path, like_menu).assert_screen("menu", timeout=0)
    assert "was made at" not in caught.value.message
