"""The films of a run, as ``report.html`` shows them: sharp pictures of what changed, or smaller ones where there is too much."""

from __future__ import annotations

import base64
import io
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa.deadline import format_duration
from qa.report.content import FlatStep
from qa.report.folder import ResultsFolder
from qa.report.moments import Consoles, ran_on
from qa.report.pictures import MAX_PIXELS
from qa.report.text import line_text, one_line
from qa.scenario.results import FilmFrameResult, FilmResult, RunResult, StepResult

if TYPE_CHECKING:
    from PIL import Image

BUDGET = 8 << 20
"""Bytes of all films in a page, as base64, beside those of its screenshots."""

REDUCED = (640, 400)
QUALITY = 50
REDUCED_SIZE = 24_000
"""For films that do not fit: size, quality, and what such a picture of a desktop takes in base64. One sees what happens, but not
every letter."""

Word = tuple[str, str]
"""The word for an outcome, and its tone."""


@dataclass(frozen=True)
class FilmFrame:
    """A part of the screen that changed, drawn over what was there before; and what was run then."""

    url: str
    x: int
    y: int
    width: int
    height: int
    screen_width: int
    screen_height: int
    at: str
    step: str
    anchor: str
    word: str
    tone: str
    note: str
    console: int


@dataclass(frozen=True)
class FilmView:
    """One film.

    Attributes:
        consoles: what the console said last at its pictures, which have their place in this list.
        marks: its failures: where they lie, in percent.
        note: what was left out.
    """

    title: str
    video: str
    frames: list[FilmFrame]
    consoles: list[str]
    marks: list[float]
    note: str


@dataclass(frozen=True)
class Films:
    """All films; and for the index of each step that one shows, its number from 1 and its picture when the step ended, from 0."""

    views: list[FilmView]
    moments: dict[str, tuple[int, int]]


def make_films(
    folder: ResultsFolder,
    result: RunResult,
    flats: list[FlatStep],
    words: Mapping[str, Word],
    consoles: Consoles,
    *,
    budget: int = BUDGET,
) -> Films:
    """The films of ``result``. ``words`` has the word for each step, by its index."""
    views: list[FilmView] = []
    moments: dict[str, tuple[int, int]] = {}
    for film in result.films:
        pictures, note = _pictures(folder, film, budget // len(result.films))
        if len(pictures) < 2:
            continue
        frames = [film.frames[place] for place, *_ in pictures]
        times = [frame.at for frame in frames]
        mine = [flat for flat in flats if ran_on(film.machine, film.branch, flat.step)]
        mine_moments = {flat.step.index: max(0, bisect_right(times, _end(flat.step)) - 1) for flat in mine}
        moments |= {index: (len(views) + 1, place) for index, place in mine_moments.items()}
        log = consoles.get((film.machine, film.branch))
        texts = ["\n".join(line_text(line) for line in log.at(at)) if log else "" for at in times]
        told = list(dict.fromkeys(texts))
        marks = {round(100 * mine_moments[flat.step.index] / (len(frames) - 1), 2) for flat in mine if flat.is_cause}
        views.append(
            FilmView(
                title=one_line(f"{film.machine} in branch {film.branch}" if film.branch else film.machine),
                video=film.file if film.file and folder.find(film.file) else "",
                frames=[
                    _frame(frame, one, _note(frame, before), mine, words, console=told.index(text))
                    for before, frame, one, text in zip([None, *frames], frames, pictures, texts, strict=False)
                ],
                consoles=told,
                marks=sorted(marks),
                note=note,
            )
        )
    return Films(views, moments)


def _end(step: StepResult) -> float:
    return step.started_s + step.duration_s


def _note(frame: FilmFrameResult, before: FilmFrameResult | None) -> str:
    """What the picture alone does not tell: another size of the screen, a display that is off."""
    resized = before is not None and (before.width, before.height) != (frame.width, frame.height)
    size = f"the screen is {frame.width}x{frame.height} now" if resized else ""
    return one_line(", ".join(filter(None, (size, frame.note))))


def _frame(
    frame: FilmFrameResult, picture: _Picture, note: str, steps: list[FlatStep], words: Mapping[str, Word], *, console: int
) -> FilmFrame:
    begun = [flat.step for flat in steps if flat.step.started_s <= frame.at]
    step = begun[-1] if begun else None
    word, tone = words[step.index] if step else ("", "quiet")
    _, url, (x, y, width, height) = picture
    return FilmFrame(
        url=url,
        x=x,
        y=y,
        width=width,
        height=height,
        screen_width=frame.width,
        screen_height=frame.height,
        at=format_duration(frame.at),
        step=one_line(f"{step.index} {step.name}", 120) if step else "",
        anchor=f"step-{step.index}" if step else "",
        word=word,
        tone=tone,
        note=note,
        console=console,
    )


_Picture = tuple[int, str, tuple[int, int, int, int]]
"""The number of the frame, its picture as a data URL, and the part of the screen that it covers."""


def _pictures(folder: ResultsFolder, film: FilmResult, budget: int) -> tuple[list[_Picture], str]:
    """The pictures as they are, or smaller and fewer ones; and a sentence on that."""
    files = [folder.find(frame.file) for frame in film.frames]
    paths = [path for path in files if path]
    if len(paths) < len(files) or any(not 0 < frame.width * frame.height <= MAX_PIXELS for frame in film.frames):
        return [], ""
    size = sum(path.stat().st_size for path in paths) * 4 // 3
    try:
        if size <= budget:
            return _sharp(film, paths), ""
        return _small(film, paths, max(2, budget // REDUCED_SIZE)), "To keep this page small, the film is shown smaller here."
    except (OSError, ValueError, SyntaxError):
        return [], ""


def _sharp(film: FilmResult, paths: list[Path]) -> list[_Picture]:
    from PIL import Image  # noqa: PLC0415 -- the page itself needs it for its screenshots

    found = []
    for number, (frame, path) in enumerate(zip(film.frames, paths, strict=True)):
        with Image.open(path, formats=("PNG",)) as picture:
            width, height = picture.size
        found.append((number, _url("png", path.read_bytes()), (frame.x, frame.y, width, height)))
    return found


def _small(film: FilmResult, paths: list[Path], most: int) -> list[_Picture]:
    """At most ``most`` whole pictures, put together out of the parts."""
    from PIL import Image  # noqa: PLC0415 -- as above

    count = len(paths)
    chosen = {round(number * (count - 1) / (most - 1)) for number in range(most)} if count > most else set(range(count))
    found: list[_Picture] = []
    screen = Image.new("RGB", (1, 1))
    for number, (frame, path) in enumerate(zip(film.frames, paths, strict=True)):
        with Image.open(path, formats=("PNG",)) as part:
            if screen.size != (frame.width, frame.height):
                screen = Image.new("RGB", (frame.width, frame.height))
            screen.paste(part.convert("RGB"), (frame.x, frame.y))
        if number in chosen:
            found.append((number, _reduced(screen), (0, 0, frame.width, frame.height)))
    return found


def _reduced(screen: Image.Image) -> str:
    copy = screen.copy()
    copy.thumbnail(REDUCED)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=QUALITY)
    return _url("jpeg", buffer.getvalue())


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
