"""Reading a full text console: characters wrong, and time, against tesseract on the same frames."""

from __future__ import annotations

import random
import string
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.measure import Row, Subject, take_turns
from qa.machine import Machine
from qa.screen.frames import Frame
from qa.screen.text import Box, ScreenText, read_console_grid
from qa.screen.text.tesseract import WAYS, find_tesseract, recognise
from tools.grub_disk import kernel_disk

CELL = (8, 16)
ALPHABET = string.ascii_letters + string.digits + string.punctuation
LARGE = "1024x768"
"""A screen for 128x48 characters; the built-in guest's own has 100x37."""


@dataclass(frozen=True)
class Page:
    """What was printed, and the frame that shows it."""

    rows: Sequence[str]
    frame: Frame


async def print_page(running: Machine, columns: int, rows: int, seed: int) -> Page:
    """Fill a console of that size in the corner of the guest's with random words."""
    rng = random.Random(seed)
    lines = [_line(rng, columns) for _ in range(rows)]
    text = "".join(f"\033[{number};1H{line}" for number, line in enumerate(lines, 1))
    with tempfile.NamedTemporaryFile() as file:
        file.write(f"\033c\033%G\033[?25l{text}".encode())
        file.flush()
        await running.copy_to(Path(file.name), "/root/page")
    await running.succeed("cat /root/page > /dev/tty1")
    frame = await running.grab()
    width, height = columns * CELL[0], rows * CELL[1]
    pixels = frame.rgb[:height, :width].tobytes()
    return Page(lines, Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + pixels))


def _line(rng: random.Random, columns: int) -> str:
    """Words of one to twelve characters that fill a line, so that spaces are read too."""
    line = ""
    while len(line) < columns:
        line += "".join(rng.choices(ALPHABET, k=rng.randint(1, 12))) + " "
    return f"{line[: columns - 1]}{rng.choice(ALPHABET)}"


def wrong_exactly(page: Page) -> int:
    """Cells that were read as something else."""
    grid = read_console_grid(page.frame)
    if grid is None:
        return sum(map(len, page.rows))
    columns = len(page.rows[0])
    pairs = ((line, row.ljust(columns)) for line, row in zip(page.rows, grid.rows, strict=True))
    return sum(one != other for line, row in pairs for one, other in zip(line, row, strict=True))


def wrong_at_least(page: Page, text: ScreenText) -> int:
    """Characters that are missing or wrong, line by line; spaces do not count."""
    found = [""] * len(page.rows)
    for line in text.lines:
        for word in line:
            found[min(word.box.center[1] // CELL[1], len(found) - 1)] += word.text
    wrong = 0
    for row, read in zip(page.rows, found, strict=True):
        expected = row.replace(" ", "")
        matcher = SequenceMatcher(None, expected, read, autojunk=False)
        wrong += max(len(expected), len(read)) - sum(block.size for block in matcher.get_matching_blocks())
    return wrong


async def measure(*, short: bool) -> list[Row]:
    """A classic console, and a large one."""
    with tempfile.TemporaryDirectory() as folder:
        async with machine("builtin", network="none") as running:
            builtin = running.image.path
            if short:
                return await _measure(running, 40, 12, pages=1, rounds=1)
            rows = await _measure(running, 80, 25, pages=3, rounds=5)
        disk = kernel_disk(Path(folder), builtin, LARGE)
        async with machine(str(disk), network="none", channel="shell", seed=False) as running:
            return rows + await _measure(running, 128, 48, pages=3, rounds=5)


async def _measure(running: Machine, columns: int, lines: int, *, pages: int, rounds: int) -> list[Row]:
    """``pages`` are read to count what is wrong, and the last of them ``rounds`` times for the time."""
    printed = [await print_page(running, columns, lines, seed) for seed in range(pages)]
    group, page = f"a console of {columns}x{lines}", printed[-1]
    whole = Box(0, 0, page.frame.width, page.frame.height)

    async def exactly() -> object:
        return read_console_grid(Frame(page.frame.width, page.frame.height, page.frame.ppm))

    characters = sum(len(row.replace(" ", "")) for one in printed for row in one.rows)
    ways = WAYS[:2] if find_tesseract() else ()
    subjects: dict[str, Subject] = {"glyph by glyph": exactly}
    for way in ways:
        subjects[f"tesseract, the picture {way}"] = partial(recognise, page.frame, whole, way)
    rows = await take_turns(f"{group}: time", subjects, rounds)
    rows.append(_wrong(group, "glyph by glyph", sum(map(wrong_exactly, printed)), characters, ratio=1.0))
    for way in ways:
        wrong = 0
        for one in printed:
            wrong += wrong_at_least(one, ScreenText(await recognise(one.frame, whole, way) or (), "tesseract"))
        rows.append(_wrong(group, f"tesseract, the picture {way}", wrong, characters))
    return rows


def _wrong(group: str, subject: str, wrong: int, characters: int, ratio: float | None = None) -> Row:
    return Row(f"{group}: wrong", subject, wrong, "characters", ratio, f"of {characters}")
