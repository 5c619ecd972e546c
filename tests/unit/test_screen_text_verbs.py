"""The verbs that read the screen, on a machine of which only the screen is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from screens import plain, screen

import qa.screen.text
import qa.screen.text.reader as reader
import qa.screen.watch
from qa.console import SerialConsole
from qa.deadline import Deadline
from qa.errors import DeadlineExceeded, GuestPanic, HostError, UsageError
from qa.events import Bus, Event, Notice
from qa.guest.vitals import Vitals
from qa.machine.reading import Reading, TextNotFound
from qa.operations.catalogue import CATALOGUE
from qa.screen.frames import Frame
from qa.screen.sight import Sight
from qa.screen.text import Box
from qa.screen.text.found import Word


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qa.screen.watch, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(qa.screen.watch, "LONGEST_PAUSE", 0.0)


class Screen(Reading):
    """Shows pictures one after the other, and then the last one for ever."""

    name = "vm"

    def __init__(self, folder: Path, *pictures: Frame) -> None:
        self.pictures, self.looks = pictures, 0
        self.setup: Any = SimpleNamespace(text_language="eng")
        self.vitals = Vitals("vm", SerialConsole(folder / "console.log"))
        self.bus, self.told = Bus(), list[Event]()
        self.bus.subscribe(self.told.append)

    async def grab(self) -> Frame:
        self.looks += 1
        return self.pictures[min(self.looks, len(self.pictures)) - 1]

    def _on(self) -> Any:
        return SimpleNamespace(vitals=self.vitals)

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline.after(seconds)

    async def do(self, verb: str, value: Any = None, **more: Any) -> Any:
        operation = CATALOGUE[verb]
        return await operation(self, operation.parse(operation.as_mapping(value) | more))

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.told if isinstance(event, Notice)]


async def test_the_screens_text_is_the_result(tmp_path: Path) -> None:
    vm = Screen(tmp_path, screen("linux-vi"))
    text = await vm.do("read_screen_text")
    assert isinstance(text, str)
    assert text.splitlines()[0] == "export PATH=/sbin:/bin PS1='qa:\\w# '"
    assert vm.notices == []


@pytest.mark.parametrize("region", [{"x": 0, "y": 576, "width": 800, "height": 24}, [0, 576, 800, 24]])
async def test_a_region_is_a_list_or_a_mapping(tmp_path: Path, region: Any) -> None:
    assert await Screen(tmp_path, screen("linux-vi")).do("read_screen_text", region=region) == "- /etc/profile 1/1 100%"


@pytest.mark.parametrize("region", [[0, 0, 1], [0, 0, 0, 5], [-1, 0, 5, 5], {"x": 0}, "all", [0, 0, 5, "wide"]])
def test_what_is_no_region_is_told_when_the_script_is_read(region: Any) -> None:
    with pytest.raises(ValidationError):
        CATALOGUE["read_screen_text"].parse({"region": region})


async def test_a_region_beside_the_screen_is_told(tmp_path: Path) -> None:
    region = {"x": 800, "y": 0, "width": 8, "height": 16}
    with pytest.raises(UsageError, match=r"the region \(x 800, y 0, 8x16\) is not on the screen, which is 800x600"):
        await Screen(tmp_path, screen("linux-vi")).do("read_screen_text", region=region)


async def test_unknown_glyphs_and_empty_screens_are_told(tmp_path: Path) -> None:
    vm = Screen(tmp_path, screen("linux-colours"), plain(640, 480))
    await vm.do("read_screen_text")
    assert await vm.do("read_screen_text") == ""
    assert vm.notices == [
        "vm: read exactly: 100x37 characters in the font VGA 8x16 (kernel); 4 of them are not in it",
        "vm: nothing is to be seen but the colour #000000",
    ]


async def test_a_screen_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MEMORY", reader._Memories())
    monkeypatch.setattr(reader, "find_tesseract", lambda: None)
    with pytest.raises(HostError, match="shows no text console, and tesseract") as caught:
        await Screen(tmp_path, screen("desktop")).do("read_screen_text")
    assert "tesseract" in (caught.value.hint or "")


async def test_a_text_is_waited_for_and_its_place_shown(tmp_path: Path) -> None:
    frames = plain(640, 480), screen("linux-cursor"), screen("linux-less")
    sight = await Screen(tmp_path, *frames).do("wait_for_text", r"line \d+$\n^standard")
    assert isinstance(sight, Sight)
    assert sight.frame == frames[-1]
    assert sight.wanted == r"text /line \d+$\n^standard/, read exactly"
    (mark,) = sight.marks
    assert (mark.label, mark.x, mark.y, mark.width, mark.height) == ("line 36\nstandard", 0, 560, 64, 32)


async def test_the_place_of_a_text_can_be_had_for_a_click(tmp_path: Path) -> None:
    frame, box = await Screen(tmp_path, plain(9, 9), screen("grub-menu"))._find_text("Memory test", 5)
    assert frame.width == 1280
    assert box == Box(33 * 8, 10 + 10 * 19, 11 * 8, 19)


async def test_a_text_that_does_not_come_is_told_with_what_is_most_like_it(tmp_path: Path) -> None:
    vm = Screen(tmp_path, plain(9, 9), screen("linux-vi"))
    with pytest.raises(DeadlineExceeded, match="text /ect/prof1le/ on the screen did not happen within 300 ms") as caught:
        await vm.do("wait_for_text", "ect/prof1le", timeout=0.3)
    error = caught.value
    assert isinstance(error, TextNotFound)
    assert error.evidence["most like it on the screen"].strip() == "etc/profile"
    assert error.evidence["the screen"].splitlines()[-1] == "- /etc/profile 1/1 100%"
    assert isinstance(error.result, Sight)
    assert (error.result.frame, error.result.wanted) == (vm.pictures[-1], "text /ect/prof1le/")


async def test_a_text_that_is_there_when_the_time_is_up_is_found(tmp_path: Path) -> None:
    assert await Screen(tmp_path, screen("linux-vi")).do("wait_for_text", "etc/profile", timeout=0)


async def test_who_was_busy_with_an_older_picture_looks_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = qa.screen.text.readings

    async def slow(frame: Frame, **how: Any) -> Any:
        if frame.width == 9:
            await asyncio.Event().wait()
        async for text in real(frame, **how):
            yield text

    monkeypatch.setattr("qa.screen.text.readings", slow)
    sight = await Screen(tmp_path, plain(9, 9), screen("linux-vi")).do("wait_for_text", "etc/profile", timeout=0.1)
    assert sight.frame.width == 800


async def test_when_the_screen_was_never_read_there_is_still_a_picture_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr("qa.screen.text.readings", never)
    monkeypatch.setattr("qa.machine.reading.LAST_LOOK", 0.1)
    with pytest.raises(TextNotFound) as caught:
        await Screen(tmp_path, screen("linux-vi")).do("wait_for_text", "x", timeout=0.1)
    assert caught.value.result is not None


async def test_without_tesseract_a_text_may_still_come_on_a_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MEMORY", reader._Memories())
    monkeypatch.setattr(reader, "find_tesseract", lambda: None)
    assert await Screen(tmp_path, screen("desktop"), screen("linux-vi")).do("wait_for_text", "profile")
    with pytest.raises(TextNotFound) as caught:
        await Screen(tmp_path, screen("desktop")).do("wait_for_text", "profile", timeout=0.2)
    assert "tesseract" in (caught.value.hint or "")
    assert "not installed" in caught.value.evidence["the screen"]


async def test_a_dead_guest_ends_the_wait(tmp_path: Path) -> None:
    class Dying(Screen):
        async def grab(self) -> Frame:
            self.vitals.on_qmp("GUEST_PANICKED", {})
            return await super().grab()

    with pytest.raises(GuestPanic):
        await Dying(tmp_path, screen("linux-vi")).do("wait_for_text", "not on the screen")


async def test_a_mistake_in_the_pattern_is_told_before_anybody_looks(tmp_path: Path) -> None:
    vm = Screen(tmp_path, screen("linux-vi"))
    with pytest.raises(UsageError, match="is not a regular expression"):
        await vm.do("wait_for_text", "(")
    assert vm.looks == 0


async def test_texts_are_read_in_the_language_of_the_machines_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    languages = []

    async def recognise(_: Frame, area: Box, way: str, language: str) -> Any:
        languages.append(language)
        return ((Word("Öffnen", area, 0.9),),)

    monkeypatch.setattr(reader, "recognise", recognise)
    monkeypatch.setattr(reader, "_without_tesseract", lambda *_: None)
    one = Screen(tmp_path, screen("linux-less"))
    one.setup.text_language = "deu+eng"
    await one.wait_for_text("Öffnen", timeout=1)
    assert "Öffnen" in await one.read_screen_text()
    assert set(languages) == {"deu+eng"}
