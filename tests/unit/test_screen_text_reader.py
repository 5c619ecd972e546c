"""Which way a frame is read, and that none is read twice. Tesseract is played, except where it is said otherwise."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scenario_world import until
from screens import frame_of, plain, screen

import qa.screen.text.reader as reader
import qa.screen.text.tesseract as tesseract
from qa.errors import UsageError
from qa.operations.options import MachineOptions
from qa.screen.frames import Frame
from qa.screen.text import Box, read_frame, readings
from qa.screen.text.found import ScreenText, Word

HEAD = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"


def row(text: str, x: int, y: int, *, line: int = 1, confidence: float = 90.0) -> str:
    return f"5\t1\t{line}\t1\t{line}\t1\t{x}\t{y}\t40\t20\t{confidence}\t{text}"


Play = Callable[..., Path]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Puts a program in tesseract's place: it keeps what it was given, and runs a shell command."""
    monkeypatch.setattr(reader, "_MEMORY", reader._Memories())

    def put(command: str) -> Path:
        program = tmp_path / "tesseract"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nenv > {tmp_path}/env\ncat > {tmp_path}/picture\n{command}\n'
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(tesseract, "find_tesseract", lambda: program)
        monkeypatch.setattr(reader, "find_tesseract", lambda: program)
        return tmp_path

    return put


def table(*rows: str) -> str:
    lines = "\n".join((HEAD, *rows))
    return f"cat <<'END'\n{lines}\nEND"


def asked(folder: Path) -> int:
    file = folder / "asked"
    return len(file.read_text().splitlines()) if file.exists() else 0


def picture(width: int = 300, height: int = 200, seed: int = 1) -> Frame:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return frame_of(Image.fromarray(pixels))


async def test_a_console_needs_no_tesseract(play: Play) -> None:
    folder = play("exit 1")
    text = await read_frame(screen("linux-less"))
    assert (text.how, asked(folder)) == ("glyphs", 0)
    assert text.note == "read exactly: 100x37 characters in the font VGA 8x16 (kernel)"
    assert text.lines[1][1].box == Box(40, 16, 8, 16)
    assert text.lines[1][1].confidence == 1


async def test_unknown_glyphs_are_told() -> None:
    text = await read_frame(screen("linux-colours"))
    assert text.note.endswith("; 4 of them are not in it")


async def test_a_region_of_a_console_has_only_its_cells() -> None:
    text = await read_frame(screen("linux-less"), region=Box(0, 16, 800, 32))
    assert text.text == "line 2\nline 3"
    assert text.find("line 3") == Box(0, 32, 48, 16)


async def test_what_tesseract_finds_has_its_place_on_the_screen(play: Play) -> None:
    play(table(row("OK", 30, 60), row("Cancel", 90, 60), row("low", 5, 5, line=2, confidence=12), row(" ", 9, 9, line=3)))
    text = await anext(readings(picture(), region=Box(10, 20, 200, 100)))
    assert (text.how, text.text) == ("tesseract", "OK Cancel")
    assert text.find("Cancel") == Box(100, 80, 40, 20)
    assert text.lines[0][0].confidence == pytest.approx(0.9)


async def test_edges_and_pictures_are_no_text(play: Play) -> None:
    def shaped(text: str, width: int, height: int, line: int) -> str:
        return f"5\t1\t{line}\t1\t{line}\t1\t10\t{line * 9}\t{width}\t{height}\t95\t{text}"

    shapes = [
        ("|", 1, 40),
        ("=", 45, 4),
        ("ESkt", 25, 1),
        ("ee", 310, 16),
        ("|", 3, 16),
        ("=", 8, 4),
        ("-", 5, 1),
        ("OK", 20, 10),
    ]
    play(table(*(shaped(*shape, line) for line, shape in enumerate(shapes))))
    assert (await anext(readings(picture()))).text == "|\n=\n-\nOK"


async def test_three_ways_are_tried_one_after_the_other(play: Play) -> None:
    folder = play(table(row("OK", 30, 60)))
    frame, sizes, means, places = picture(), [], [], []
    async for text in readings(frame):
        with Image.open(folder / "picture") as seen:
            sizes.append(seen.size)
            means.append(round(np.asarray(seen, float).mean()))
        places.append(text.find("OK"))
    assert sizes == [(300, 200), (900, 600), (900, 600)]
    assert means[1] + means[2] == pytest.approx(255, abs=2)
    assert places == [Box(30, 60, 40, 20), Box(10, 20, 13, 6), Box(10, 20, 13, 6)]
    assert "OMP_THREAD_LIMIT=1" in (folder / "env").read_text()


async def test_whoever_has_found_his_text_asks_no_further(play: Play) -> None:
    folder = play(table(row("OK", 30, 60)))
    async for text in readings(picture()):
        if text.find("OK"):
            break
    assert asked(folder) == 1


