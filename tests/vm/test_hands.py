"""Hands on a real guest: texts arrive whole, keys are never stuck, and what cannot be done is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original

from qa.errors import ChannelLost, CheckFailed, DeadlineExceeded, MachineOff, QemuExited
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


def some_text(length: int) -> str:
    chance = random.Random(length)
    return "".join("\n" if chance.random() < 0.02 else chr(chance.randrange(33, 127)) for _ in range(length - 1)) + "\n"


async def written(vm: Driven, size: int) -> str:
    """What ``cat`` has written, once it has ended."""
    await vm("wait_until_succeeds", f"[ $(wc -c < /tmp/typed) -ge {size} ]", timeout=5)
    return (await vm("succeed", "cat /tmp/typed")).stdout_text


async def test_a_long_text_arrives_and_is_seen_whatever_else_the_guest_does(vm: Driven) -> None:
    await vm("execute", "(while :; do :; done) >/dev/null 2>&1 &")
    text = some_text(2000)
    assert await vm("send_chars", "cat > /tmp/typed\n") == "17 characters, 16 of them seen on the screen"
    plain = len(text) - text.count("\n")
    assert await vm("send_chars", text) == f"2000 characters, {plain} of them seen on the screen"
    await vm("send_key", "ctrl-d")
    assert await written(vm, len(text)) == text


async def test_two_texts_at_once_arrive_one_after_the_other_also_around_a_snapshot(vm: Driven) -> None:
    await vm("send_chars", "cat > /tmp/typed\n")
    texts = [letter * 300 + "\n" for letter in "aB"]
    typing = [asyncio.create_task(vm("send_chars", text, verify=False, rate=200)) for text in texts]
    for number in range(3):
        await vm("snapshot", f"point {number}")
    await asyncio.gather(*typing)
    await vm("send_key", "ctrl-d")
    assert await written(vm, 602) == "".join(texts)


async def test_a_text_that_is_given_up_leaves_no_key_down(vm: Driven) -> None:
    await vm("send_chars", "cat > /tmp/typed\n")
    typing = asyncio.create_task(vm("send_chars", "A" * 5000, verify=False, rate=500))
    await vm("wait_for_file", "/tmp/typed")
    typing.cancel()
    await asyncio.wait({typing})
    await vm("send_chars", "\nlower case\n")
    await vm("send_key", "ctrl-d")
    came = await written(vm, 12)
    assert came.strip("A") == "\nlower case\n"


async def test_keys_many_times_and_held(vm: Driven) -> None:
    await vm("send_chars", "cat > /tmp/typed\n")
    await vm("send_key", "x", times=50)
    await vm("send_key", "left", hold="10ms")
    await vm("send_key", "shift-y")
    await vm("send_key", "ret")
    await vm("send_key", "ctrl-d")
    came = await written(vm, 52)
    assert came.replace("\x1b[D", "") == "x" * 50 + "Y\n"


async def test_what_is_not_shown_is_told_where_it_must_be(vm: Driven) -> None:
    await vm("send_chars", "read -s secret; echo got $secret > /tmp/typed\n")
    assert await vm("send_chars", "Passw0rd\n") == "9 characters"
    assert await written(vm, 12) == "got Passw0rd\n"
    await vm("send_chars", "read -s secret\n")
    with pytest.raises(CheckFailed, match="not on the screen as it was typed"):
        await vm("send_chars", "Passw0rd\n", verify=True)


async def test_a_machine_that_is_paused_or_off_takes_no_keys(vm: Driven) -> None:
    await vm("pause")
    for verb, value in (("send_chars", "x"), ("send_key", "a"), ("click", {"at": [1, 1]})):
        with pytest.raises(MachineOff, match="vm is paused"):
            await vm(verb, value)
    await vm("resume")
    typing = asyncio.create_task(vm("send_chars", "x" * 5000, verify=False, rate=100))
    await vm("send_console", "\n")
    vm.machine._on().process.kill()
    with pytest.raises(QemuExited):
        await typing


async def test_a_reset_ends_a_text(vm: Driven) -> None:
    typing = asyncio.create_task(vm("send_chars", "x" * 5000, verify=False, rate=100))
    await vm("execute", "true")
    await vm.machine._on().monitor.execute("system_reset")
    with pytest.raises(ChannelLost, match="the guest was reset when"):
        await typing


async def test_a_guest_without_a_pointer_says_so(vm: Driven) -> None:
    vm.machine._on().mouse._factor = 0.1
    with pytest.raises(DeadlineExceeded, match="look at its pointer") as caught:
        await vm("click", at=[10, 10])
    assert caught.value.hint
    assert "USB tablets" in caught.value.hint
