"""Tools on machines that are not there: what is done as which call, and what becomes of long work."""

from __future__ import annotations

import asyncio
import io
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from desks import PlayedMachine, played
from PIL import Image

from qa.config import Config
from qa.errors import UsageError
from qa.mcp import pictures
from qa.mcp.call import Call
from qa.mcp.grants import Offer
from qa.mcp.offering import Offered
from qa.mcp.server import Office
from qa.mcp.tool import Reply
from qa.operations.calls import Caller
from qa.operations.gate import Gate
from qa.operations.jobs import Job, Jobs
from qa.paths import Paths
from qa.screen.frames import Frame


class Agent:
    """Calls tools of an office with the machine vm1."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.told: list[str] = []

    @property
    def machine(self) -> Any:
        return self.office.desk.get("vm1", "agent").machine

    def call(self) -> Call:
        async def tell(_: float, message: str) -> None:
            self.told.append(message)

        return Call(Caller("mcp", "agent"), self.office, tell)

    async def __call__(self, tool: str, **given: Any) -> Reply:
        one, call = self.office.offered.tools[tool], self.call()
        arguments = one.parse(given)
        one.facts(call, arguments)
        return await one.run(call, arguments)


@pytest.fixture
async def agent(home: Paths) -> AsyncIterator[Agent]:
    desk, _ = played(home)
    gate = Gate.open()
    async with Jobs() as jobs, desk:
        await desk.boot("agent", "builtin")
        yield Agent(Office(desk, jobs, gate, home, Config(), Offered.by(Offer("full"), gate), "stdio"))


# files


async def copies_out(self: Any, source: str, final: Path, timeout: float) -> None:
    """A folder with what is in the guest now."""
    final.mkdir(parents=True, exist_ok=True)
    (final / "file").write_text(source)


async def test_a_folder_is_copied_out_again_to_its_own_place(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(PlayedMachine, "copy_out", copies_out, raising=False)
    for target in (None, str(tmp_path / "folder") + "/", str(tmp_path)):
        first = await agent("vm_copy", vm="vm1", direction="from_vm", source="/root/in", target=target)
        again = await agent("vm_copy", vm="vm1", direction="from_vm", source="/root/in", target=target)
        assert (first.data["target"], Path(first.data["target"]).name) == (again.data["target"], "in")
        assert [path.name for path in Path(again.data["target"]).iterdir()] == ["file"]


async def test_a_link_that_leads_nowhere_is_copied_out_and_counts_itself(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    async def copy_out(_: Any, source: str, final: Path, timeout: float) -> None:
        final.mkdir(parents=True) if source == "/in" else final.parent.mkdir(exist_ok=True)
        (final / "way" if source == "/in" else final).symlink_to("nowhere")

    monkeypatch.setattr(PlayedMachine, "copy_out", copy_out, raising=False)
    for source in ("/way", "/in"):
        reply = await agent("vm_copy", vm="vm1", direction="from_vm", source=source)
        assert reply.data["bytes"] == len("nowhere")


# the console


@pytest.fixture
def log(agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the machine's console has printed. No test lasts so long that its end is old."""
    monkeypatch.setattr("qa.mcp.tools.console._GOES_ON_S", 600)
    agent.machine.console_log = tmp_path / "console.log"
    agent.machine.console_log.touch()
    return tmp_path / "console.log"


def told_of(reply: Reply) -> tuple[str, int, int]:
    return reply.data["text"], reply.data["cursor"], reply.data.get("skipped_bytes", 0)


async def test_lines_of_the_console_that_are_not_given_are_counted(agent: Agent, log: Path) -> None:
    lines = [f"line {number} größer" for number in range(500)]
    printed = "".join(f"{line}\r\n" for line in lines).encode()
    log.write_bytes(printed)
    text, cursor, skipped = told_of(await agent("vm_console", vm="vm1", cursor=10))
    assert (text.split("\n"), cursor) == (lines[-50:], len(printed))
    assert printed[10 + skipped :].decode().split() == " ".join(lines[-50:]).split()
    assert told_of(await agent("vm_console", vm="vm1", cursor=0, lines=500)) == ("\n".join(lines), len(printed), 0)
    assert told_of(await agent("vm_console", vm="vm1", cursor=cursor)) == ("", len(printed), 0)
    assert told_of(await agent("vm_console", vm="vm1", cursor=cursor + 7)) == ("", len(printed), 0)