async def test_what_each_way_finds_is_put_together(play: Play) -> None:
    folder = play(f"n=$(wc -l < $(dirname $0)/asked)\n[ $n = 1 ] && {table(row('Tools', 30, 60), row('Opt', 90, 60))}\n"
                  f"[ $n = 2 ] && {table(row('Options', 275, 182), row('Help', 600, 30, line=2), row('now', 700, 30, line=2))}\n"
                  f"[ $n = 3 ] && echo '{HEAD}'\n:")  # fmt: skip
    text = await read_frame(picture())
    assert asked(folder) == 3
    assert text.text == "Help now\nTools\nOptions"


LISTS = "[ $1 = --list-langs ] && { printf 'List of available languages (3):\\ndeu\\neng\\nosd\\n'; exit; }"


async def test_a_way_that_fails_after_one_that_saw_nothing_is_told(play: Play) -> None:
    play(f"[ $(wc -l < $(dirname $0)/asked) -eq 1 ] || {{ echo 'no memory' >&2; exit 1; }}\n{table()}")
    text = await read_frame(picture())
    assert text.failed
    assert "no memory" in text.note


async def test_a_text_is_read_in_the_language_that_it_is_written_in(play: Play) -> None:
    folder = play(f"{LISTS}\n{table(row('Öffnen', 30, 60))}")
    assert (await anext(readings(picture(), language="deu+eng"))).text == "Öffnen"
    assert "-l deu+eng" in (folder / "asked").read_text()
    await anext(readings(picture(), language="deu"))  # in another language it may say something else
    assert "-l deu --psm" in (folder / "asked").read_text()
    await anext(readings(picture()))
    assert "-l eng --psm" in (folder / "asked").read_text()


async def test_a_language_that_tesseract_does_not_have_is_named(play: Play) -> None:
    play(f"{LISTS}\n{table(row('OK', 30, 60))}")
    text = await read_frame(picture(), language="deu+chi_sim")
    assert (text.failed, text.note) == (True, "tesseract has no data for the language chi_sim; it has deu, eng")
    assert "Debian's package tesseract-ocr-chi-sim" in text.hint
    text = await read_frame(picture(), language="osd")
    assert text.note == "tesseract has no data for the language osd; it has deu, eng"


@pytest.mark.parametrize("language", ["--psm", "deu+", "deu eng", "", "+", "deu+-x"])
def test_what_is_no_language_is_refused_before_anything_runs(language: str) -> None:
    assert MachineOptions(text_language="deu+script/Latin+chi_sim").text_language
    with pytest.raises(ValidationError):
        MachineOptions(text_language=language)


