"""Plays QEMU's keyboard and a guest with a text console that reads it: what is pressed, what is lost, and what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from qa.errors import QemuFailed
from qa.qemu.input import QUEUE, bytes_of
from qa.qemu.monitor import Monitor
from qa.screen.layouts import LayoutName, load_layout
from qa.screen.text.found import Grid

CURSOR = (8, 16)


class PlayedKeyboard:
    """A monitor with a keyboard behind it that holds 16 bytes, and a guest that takes some each time that it is asked for.

    Attributes:
        events: ``+key`` and ``-key``, in the order in which they came.
        lost: events that found no room.
        on_key: called with each key that the guest reads as it goes down, and with the keys that are down then.
    """

    def __init__(self, *, takes: int = 1000, counts: bool = True, refuse: bool = False) -> None:
        self.events: list[str] = []
        self.lost: list[str] = []
        self.commands: list[list[str]] = []
        self.takes = takes
        self.on_key: Callable[[str, set[str]], None] = lambda _key, _down: None
        self.asked = 0
        self._counts = counts
        self._refuse = refuse
        self._queue: list[str] = []
        self._down: set[str] = set()
        self._taken = 0

    @property
    def monitor(self) -> Monitor:
        return cast("Monitor", self)

    async def execute(self, command: str, arguments: dict[str, Any]) -> None:
        assert command == "input-send-event"
        came = []
        for event in arguments["events"]:
            data = event["data"]
            came.append(("+" if data["down"] else "-") + data["key"]["data"])
        self.events += came
        self.commands.append(came)
        for event_name in came:
            half = bytes_of([event_name[1:]]) // 2
            if len(self._queue) + half > QUEUE:
                self.lost.append(event_name)
            else:
                self._queue += [event_name, *[""] * (half - 1)]
        await asyncio.sleep(0)
        if self._refuse and any(event.startswith("+") for event in came):
            raise QemuFailed("QEMU refused input-send-event")

    async def human(self, line: str) -> str:
        assert line == "info irq"
        self.asked += 1
        for _ in range(min(self.takes, len(self._queue))):
            self._read(self._queue.pop(0))
            self._taken += self._counts
        await asyncio.sleep(0)
        return (
            f"IRQ statistics for ioapic:\r\n 1: {self._taken}\r\n12: 5\r\n" if self._taken else "IRQ statistics for ioapic:\r\n"
        )

    def flush(self) -> None:
        """The guest sets the keyboard up anew."""
        self._queue.clear()

    def _read(self, event: str) -> None:
        if event.startswith("+"):
            self._down.add(event[1:])
            self.on_key(event[1:], set(self._down))
        elif event:
            self._down.discard(event[1:])


class PlayedConsole:
    """A text console that shows what is typed, as a guest's does.

    Attributes:
        typed: characters that the guest has got.
        mangle: makes what arrives of a character: nothing, the same, more.
        echo: whether it is shown.
        blink: the cursor is seen at every so many looks only.
    """

    def __init__(
        self, keyboard: PlayedKeyboard, *, columns: int = 40, rows: int = 10, prompt: str = "$ ", layout: LayoutName = "us"
    ):
        self.typed = ""
        self.lines: list[str] = []
        self.prompt = prompt
        self.mangle: Callable[[str], str] = lambda character: character
        self.echo = True
        self.blink = 1
        self.looks = 0
        self.after_enter: Callable[[str], str] = lambda _line: ""
        self._shown = prompt
        self._line = ""
        self._size = columns, rows
        self._dead = ""
        self._characters = {strokes: one for one in map(chr, range(32, 0x250)) if (strokes := load_layout(layout).strokes(one))}
        keyboard.on_key = self._key

    def _key(self, key: str, down: set[str]) -> None:
        if key in {"shift", "alt_r"}:
            return
        if key == "ret":
            self.typed += "\n"
            self.lines.append(self._line)
            self._shown += "\n" + self.after_enter(self._line) + self.prompt
            self._line = ""
        elif key == "backspace":
            if self._line:
                self._line, self._shown = self._line[:-1], self._shown[:-1]
        elif key == "tab":
            self._take("\t")
        else:
            held = tuple(one for one in ("shift", "alt_r") if one in down)
            self._take(self.mangle(self._characters[((*held, key),)]))

    def _take(self, text: str) -> None:
        self.typed += text
        self._line += text
        if self.echo:
            self._shown += text.replace("\t", "    ")

    async def look(self) -> Grid | None:
        self.looks += 1
        columns, height = self._size
        rows: list[str] = []
        for line in self._shown.split("\n"):
            rows += [line[start : start + columns] for start in range(0, len(line) + 1, columns)]
        cursor = (len(rows[-1]), min(len(rows), height) - 1)
        rows = rows[-height:] + [""] * (height - len(rows))
        seen = cursor if self.looks % self.blink == 0 else None
        return Grid(tuple(row.rstrip(" ") for row in rows), columns, CURSOR, cursor=seen)
