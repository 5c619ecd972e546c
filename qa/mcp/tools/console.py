"""``vm_console``: the serial console, read and typed into."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from qa.console.pieces import cut_letter, last_lines, unfinished
from qa.console.text import plain
from qa.deadline import Deadline
from qa.errors import DeadlineExceeded
from qa.machine import Machine
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.clipping import clip
from qa.mcp.fields import ShortWaitSeconds, TimeoutSeconds, VmName
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import Facts
from qa.operations.vm import Vm
from qa.patterns import compile_pattern

_NEWEST = 64 << 10
"""Bytes of the log that are looked at behind a cursor."""
_GOES_ON_S = 2.0
"""Seconds after which the rest of a letter or an escape sequence is awaited no more: guests print them at once."""

QUIET_S = 0.3
"""Seconds of silence after which a console has answered."""
ANSWERED_S = 5.0
"""Seconds after which a console that does not stop is shown as it is."""


class ConsoleArguments(ToolArguments):
    """See `VmConsole`."""

    vm: VmName
    send: Annotated[str | None, Field(description="Type this first; \\n is Enter")] = None
    wait_for: Annotated[str | None, Field(min_length=1, description="Regex to wait for; with send: in what comes after it")] = (
        None
    )
    timeout_s: TimeoutSeconds = 10
    wait_s: ShortWaitSeconds = LONGEST_WAIT
    lines: Annotated[int, Field(ge=1, le=2000)] = 50
    cursor: Annotated[int | None, Field(ge=0, description="Only what is new since this")] = None


class VmConsole(Tool[ConsoleArguments]):
    """The serial console."""

    name = "vm_console"
    title = "Serial console"
    effect = "read"
    worst = "destroy"
    needs = MappingProxyType({"send": "change"})
    description = "Read the serial console, type into it, wait for a text on it. For boot messages, boot loaders, logins."
    arguments = ConsoleArguments
    verbs = ("read_console", "send_console", "wait_for_console_text")

    def facts(self, call: Call, arguments: ConsoleArguments) -> Facts:
        """See Tool."""
        waits = ("wait_for_console_text",) if arguments.wait_for is not None else ()
        if arguments.send is None:
            return Facts(effect="read", verbs=("read_console", *waits))
        return Facts(typed=(arguments.send,), verbs=("read_console", "send_console", *waits))

    async def run(self, call: Call, arguments: ConsoleArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        if arguments.wait_for is not None:
            compile_pattern(arguments.wait_for)  # a mistake in it is told before anything is typed
        machine = vm.machine
        job = call.start(f"console of {vm.name}", lambda _: _use(vm, machine, arguments), vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


async def _use(vm: Vm, machine: Machine, arguments: ConsoleArguments) -> Reply:
    met: dict[str, Any] = {}
    try:
        if arguments.send is not None and arguments.wait_for is not None:
            met = {"met": True, "found": await machine.converse(arguments.send, arguments.wait_for, arguments.timeout_s)}
        elif arguments.send is not None:
            await _send_and_listen(machine, arguments.send, arguments.timeout_s)
        elif arguments.wait_for is not None:
            found = await perform(machine, "wait_for_console_text", pattern=arguments.wait_for, timeout=arguments.timeout_s)
            met = {"met": True, "found": found}
    except DeadlineExceeded as error:
        met = {"met": False, "why": error.message}
    return Reply({"vm": vm.name, **met, **await _shown(machine, arguments)})


async def _send_and_listen(machine: Machine, text: str, limit_s: float) -> None:
    """Type, and wait until what comes back has stopped, so that the answer is in what is shown. Echo alone is an answer too."""
    news = asyncio.Event()
    with machine.watching_console(lambda _: news.set()):
        await perform(machine, "send_console", text=text)
        deadline = Deadline.after(min(limit_s, ANSWERED_S))
        quiet = QUIET_S * min(machine.setup.factor, 2.0)
        with suppress(TimeoutError):
            while not deadline.expired:
                news.clear()
                await asyncio.wait_for(news.wait(), min(quiet, deadline.remaining))


async def _shown(machine: Machine, arguments: ConsoleArguments) -> dict[str, Any]:
    """What the console shows, or what is new on it, and the cursor for the next look."""
    log = machine.console_log
    begin, data = _newest(log, arguments.cursor or 0)
    end = begin + len(data)
    if arguments.cursor is None:
        text = str(await perform(machine, "read_console", lines=arguments.lines))
        return {"text": clip(text)[0], "cursor": end, "log": str(log)}
    cut = last_lines(data, arguments.lines)
    text = plain(data[cut:]).removesuffix("\n")
    skipped = {"skipped_bytes": begin + cut - arguments.cursor} if begin + cut > arguments.cursor else {}
    return {"text": clip(text)[0], "cursor": end, **skipped, "log": str(log)}


def _newest(log: Path, cursor: int) -> tuple[int, bytes]:
    """What is in the log behind ``cursor``, at most ``_NEWEST`` bytes, and where in it that begins.

    A letter or an escape sequence that is just being printed is left to the next look. One that does not go on is none.
    """
    with log.open("rb") as file:
        now = os.fstat(file.fileno())
        begin = max(min(cursor, now.st_size), now.st_size - _NEWEST)
        file.seek(begin)
        data = file.read(now.st_size - begin)
    if begin > cursor:
        cut = cut_letter(data)
        begin, data = begin + cut, data[cut:]
    if abs(time.time() - now.st_mtime) < _GOES_ON_S:
        data = data[: len(data) - unfinished(data)]
    return begin, data
