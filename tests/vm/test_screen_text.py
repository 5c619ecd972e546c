"""Text on the screen of a real guest, from power-on to its shell."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.paths import Paths
from qa.screen.text import read_console_grid
from qa.screen.text.fonts import known_fonts

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin", network="none") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def test_what_is_typed_and_answered_is_read_exactly(vm: Driven) -> None:
    await vm("send_chars", "clear; seq -s ' ' 1 60; printf '%s\\n' 'O0 l1I| rn m 5S 8B'\n")
    sight = await vm("wait_for_text", r"59 60\n^O0 l1I\| rn m 5S 8B$", timeout=20)
    assert sight.wanted.endswith(", read exactly")
    text = await vm("read_screen_text")
    assert " ".join(map(str, range(1, 61))) in text.replace("\n", "")
    mark = sight.marks[0]
    region = {"x": 0, "y": mark.y + mark.height - 16, "width": 800, "height": 16}
    assert await vm("read_screen_text", region=region) == "O0 l1I| rn m 5S 8B"


async def test_a_full_screen_in_random_colours_has_no_wrong_character(vm: Driven) -> None:
    """All characters of the kernel's font, except those that in other colours look like others."""
    font = known_fonts()[0]
    twins = set("█▀▄▌▐•◘○◙\ufffd")
    alphabet = [characters[0] for characters in font.glyphs.values() if characters[0] not in twins]
    rng = random.Random(1)
    rows = ["".join(rng.choices(alphabet, k=100)) for _ in range(37)]
    page = "\033c\033%G"
    for number, row in enumerate(rows, 1):
        page += f"\033[{number};1H"
        for character in row:
            ink, paper = rng.sample(range(8), 2)
            page += f"\033[{rng.choice(('0', '0;1', '0;7'))};{30 + ink};{40 + paper}m{character}"
    source = vm.results / "page"
    source.write_text(f"{page}\033[0m\033[20;50H", encoding="utf-8")
    await vm("copy_to", {"source": str(source), "target": "/root/page"})
    await vm("succeed", "cat /root/page > /dev/tty1")
    grid = read_console_grid(await vm.machine.grab())
    assert grid is not None
    assert (grid.font, grid.unknown) == (font.name, 0)
    assert list(grid.rows) == [row.rstrip(" ") for row in rows]


async def test_a_text_is_waited_for_through_firmware_loader_and_kernel(vm: Driven) -> None:
    """The screen changes its size and its font on the way."""
    await vm("crash")
    await vm("boot", {"wait": False})
    await vm("wait_for_text", "This is a root shell: type a command", timeout=60)
    frame = await vm.machine.grab()
    assert (frame.width, frame.height) == (800, 600)
