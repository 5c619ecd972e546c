"""Hands on a desktop: every character of a layout against the keyboard maps of X, and the mouse to the pixel."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.paths import Paths
from qa.screen.layouts import LayoutName, load_layout

pytestmark = pytest.mark.asyncio(loop_scope="module")

X = "DISPLAY=:5 LC_ALL=C.UTF-8 "
NAME_IN_X = {"uk": "gb"}


async def start_x(vm: Driven) -> None:
    """A display server without a window manager: the window under the pointer has the keyboard."""
    await vm("succeed", "systemctl stop xdm; (setsid Xorg :5 vt7 -ac -noreset -nolisten tcp >/dev/null 2>&1 &)")
    await vm("wait_until_succeeds", f"{X} setxkbmap us")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    async with original(shared_home, folder, "desktop", prepare=start_x, network="restricted") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def open_terminal(vm: Driven, command: str) -> None:
    """A terminal that fills the screen and runs ``command``, which makes the file /tmp/typed."""
    await vm("succeed", f"({X} setsid xterm -u8 -b 0 -bw 0 +sb -geometry 170x60+0+0 -e sh -c {command!r} >/dev/null 2>&1 &)")
    await vm("wait_for_file", "/tmp/typed")
    await vm("move_mouse", [300, 300])


def all_characters(name: LayoutName) -> str:
    layout = load_layout(name)
    accented = [one for one in map(chr, range(0xC0, 0x100)) if one not in layout.direct and layout.strokes(one)]
    known = [one for one in map(chr, range(0x20, 0x7F)) if one not in layout.direct]
    lines = [*layout.direct, *accented, *known]
    return "".join(lines) + "end\n"


@pytest.mark.parametrize("name", ["us", "uk", "de", "fr", "es"])
async def test_every_character_of_a_layout_is_the_one_that_x_has_there(vm: Driven, name: LayoutName) -> None:
    await vm("succeed", f"{X} setxkbmap {NAME_IN_X.get(name, name)}")
    await open_terminal(vm, "stty -echo; exec cat > /tmp/typed")
    text = all_characters(name)
    assert len(text) > 95
    await vm("send_chars", text, layout=name)
    await vm("wait_until_succeeds", "grep -q 'end$' /tmp/typed", timeout=20)
    assert (await vm("succeed", "cat /tmp/typed")).stdout_text == text


async def test_the_mouse_hits_the_pixel(vm: Driven) -> None:
    """A terminal that tells where it is clicked, in pixels (modes 1000 and 1016 of xterm)."""
    modes = r"\033[?1000h\033[?1016h\033[>1s"  # the last one: told with Shift as well, which else belongs to the terminal
    await open_terminal(vm, rf"stty raw -echo; printf '{modes}'; exec cat > /tmp/typed")
    places = [(1, 2), (17, 33), (400, 299), (511, 512), (767, 600)]
    for x, y in places:
        await vm("click", at=[x, y])
    await vm("click", at=[100, 100], button="right", holding="ctrl-alt")
    await vm("scroll", "up", amount=2, at=[50, 60])
    await vm("scroll", "left", amount=1, at=[70, 80])
    await vm("scroll", "right", amount=3, at=[70, 80])
    await vm("click", at=[200, 210], double=True)
    await vm("drag", **{"from": [10, 10], "to": [90, 95]})
    await vm("wait_until_succeeds", "[ $(tr -cd Mm < /tmp/typed | wc -c) -ge 24 ]", timeout=20)
    told = re.findall(r"\x1b\[<(\d+);(\d+);(\d+)([Mm])", (await vm("succeed", "cat /tmp/typed")).stdout_text)
    events = [(int(button), int(x), int(y), kind) for button, x, y, kind in told]
    dx, dy = events[0][1] - places[0][0], events[0][2] - places[0][1]  # where the terminal begins to count
    assert {dx, dy} <= {-2, -1, 0, 1, 2}
    moved = [(button, x - dx, y - dy, kind) for button, x, y, kind in events]
    assert moved[:10] == [(0, x, y, kind) for x, y in places for kind in "Mm"]
    assert [(one[0] & 3, *one[1:]) for one in moved[10:12]] == [(2, 100, 100, "M"), (2, 100, 100, "m")]
    assert moved[10][0] & (8 + 16) == 8 + 16
    assert [one for one in moved if one[0] == 64] == [(64, 50, 60, "M")] * 2
    assert [one for one in moved if one[0] in (68, 69)] == [(68, 70, 80, "M")] + [(69, 70, 80, "M")] * 3
    assert moved[-6:-2] == [(0, 200, 210, kind) for kind in "MmMm"]
    assert moved[-2:] == [(0, 10, 10, "M"), (0, 90, 95, "m")]


async def test_a_double_click_is_quick_enough_to_be_one(vm: Driven) -> None:
    """A terminal selects a word then, and the middle button types what is selected."""
    await open_terminal(vm, r"printf 'only-one word'; exec cat > /tmp/typed")
    await vm("wait_for_still_screen", "1s")
    await vm("click", at=[66, 6], double=True)
    await vm("click", at=[300, 300], button="middle", stay=True)  # a window has the keyboard while the pointer is over it
    await vm("wait_for_still_screen", "1s")
    await vm("send_key", "ret")
    await vm("wait_until_succeeds", "[ -s /tmp/typed ]", timeout=20)
    assert (await vm("succeed", "cat /tmp/typed")).stdout_text == "word\n"