async def test_no_frame_is_read_twice(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = play(table(row("OK", 30, 60)))
    assert await read_frame(picture()) == await read_frame(picture())
    assert asked(folder) == 3
    await read_frame(picture(), region=Box(0, 0, 50, 50))
    assert asked(folder) == 6
    await read_frame(screen("linux-vi"))
    monkeypatch.setattr(reader, "read_console_grid", lambda _: pytest.fail("read again"))
    assert (await read_frame(screen("linux-vi"))).how == "glyphs"


async def test_several_who_read_one_frame_share_what_is_read(play: Play) -> None:
    folder = play(table(row("OK", 30, 60)))
    first, *others = await asyncio.gather(*(read_frame(picture()) for _ in range(4)))
    assert others == [first] * 3
    assert (bool(first.find("OK")), asked(folder)) == (True, 3)
    assert await read_frame(picture()) == first


class Held:
    """Stands for tesseract: says which ways were begun, and reads when it may."""

    def __init__(self) -> None:
        self.ways: list[str] = []
        self.may = asyncio.Event()

    async def __call__(self, _: Frame, area: Box, way: str, language: str) -> tuple[tuple[Word, ...], ...]:
        self.ways.append(way)
        await self.may.wait()
        return ((Word("OK", Box(1, 1, 20, 10), 0.9),),)


@pytest.mark.parametrize("who", [0, 1])
async def test_one_of_two_readers_that_is_cancelled_takes_nothing_from_the_other(
    play: Play, monkeypatch: pytest.MonkeyPatch, who: int
) -> None:
    play("exit 1")
    held = Held()
    monkeypatch.setattr(reader, "recognise", held)
    held.may.set()
    await anext(readings(picture()))
    held.may.clear()
    readers = [asyncio.create_task(read_frame(picture())) for _ in range(2)]
    await until(lambda: len(held.ways) > 1)
    readers[who].cancel()
    await asyncio.wait({readers[who]})
    held.may.set()
    assert (await readers[1 - who]).text == "OK"
    first, second, third = tesseract.WAYS
    assert held.ways == ([first, second, second, third] if who == 0 else [first, second, third])


def test_a_frame_is_read_further_in_another_event_loop(play: Play) -> None:
    folder = play(table(row("OK", 30, 60)))

    async def twice(read: Callable[[Frame], Awaitable[ScreenText]]) -> None:
        assert all(text.find("OK") for text in await asyncio.gather(read(picture()), read(picture())))

    asyncio.run(twice(lambda frame: anext(readings(frame))))
    assert asked(folder) == 1
    asyncio.run(twice(read_frame))
    assert asked(folder) == 3


async def test_only_the_last_frames_are_remembered(play: Play) -> None:
    folder = play(table(row("OK", 30, 60)))
    for seed in range(reader.REMEMBERED + 1):
        await anext(readings(picture(10, 10, seed)))
    before = asked(folder)
    await anext(readings(picture(10, 10, reader.REMEMBERED)))
    assert asked(folder) == before
    await anext(readings(picture(10, 10, 0)))
    assert asked(folder) == before + 1


async def test_a_plain_screen_says_nothing_and_asks_nobody(play: Play) -> None:
    folder = play("exit 1")
    for frame in (plain(1, 1), plain(640, 480, (0, 0, 170))):
        text = await read_frame(frame)
        assert (text.how, text.text, text.failed) == ("none", "", False)
    assert text.note == "nothing is to be seen but the colour #0000aa"
    assert asked(folder) == 0


async def test_without_tesseract_it_is_said_how_to_get_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play("exit 1")
    monkeypatch.setattr(reader, "find_tesseract", lambda: None)
    text = await read_frame(picture())
    assert (text.how, text.failed) == ("none", True)
    assert "tesseract" in text.note
    assert "tesseract" in text.hint


@pytest.mark.parametrize(
    ("command", "said"),
    [("echo 'Error opening data file eng.traineddata' >&2; exit 1", "tesseract failed: Error opening data file eng.traineddata"),
     ("exit 3", "tesseract failed: exit status 3"), ("kill -9 $$", "tesseract failed: it was killed by signal 9")],
)  # fmt: skip
async def test_why_tesseract_failed_is_told(play: Play, command: str, said: str) -> None:
    play(command)
    text = await read_frame(picture())
    assert (text.how, text.failed, text.note) == ("none", True, said)


async def test_one_that_hangs_is_ended(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "TIME_LIMIT_S", 0.3)
    folder = play("echo $$ > $(dirname $0)/pid; exec sleep 1000")
    text = await read_frame(picture())
    assert (text.failed, text.note) == (True, "tesseract did not read the screen within 0.3 s")
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


async def test_one_that_nobody_waits_for_any_more_is_ended(play: Play, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    folder = play(f"echo $$ > $(dirname $0)/pid; echo > {tmp_path}/started; exec sleep 1000")
    reading = asyncio.create_task(read_frame(picture()))
    await asyncio.to_thread((tmp_path / "started").read_text)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


@pytest.mark.parametrize("output", ["", "garbage", HEAD, f"{HEAD}\n5\t1", f"{HEAD}\n5\t1\t1\t1\t1\t1\tx\t1\t1\t1\t99\ta"])
async def test_tables_without_words_have_no_text(play: Play, output: str) -> None:
    play(f"cat <<'END'\n{output}\nEND")
    assert (await read_frame(picture())).text == ""


async def test_a_picture_that_is_too_large_is_not_handed_over(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = play(table(row("OK", 30, 60)))
    monkeypatch.setattr(tesseract, "MOST_PIXELS", 300 * 200 - 1)
    text = await read_frame(picture())
    assert (text.failed, asked(folder)) == (True, 0)
    assert text.note == "a picture of 300x200 is too large to recognise text in"
    monkeypatch.setattr(tesseract, "MOST_PIXELS", 300 * 200)
    await read_frame(picture(seed=2))
    assert asked(folder) == 1


async def test_a_region_counts_as_far_as_it_is_on_the_screen(play: Play) -> None:
    folder = play(table(row("OK", 3, 6)))
    text = await anext(readings(picture(), region=Box(250, -10, 1000, 60)))
    with Image.open(folder / "picture") as seen:
        assert seen.size == (50, 50)
    assert text.find("OK") == Box(253, 6, 40, 20)


@pytest.mark.parametrize("region", [Box(300, 0, 5, 5), Box(0, 200, 5, 5), Box(-5, 0, 5, 5), Box(5, 5, 0, 9), Box(5, 5, -3, 9)])
async def test_a_region_that_is_not_on_the_screen_is_told(region: Box) -> None:
    with pytest.raises(UsageError, match="is not on the screen, which is 300x200"):
        await read_frame(picture(), region=region)


async def test_tesseract_itself_reads_a_desktop() -> None:
    """All words, also light ones on dark, in buttons and in a terminal."""
    text = await read_frame(screen("desktop"))
    assert text.how == "tesseract"
    wanted = ("Preferences", "Show hidden files", "Ask before emptying the bin", "Cancel", "OK", "Applications", "12:34",
              "Terminal", "Desktop", "Documents", "uname")  # fmt: skip
    assert [word for word in wanted if word not in text.text] == []
    places = {"OK": (560, 385), "Cancel": (460, 385), "Applications": (54, 626)}
    for word, (x, y) in places.items():
        box = text.find(word)
        assert box is not None
        assert abs(box.center[0] - x) < 15
        assert abs(box.center[1] - y) < 8