async def test_who_reads_the_console_piece_by_piece_reads_it_whole(agent: Agent, log: Path) -> None:
    printed = "größer \x1b[1;31m€ \x1b]0;title\x1b\\😀\x1b(B end".encode()
    whole, cursor = "", 0
    for length in range(len(printed) + 1):
        log.write_bytes(printed[:length])
        text, cursor, skipped = told_of(await agent("vm_console", vm="vm1", cursor=cursor))
        assert skipped == 0
        whole += text
    assert (whole, cursor) == ("größer € 😀 end", len(printed))


async def test_a_first_look_at_the_console_ends_before_half_a_letter(
    agent: Agent, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: Any, **__: Any) -> str:
        return "shown"

    monkeypatch.setattr("qa.mcp.tools.console.perform", read)
    log.write_bytes("login: é".encode()[:-1])
    first = await agent("vm_console", vm="vm1")
    assert (first.data["text"], first.data["cursor"]) == ("shown", 7)


@pytest.mark.parametrize(("rest", "shown"), [(b"\xe9", "\ufffd"), (b"\x1b[31", "31"), (b"\x1b", "")])
async def test_what_does_not_go_on_for_long_is_not_held_back(agent: Agent, log: Path, rest: bytes, shown: str) -> None:
    log.write_bytes(b"caf" + rest)
    assert told_of(await agent("vm_console", vm="vm1", cursor=0)) == ("caf", 3, 0)
    os.utime(log, (0, time.time() - 3600))
    assert told_of(await agent("vm_console", vm="vm1", cursor=3)) == (shown, 3 + len(rest), 0)


async def test_of_a_long_line_on_the_console_whole_letters_are_given(agent: Agent, log: Path) -> None:
    log.write_bytes("€".encode() * 40_000 + b"\nends")
    text, cursor, skipped = told_of(await agent("vm_console", vm="vm1", cursor=1))
    assert (cursor, (1 + skipped) % 3) == (120_005, 0)
    assert "\ufffd" not in text
    assert text.endswith("€\nends")


# pictures


def noise(width: int, height: int) -> Frame:
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + random.Random(1).randbytes(3 * width * height))


async def look(agent: Agent, **wished: Any) -> tuple[int, int] | None:
    """The size of the picture; None where the screen is said to be unchanged."""
    reply = await agent("vm_screenshot", vm="vm1", **wished)
    assert reply.text is not None
    if not reply.pictures:
        assert "unchanged since the last picture" in reply.text
        return None
    with Image.open(io.BytesIO(reply.pictures[0])) as picture:
        return picture.size


async def test_a_larger_picture_of_an_unchanged_screen_is_given(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlayedMachine, "grab", lambda _: asyncio.sleep(0, noise(400, 300)), raising=False)
    assert await look(agent, scale=0.25) == (100, 75)
    assert await look(agent, scale=0.25) is None
    assert await look(agent) == (400, 300)
    assert await look(agent) is None
    assert await look(agent, scale=1.5) == (600, 450)
    assert await look(agent, scale=0.5) is None  # it is all in the larger one
    assert await look(agent, scale=0.5, again=True) == (200, 150)
    assert await look(agent, region=[0, 0, 50, 50]) == (100, 100)


async def test_an_unchanged_screen_whose_picture_was_made_smaller_to_fit_is_told_in_words(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 20_000)
    monkeypatch.setattr(PlayedMachine, "grab", lambda _: asyncio.sleep(0, noise(400, 300)), raising=False)
    first = await look(agent)
    assert first is not None
    assert first < (300, 225)
    assert await look(agent) is None
    assert await look(agent, scale=0.1) is None
    assert await look(agent, scale=0.9) is not None  # it may have been made less small
    assert await look(agent, scale=0.9) is None


# long work


async def test_a_cursor_into_a_job_without_output_lets_everything_else_go_on(agent: Agent) -> None:
    gone_on = asyncio.Event()

    async def work(_: Job) -> Reply:
        await asyncio.sleep(0.01)
        gone_on.set()
        return Reply({"done": True})

    job = agent.call().start("work", work)
    reply = await agent("vm_wait", job=job.id, cursor=0, wait_s=10)
    assert (reply.data["done"], gone_on.is_set(), agent.told) == (True, True, [])


