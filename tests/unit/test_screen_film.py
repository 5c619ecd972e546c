"""Films: what is kept of what a screen showed, how it is cut, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from painted import painted
from PIL import Image

import qa.screen.video
from qa.events import Bus, Event, Notice
from qa.report.folder import ResultsFolder
from qa.scenario.filming import Films
from qa.screen.cutting import cut_film
from qa.screen.film import Film, Shot
from qa.screen.frames import Frame
from qa.screen.video import durations, make_video

LONG_AGO = time.monotonic() - 100_000


def bar(length: int, at: float, size: tuple[int, int] = (320, 200)) -> Frame:
    """A bar that grows by 20 pixels, so that each picture differs by more than a cursor."""
    return painted((0, 50, 20 * length, 4), size=size, taken=LONG_AGO + at)


async def filmed(tmp_path: Path, *frames: Frame, **limits: int) -> Film:
    now = LONG_AGO
    film = Film(tmp_path / "film", **limits, clock=lambda: now)  # type: ignore[arg-type]
    for frame in frames:
        now = frame.taken
        film.see(frame)
        await film.develop()
    await film.develop(last=True)
    return film


def times(film: Film) -> list[float]:
    return [round(shot.at - LONG_AGO, 3) for shot in film.shots]


async def test_what_changed_is_kept_with_its_time(tmp_path: Path) -> None:
    film = await filmed(tmp_path, bar(1, 0.0), bar(1, 5.0), bar(2, 9.0))
    assert times(film) == [0.0, 9.0]
    assert film.seen == 2
    with Image.open(film.shots[1].file) as kept:
        assert kept.tobytes() == bar(2, 9.0).pixels.tobytes()


async def test_of_many_changes_in_a_short_time_the_last_is_kept(tmp_path: Path) -> None:
    film = Film(tmp_path / "film")
    for number in range(20):
        film.see(bar(number % 15 + 1, 10 + number / 100))
    await film.develop(last=True)
    assert times(film) == [10.0, 10.19]
    assert film.seen == 20


async def test_a_blinking_cursor_fills_no_film_and_the_last_picture_is_exact(tmp_path: Path) -> None:
    blinks = [painted((8, 8, 8, 16 * (number % 2)), taken=LONG_AGO + 3.0 * number) for number in range(10)]
    film = await filmed(tmp_path, *blinks)
    assert times(film) == [0.0, 27.0]  # the last one shows the cursor, which the first does not


async def test_a_screen_that_changes_its_size_or_is_black_is_kept_and_named(tmp_path: Path) -> None:
    film = await filmed(tmp_path, bar(0, 0.0), bar(0, 1.0, (640, 400)), bar(3, 2.0, (640, 400)))
    assert [(shot.width, shot.note) for shot in film.shots] == [(320, "all black"), (640, "all black"), (640, "")]


async def test_long_films_are_thinned_evenly_and_keep_both_ends(tmp_path: Path) -> None:
    frames = [painted((0, number % 190, 40, 8), taken=LONG_AGO + number * 2.0) for number in range(200)]
    film = await filmed(tmp_path, *frames, most_shots=20)
    assert len(film.shots) <= 20
    assert times(film)[0] == 0.0
    assert times(film)[-1] == 398.0
    gaps = [after - before for before, after in pairwise(times(film))]
    assert max(gaps) <= 2 * min(gaps[:-1])
    assert sorted(one.name for one in (tmp_path / "film").iterdir()) == [shot.file.name for shot in film.shots]


async def test_large_films_are_thinned_by_their_bytes(tmp_path: Path) -> None:
    film = await filmed(tmp_path, *(bar(number % 15, number * 2.0) for number in range(100)), most_bytes=20_000)
    assert sum(shot.size for shot in film.shots) <= 20_000
    assert len(film.shots) > 4


async def test_a_full_disk_ends_the_film_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = Film(tmp_path / "film")
    for frame in (bar(1, 0.0), bar(2, 2.0)):
        film.see(frame)
        await film.develop()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    film.see(bar(3, 4.0))
    await film.develop()
    monkeypatch.undo()
    film.see(bar(4, 6.0))
    await film.develop(last=True)
    assert film.problem == "No space left on device"
    assert times(film) == [0.0, 2.0]
    assert len(list((tmp_path / "film").iterdir())) == 2


async def test_who_is_cancelled_while_a_picture_is_written_leaves_a_whole_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, writes, goes_on = Film(tmp_path / "film"), threading.Event(), threading.Event()
    keep = film._keep

    def slowly(frame: Frame, *, whatever: bool) -> None:
        writes.set()
        assert goes_on.wait(30)
        keep(frame, whatever=whatever)

    monkeypatch.setattr(film, "_keep", slowly)
    film.see(bar(1, 0.0))
    task = asyncio.create_task(film.develop(last=True))
    assert await asyncio.to_thread(writes.wait, 30)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(film.shots) == 1


async def test_what_was_to_be_written_behind_it_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, writes = Film(tmp_path / "film"), threading.Event()
    keep = film._keep

    def tell(frame: Frame, *, whatever: bool) -> None:
        writes.set()
        keep(frame, whatever=whatever)

    monkeypatch.setattr(film, "_keep", tell)
    for number in range(6):
        film.see(bar(number + 1, number))
    task = asyncio.create_task(film.develop())
    assert await asyncio.to_thread(writes.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await film.develop(last=True)
    assert times(film) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def taken(tmp_path: Path, frames: list[Frame]) -> list[Shot]:
    shots = []
    for number, frame in enumerate(frames):
        file = tmp_path / f"{number:03d}.png"
        frame.save_png(file)
        shots.append(Shot(frame.taken, file, frame.width, frame.height, file.stat().st_size))
    return shots


def test_the_cut_film_put_together_is_the_film(tmp_path: Path) -> None:
    frames = [
        bar(1, 0),
        bar(2, 1),
        bar(2, 2, (640, 400)),
        bar(4, 3, (640, 400)),
        painted((9, 9, 9, 9), size=(640, 400)),
        bar(1, 5),
    ]
    cuts = cut_film(taken(tmp_path, frames), tmp_path / "cut")
    screen = Image.new("RGB", (1, 1))
    for frame, cut in zip(frames, cuts, strict=True):
        if screen.size != (cut.shot.width, cut.shot.height):
            screen = Image.new("RGB", (cut.shot.width, cut.shot.height))
        with Image.open(cut.file) as part:
            screen.paste(part.convert("RGB"), (cut.x, cut.y))
        assert screen.tobytes() == frame.pixels.tobytes()
    with Image.open(cuts[1].file) as part:
        assert (part.size, cuts[1].x, cuts[1].y) == ((20, 4), 20, 50)


def test_pictures_of_many_colours_lose_none(tmp_path: Path) -> None:
    noise = Image.merge("RGB", [Image.effect_noise((64, 64), 90) for _ in range(3)])
    frame = Frame(64, 64, b"P6\n64 64\n255\n" + noise.tobytes())
    cut = cut_film(taken(tmp_path, [frame]), tmp_path / "cut")[0]
    with Image.open(cut.file) as part:
        assert part.convert("RGB").tobytes() == noise.tobytes()


def test_a_film_that_stays_too_large_is_cut_out_of_fewer_pictures(tmp_path: Path) -> None:
    shots = taken(tmp_path, [bar(number % 16, number) for number in range(32)])
    whole = cut_film(shots, tmp_path / "whole")
    size = sum(cut.file.stat().st_size for cut in whole)
    cuts = cut_film(shots, tmp_path / "small", most_bytes=size // 2)
    assert 2 < len(cuts) < len(whole)
    assert sum(cut.file.stat().st_size for cut in cuts) <= size // 2
    assert len(list((tmp_path / "small").iterdir())) == len(cuts)


def test_waiting_is_shown_shortly_and_haste_long_enough_to_see(tmp_path: Path) -> None:
    shots = taken(tmp_path, [bar(1, 0.0), bar(2, 0.01), bar(3, 0.4), bar(4, 60.0)])
    assert durations(shots) == pytest.approx([0.1, 0.39, 1.0, 1.0])


async def test_ffmpeg_makes_a_video_of_pictures_of_several_sizes(tmp_path: Path) -> None:
    frames = [bar(1, 0), bar(2, 1, (641, 401)), bar(3, 2), bar(4, 3)]
    video = await make_video(taken(tmp_path, frames), tmp_path / "film-web")
    assert video == tmp_path / "film-web.mp4"
    assert b"ftyp" in video.read_bytes()[:16]
    probe = ("ffprobe", "-v", "error", "-show_entries", "stream=width,height:format=duration", "-of", "csv=p=0", str(video))
    process = await asyncio.create_subprocess_exec(*probe, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    size, duration = out.decode().split()
    assert size == "642,402"
    assert float(duration) == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("ffmpeg", ["missing", "without encoders"])
async def test_without_ffmpeg_it_is_an_animated_webp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffmpeg: str) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text('#!/bin/sh\nfor last in "$@"; do :; done\necho half >"$last"\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setattr(qa.screen.video, "find_program", lambda _: None if ffmpeg == "missing" else broken)
    frames = [bar(number, number, (1600, 1000) if number == 2 else (320, 200)) for number in range(5)]
    video = await make_video(taken(tmp_path, frames), tmp_path / "film-web")
    assert video == tmp_path / "film-web.webp"
    with Image.open(video) as film:
        assert (film.size, film.n_frames) == ((800, 500), 5)  # type: ignore[attr-defined]
    assert [one.name for one in tmp_path.iterdir() if one.suffix in (".mp4", ".webm")] == []


async def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "ffmpeg"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(qa.screen.video, "find_program", lambda _: hanging)
    monkeypatch.setattr(qa.screen.video, "LIMIT_S", 0.2)
    shots = taken(tmp_path, [bar(1, 0), bar(2, 1)])
    async with asyncio.timeout(30):
        assert await make_video(shots, tmp_path / "film-web") is None
    assert not list(tmp_path.glob("film-web*"))


def heard(bus: Bus) -> list[Event]:
    events: list[Event] = []
    bus.subscribe(events.append)
    return events


async def test_the_film_of_a_machine_comes_into_the_results_and_nothing_else_stays(tmp_path: Path) -> None:
    folder, work = ResultsFolder.create(tmp_path / "out", "x"), tmp_path / "work"
    films = Films(folder, Bus(), work)
    began = LONG_AGO - 2.0
    async with films.of("web", "3.1-upgrade now") as film:
        assert film
        film.see(bar(1, 0.0))
        film.see(bar(2, 1.5))
    result = films.takes[0].result(folder, began)
    assert (result.machine, result.branch, result.file, result.seen) == (
        "web",
        "3.1-upgrade now",
        "film-web-3.1-upgrade-now.mp4",
        2,
    )
    assert [(frame.at, frame.file) for frame in result.frames] == [
        (2.0, "film/web-3.1-upgrade-now/0000.png"),
        (3.5, "film/web-3.1-upgrade-now/0001.png"),
    ]
    assert all(folder.find(name) for name in (result.file, *(frame.file for frame in result.frames)))
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("frames", [[], [bar(1, 0.0)], [bar(1, 0.0), bar(1, 9.0)]], ids=["none", "one", "the same"])
async def test_a_screen_that_never_changed_has_no_film(tmp_path: Path, frames: list[Frame]) -> None:
    folder = ResultsFolder.create(tmp_path / "out", "x")
    films = Films(folder, Bus(), tmp_path / "work")
    async with films.of("web") as film:
        assert film
        for frame in frames:
            film.see(frame)
    assert films.takes == []
    assert not (folder.path / "film").exists()


async def test_a_film_that_cannot_be_kept_is_told_and_the_machines_error_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bus = ResultsFolder.create(tmp_path / "out", "x"), Bus()
    events = heard(bus)
    films = Films(folder, bus, tmp_path / "work")

    def full(*_: Any) -> None:
        (folder.path / "film" / "web").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("qa.scenario.filming.cut_film", full)

    async def machine() -> None:
        async with films.of("web") as film:
            assert film
            film.see(bar(1, 0.0))
            film.see(bar(2, 1.0))
            raise RuntimeError("of the machine")

    with pytest.raises(RuntimeError, match="of the machine"):
        await machine()
    assert films.takes == []
    assert [event.message for event in events if isinstance(event, Notice)] == [
        "there is no film of web: No space left on device"
    ]
    assert not (folder.path / "film" / "web").exists()
    assert list((tmp_path / "work").iterdir()) == []


async def test_without_films_there_is_none(tmp_path: Path) -> None:
    async with Films(ResultsFolder.create(tmp_path, "x"), Bus(), tmp_path, wanted=False).of("web") as film:
        assert film is None
