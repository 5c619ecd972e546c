"""Needles on the screen of a real guest: seen when they come, and told well when they do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.machine.seeing import NeedleNotSeen
from qa.paths import Paths, data_folder
from qa.screen.needle_file import write_needle

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        vm.machine.setup = replace(vm.machine.setup, needles=(tmp_path, data_folder("screenshots")))
        yield vm


async def test_the_screen_is_seen_before_and_after_it_changes(vm: Driven, tmp_path: Path) -> None:
    welcome = await vm("assert_screen", "builtin-welcome")
    assert [area.similarity for area in welcome.match.areas] == [1.0, 1.0]
    with pytest.raises(NeedleNotSeen, match="needle builtin-cleared was not on the screen within") as caught:
        await vm("assert_screen", "builtin-cleared", timeout=0.1)
    text, rest = caught.value.result.candidates[0].areas
    assert (text.matched, text.y) == (True, 160)  # at the end it is looked for everywhere
    assert (rest.matched, rest.metric) == (False, "exact")
    assert 0.9 < rest.similarity < 1

    await vm("send_chars", "clear\n")
    assert (await vm("wait_for_screen", tag="builtin-shell")).match.name in {"builtin-welcome", "builtin-cleared"}
    cleared = await vm("wait_for_screen", "builtin-cleared")
    assert cleared.match.click_points[""] == (400, 300)

    await vm("succeed", "printf '\\033[?25l\\033[2J\\033[10;11Hmoved' > /dev/tty1")
    area = {"xpos": 76, "ypos": 140, "width": 48, "height": 24, "type": "match", "margin": 0}
    write_needle(tmp_path / "moved.json", {"area": [area], "tags": []}, await vm.machine.grab())
    await vm("succeed", "printf '\\033[2J\\033[20;31Hmoved' > /dev/tty1")  # so far off that only a look everywhere finds it
    moved = (await vm("wait_for_screen", "moved", timeout=5)).match.areas[0]
    assert (moved.x, moved.y, moved.similarity) == (76 + 20 * 8, 140 + 10 * 16, 1.0)


async def test_a_black_screen_is_named(vm: Driven) -> None:
    await vm("succeed", "printf '\\033[?25l\\033[2J' > /dev/tty1")
    with pytest.raises(NeedleNotSeen, match="all black"):
        await vm("assert_screen", "builtin-welcome", timeout=0.5)