class Slow:
    """Stands for verbs of a machine, and takes its time."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may = asyncio.Event()
        self.cleaned = asyncio.Event()
        self.cleaned.set()

    async def __call__(self, *_: Any, **__: Any) -> str:
        self.begun.set()
        try:
            await self.may.wait()
        finally:
            await self.cleaned.wait()
        return "login:"


@pytest.mark.parametrize(
    ("tool", "arguments", "verb"),
    [
        ("vm_input", {"text": "x" * 20_000}, "send_chars"),
        ("vm_input", {"click_on": "OK"}, "click"),
        ("vm_input", {"power": "boot"}, "boot"),
        ("vm_console", {"wait_for": "login:", "timeout_s": 600}, "wait_for_console_text"),
        ("vm_console", {"send": "\n", "wait_for": "login:", "timeout_s": 600}, "converse"),
    ],
)
async def test_what_takes_long_becomes_a_job(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], verb: str
) -> None:
    slow = Slow()
    for module in ("hands", "console"):
        monkeypatch.setattr(f"qa.mcp.tools.{module}.perform", slow)
    monkeypatch.setattr(PlayedMachine, "converse", slow, raising=False)
    monkeypatch.setattr(PlayedMachine, "grab", lambda _: asyncio.sleep(0), raising=False)
    monkeypatch.setattr("qa.mcp.tools.hands._view", lambda *_: None)
    reply = await agent(tool, vm="vm1", **arguments, wait_s=0)
    assert reply.data["state"] == "running"
    await asyncio.wait_for(slow.begun.wait(), 20)
    cancelled = await agent("vm_wait", job=reply.data["job"], cancel=True)
    assert cancelled.data["state"] == "cancelled"


async def test_destroying_a_machine_that_does_not_go_becomes_a_job(home: Paths) -> None:
    desk, host = played(home)
    gate = Gate.open()
    async with Jobs() as jobs, desk:
        await desk.boot("agent", "builtin")
        agent = Agent(Office(desk, jobs, gate, home, Config(), Offered.by(Offer(), gate), "stdio"))
        host.slow_end.clear()
        busy = jobs.start("agent", "work", Slow(), vm="vm1")
        first = await agent("vm_destroy", vm="vm1", wait_s=0)
        second = await agent("vm_destroy", vm="vm1", wait_s=0)
        host.slow_end.set()
        for begun in (first, second):
            assert (await agent("vm_wait", job=begun.data["job"])).data["state"] == "destroyed"
        assert busy.state == "cancelled"


async def test_a_job_that_does_not_end_when_it_is_cancelled_is_not_waited_for(agent: Agent) -> None:
    slow = Slow()
    slow.cleaned.clear()
    job = agent.office.jobs.start("agent", "long", slow)
    await slow.begun.wait()
    reply = await agent("vm_wait", job=job.id, cancel=True, wait_s=0.01)
    assert (reply.data["state"], reply.data["said"]) == ("running", "it is being cancelled")
    slow.cleaned.set()
    assert (await agent("vm_wait", job=job.id, cancel=True)).data["state"] == "cancelled"


async def test_who_follows_a_command_waits_where_it_ends_in_half_a_letter(agent: Agent, tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def work(job: Job) -> Reply:
        assert job.output
        job.output.add(b"caf\xe9")
        await may_end.wait()
        return Reply({})

    job = agent.office.jobs.start("agent", "print", work, output=tmp_path)
    first = await agent("vm_wait", job=job.id, cursor=0)
    assert (first.data["output"], first.data["cursor"]) == ("caf", 3)
    following = asyncio.create_task(agent("vm_wait", job=job.id, cursor=3))
    assert await asyncio.wait({following}, timeout=0.1) == (set(), {following})
    may_end.set()
    last = await following
    assert (last.data["state"], last.data["output"], last.data["cursor"]) == ("done", "\ufffd", 4)


async def test_a_picture_that_came_late_is_picked_up(agent: Agent) -> None:
    async def work(_: Job) -> Reply:
        return Reply(text="vm1: done", pictures=(b"png",))

    job = agent.office.jobs.start("agent", "input", work)
    reply = await agent("vm_wait", job=job.id)
    assert (reply.text, reply.pictures) == ("job1 is done: vm1: done", (b"png",))


async def test_a_click_on_a_text_is_something_to_be_done(agent: Agent) -> None:
    one = agent.office.offered.tools["vm_input"]
    one.facts(agent.call(), one.parse({"vm": "vm1", "click_on": "OK"}))
    with pytest.raises(UsageError, match="nothing is to be done"):
        one.facts(agent.call(), one.parse({"vm": "vm1", "button": "left"}))
