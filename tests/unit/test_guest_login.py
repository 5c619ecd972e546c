"""Answers on the serial login, with the kernel talking into them."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from qa.console import SerialConsole
from qa.errors import ChannelLost
from qa.guest.login import _Answer

KERNEL = b"[   42.123456] clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable\r\n"


def encoded(text: bytes) -> bytes:
    return base64.b64encode(text) + b"\r\n" if text else b""


def answer_text(identity: str, stdout: bytes, stderr: bytes, code: int) -> bytes:
    name = identity.encode()
    return b"<%s o>\r\n%s<%s e>\r\n%s<%s %d>\r\n" % (name, encoded(stdout), name, encoded(stderr), name, code)


@pytest.fixture
async def console(tmp_path: Path) -> SerialConsole:
    return SerialConsole(tmp_path / "console.log")


@pytest.mark.parametrize("piece", [1, 7, 4096])
async def test_both_streams_and_the_exit_code_come_out(console: SerialConsole, piece: int) -> None:
    answer = _Answer(console)
    text = answer_text(answer.identity, b"out\x00\xff", b"err\n", 3)
    for start in range(0, len(text), piece):
        console.data_received(text[start : start + piece])
    assert await answer.complete == (3, b"out\x00\xff", b"err\n")


async def test_a_kernel_message_anywhere_in_the_answer_does_not_disturb(console: SerialConsole) -> None:
    whole = answer_text("0" * 12, b"some output", b"", 0)
    for place in range(len(whole) + 1):
        answer = _Answer(console)
        text = answer_text(answer.identity, b"some output", b"", 0)
        console.data_received(text[:place] + KERNEL + text[place:])
        assert await answer.complete == (0, b"some output", b""), f"with the message at {place}"
        answer.close()


async def test_an_answer_that_lost_a_part_is_not_taken_for_a_whole_one(console: SerialConsole) -> None:
    answer = _Answer(console)
    text = answer_text(answer.identity, b"out", b"err", 0)
    console.data_received(text.replace(b"<%s e>" % answer.identity.encode(), b""))
    with pytest.raises(ChannelLost, match="lost a part") as caught:
        await answer.complete
    assert f"<{answer.identity} 0>" in caught.value.evidence["the end of what came"]


async def test_output_that_is_cut_in_the_middle_is_not_taken_for_whole(console: SerialConsole) -> None:
    answer = _Answer(console)
    text = answer_text(answer.identity, b"a longer output", b"", 0)
    console.data_received(text.replace(b"YSBsb25n", b"YSBsb"))
    with pytest.raises(ChannelLost, match="garbled"):
        await asyncio.wait_for(answer.complete, 1)
