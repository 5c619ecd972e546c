"""Typing: characters a second that arrive, on a text console and in a terminal of a desktop; each text is compared in the guest.

The pace of openQA stands first: it types 30 characters a second and waits a fixed time after each, because more got lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from benchmarks.measure import Row
from qa.machine import Machine
from qa.qemu.input import key_event, send_input
from qa.screen.layouts import load_layout

OPENQA = 30.0
"""Characters a second; 29.2 were measured of os-autoinst 4.6."""

BLIND = 300.0
"""Characters a second for what is sent without asking the guest: about what it takes when it is asked."""

LETTERS, SHIFTED = string.ascii_lowercase + string.digits + " -=[];',./", string.ascii_uppercase + '!@#$%^&*()_+{}|:"<>?~'

TERMINAL = "su tester -c 'DISPLAY=:0 setsid xterm -geometry 100x40+0+0 >/dev/null 2>&1 &'"


@dataclass
class Typing:
    """What came of several texts: characters a second for each, and how many characters were wrong in all."""

    rates: list[float] = field(default_factory=list)
    characters: int = 0
    wrong: int = 0

    def row(self, group: str, subject: str) -> Row:
        rate = statistics.median(self.rates)
        slowest = f"slowest {min(self.rates):.0f}"
        return Row(group, subject, rate, "characters/s", rate / OPENQA, f"{self.wrong} of {self.characters} wrong, {slowest}")


def some_text(length: int, seed: int) -> str:
    """Lines of 40 to 90 characters; three of ten are shifted."""
    chance = random.Random(seed)
    text = ""
    while len(text) < length:
        line = "".join(chance.choice(SHIFTED if chance.random() < 0.3 else LETTERS) for _ in range(chance.randrange(40, 90)))
        text += line.strip() + "\n"
    return text[: length - 1].rstrip() + "\n"


async def measure_in(machine: Machine, type_text: Callable[[str], Awaitable[object]], *, length: int, times: int) -> Typing:
    """Type ``times`` texts into ``cat``, which runs where the keyboard goes, and compare what it wrote."""
    typing = Typing()
    for seed in range(times):
        text = some_text(length, seed)
        await machine.send_chars("cat > /tmp/typed\n")
        await machine.wait_for_file("/tmp/typed")
        began = time.monotonic()
        await type_text(text)
        typing.rates.append(len(text) / (time.monotonic() - began))
        await machine.send_key("ctrl-d")
        await machine.wait_until_fails("pgrep -x cat || ps | grep -q '[c]at$'")
        typing.characters += len(text)
        typing.wrong += await _wrong(machine, text)
        await machine.succeed("rm /tmp/typed")
    return typing


async def _wrong(machine: Machine, text: str) -> int:
    digest = (await machine.succeed("sha256sum /tmp/typed")).stdout_text.split()[0]
    if digest == hashlib.sha256(text.encode()).hexdigest():
        return 0
    came = (await machine.succeed("cat /tmp/typed")).stdout_text
    same = sum(block.size for block in SequenceMatcher(None, text, came, autojunk=False).get_matching_blocks())
    return max(len(text), len(came)) - same


def blindly(machine: Machine) -> Callable[[str], Awaitable[object]]:
    """Sends keys at a fixed rate, whatever the guest does."""

    async def send(text: str) -> None:
        monitor = machine._on().monitor
        began = time.monotonic()
        for number, strokes in enumerate(load_layout("us").spell(text)):
            await asyncio.sleep(max(0.0, began + number / BLIND - time.monotonic()))
            for keys in strokes:
                down = [key_event(key, down=True) for key in keys]
                await send_input(monitor, down + [key_event(key, down=False) for key in reversed(keys)])

    return send


async def measure(machine: Machine, where: str, *, length: int, times: int) -> list[Row]:
    """Type into whatever has the keyboard of ``machine``: a shell."""
    group = f"typing {where}"
    ours = await measure_in(machine, machine.send_chars, length=length, times=times)
    rows = [Row(group, "openQA's pace", OPENQA, "characters/s", 1.0, "set, not measured"), ours.row(group, "send_chars")]
    blind = await measure_in(machine, blindly(machine), length=length, times=max(1, times // 10))
    return [*rows, blind.row(group, f"keys sent blindly, {BLIND:g} a second")]


async def open_terminal(desktop: Machine) -> None:
    """Log in on the desktop guest, and open a terminal that has the keyboard."""
    await desktop.wait_until_succeeds("pgrep -f xdm && pgrep Xorg")
    await _until_drawn(desktop)
    for _ in range(2):  # the user's name, and the password
        await desktop.send_chars("tester\n")
    await desktop.wait_until_succeeds("pgrep openbox")
    await desktop.wait_for_still_screen()
    await desktop.succeed(TERMINAL)
    await desktop.wait_until_succeeds("pgrep -u tester -x bash")
    await desktop.wait_for_still_screen()
    await desktop.click(at=(300, 300))


async def _until_drawn(desktop: Machine) -> None:
    """Wait for the login window: before it there are only black screens, and consoles with a few lines."""
    while not _is_drawn((await desktop.grab()).pixels):  # noqa: ASYNC110 -- the screen tells nothing by itself
        await asyncio.sleep(0.5)
    await desktop.wait_for_still_screen()


def _is_drawn(pixels: memoryview) -> bool:
    return pixels.tobytes().count(0) < 0.9 * len(pixels)
