"""Recognising text that is no console's, with tesseract."""

from __future__ import annotations

import asyncio
import csv
import os
import unicodedata
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qa.errors import HostError
from qa.host.helpers import find_program
from qa.images.tools import end_group
from qa.screen.frames import Frame
from qa.screen.text.found import Box, Word

if TYPE_CHECKING:
    from PIL import Image

TIME_LIMIT_S = 60.0
"""Seconds for one look. A screen full of small text takes 5 s on a slow host."""

MOST_PIXELS = 16 * 1024 * 1024
"""A larger picture is not handed over: tesseract would take minutes and gigabytes."""

LANGUAGE = "eng"
"""Packages of tesseract always bring its data for English."""

SURE = 0.3
"""Words of less confidence are not believed: they are icons and frames of windows."""

NARROWEST, LOWEST = 2, 4
"""Pixels: narrower is an edge, and lower are no letters."""
WIDEST = 3
"""Widths of a character, in heights, that are not believed any more."""

Way = Literal["as it is", "enlarged", "inverted"]
WAYS: tuple[Way, ...] = ("as it is", "enlarged", "inverted")
"""What is tried, one after the other: tesseract was made for larger text than screens have, and for dark text on light paper."""

_THRESHOLDS: dict[Way, int] = {"as it is": 1, "enlarged": 1, "inverted": 2}
"""How black and white are told apart: for each part of the picture on its own, since windows differ. On a drawn desktop with
buttons, a panel and a terminal the three ways together find all of 18 words, and with tesseract's default 11. The second method
errs elsewhere than the first."""


def find_tesseract() -> Path | None:
    """The program, if it is installed."""
    return find_program("tesseract")


async def languages(program: Path) -> list[str]:
    """What it has data for, in its own words: eng, deu.

    Raises:
        HostError: it cannot be run.
    """
    listed = (await _say(program, b"", "--list-langs")).splitlines()
    return [line for line in listed if line not in ("", "osd") and " " not in line]  # the first is a heading


async def recognise(frame: Frame, region: Box, way: Way, language: str = LANGUAGE) -> tuple[tuple[Word, ...], ...] | None:
    """The words in a part of a frame, line by line from the top; None where that way makes too large a picture.

    Raises:
        HostError: tesseract or its data for the language is missing, it failed, or it took too long.
    """
    factor = 1 if way == "as it is" else _factor(region)
    if region.width * region.height * factor**2 > MOST_PIXELS:
        return None
    picture = await asyncio.to_thread(_picture, frame, region, factor, inverted=way == "inverted")
    table = await _run(picture, _THRESHOLDS[way], language)
    try:
        return _lines(table, region, factor)
    except (KeyError, TypeError, ValueError) as error:
        raise HostError("tesseract printed something else than a table of words") from error


def _factor(region: Box) -> int:
    """How much a part is enlarged: small parts have small text."""
    return 3 if region.width * region.height < 400_000 else 2


def _picture(frame: Frame, region: Box, factor: int, *, inverted: bool) -> bytes:
    """The part as a grey picture in PGM."""
    from PIL import Image, ImageOps  # noqa: PLC0415 -- costs 60 ms, and consoles are read without it

    whole = Image.frombuffer("RGB", (frame.width, frame.height), bytes(frame.pixels), "raw", "RGB", 0, 1)
    part: Image.Image = whole.crop((region.x, region.y, region.x + region.width, region.y + region.height)).convert("L")
    if inverted:
        part = ImageOps.invert(part)
    if factor > 1:
        part = part.resize((region.width * factor, region.height * factor), Image.Resampling.LANCZOS)
    return b"P5\n%d %d\n255\n" % part.size + part.tobytes()


async def _run(picture: bytes, threshold: int, language: str) -> str:
    """Tesseract's table of a picture."""
    program = find_tesseract()
    if program is None:
        raise HostError("tesseract is not installed")
    if language != LANGUAGE:  # tesseract itself goes on without those that it does not have
        known = await languages(program)
        if missing := [one for one in language.split("+") if one not in known]:
            package = f"tesseract-ocr-{missing[0].rpartition('/')[2].lower().replace('_', '-')}"
            raise HostError(
                f"tesseract has no data for the language {missing[0]}; it has {', '.join(known) or 'none'}",
                hint=f"install its data, which is Debian's package {package}, or name another text_language for the machine",
            )
    how = ("--psm", "11", "--dpi", "96", "-c", f"thresholding_method={threshold}")
    return await _say(program, picture, "stdin", "stdout", "-l", language, *how, "tsv")


async def _say(program: Path, stdin: bytes, *arguments: str) -> str:
    """What tesseract prints."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            # One thread: more make it slower, because they wait for each other.
            env={**os.environ, "OMP_THREAD_LIMIT": "1", "LC_ALL": "C"},
        )
    except OSError as error:
        raise HostError(f"tesseract cannot be run: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            stdout, stderr = await process.communicate(stdin)
    except TimeoutError:
        raise HostError(f"tesseract did not read the screen within {TIME_LIMIT_S:g} s") from None
    finally:
        await asyncio.shield(end_group(process))
    if process.returncode:
        status = process.returncode
        how = f"it was killed by signal {-status}" if status < 0 else f"exit status {status}"
        said = stderr.decode(errors="replace").strip().splitlines() or [how]
        raise HostError(f"tesseract failed: {said[-1]}")
    return stdout.decode(errors="replace")


def _lines(table: str, region: Box, factor: int) -> tuple[tuple[Word, ...], ...]:
    """The words in tesseract's table, in lines from the top."""
    rows = [
        row
        for row in csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        if row["level"] == "5" and (row["text"] or "").strip() and float(row["conf"]) >= 100 * SURE
    ]
    grouped = groupby(rows, key=lambda row: (row["block_num"], row["par_num"], row["line_num"]))
    found = (tuple(filter(_could_be, (_word(row, region, factor) for row in words))) for _, words in grouped)
    lines = [line for line in found if line]
    return tuple(sorted(lines, key=lambda line: (line[0].box.y, line[0].box.x)))


def _could_be(word: Word) -> bool:
    """Whether a word has a shape that text can have: edges of windows are taken for ``|`` and ``=``, pictures for words."""
    width, height = word.box.width, word.box.height
    letters = any(map(str.isalnum, word.text))
    return width >= NARROWEST and width <= WIDEST * max(height, LOWEST) * len(word.text) and (height >= LOWEST or not letters)


def _word(row: dict[str, str], region: Box, factor: int) -> Word:
    left, top, width, height = (int(row[key]) // factor for key in ("left", "top", "width", "height"))
    box = Box(region.x + left, region.y + top, max(width, 1), max(height, 1))
    return Word(unicodedata.normalize("NFC", row["text"].strip()), box, float(row["conf"]) / 100)
