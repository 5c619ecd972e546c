"""The monitor against a QMP server that is played: answers, refusals, silence, death, floods and garbage."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_qmp import Answer, FakeQmp

from qa.errors import QemuExited, QemuFailed
from qa.qemu import monitor as monitor_module
from qa.qemu.forwards import forward_port
from qa.qemu.monitor import Monitor


@asynccontextmanager
async def connected(
    answer: Answer, handler: Callable[[str, dict[str, Any]], None] = lambda _name, _data: None
) -> AsyncGenerator[tuple[Monitor, FakeQmp]]:
    async with FakeQmp(answer) as qemu:
        monitor = Monitor("vm", handler)
        await monitor.connect(qemu.near)
        yield monitor, qemu
        await monitor.disconnect()


async def test_an_answer_is_returned() -> None:
    async with connected(lambda request: {"return": {"status": "running"}}) as (monitor, qemu):
        assert await monitor.execute("query-status") == {"status": "running"}
        assert qemu.requests == ["query-status"]


async def test_arguments_are_sent() -> None:
    async with connected(lambda _: {"return": {}}) as (monitor, qemu):
        await monitor.execute("screendump", {"filename": "/dev/fdset/1"})
        assert qemu.arguments == [{"filename": "/dev/fdset/1"}]


async def test_a_refusal_is_told_in_qemus_words() -> None:
    refusal = {"error": {"class": "GenericError", "desc": "Device 'disk9' not found"}}
    async with connected(lambda _: refusal) as (monitor, _):
        with pytest.raises(QemuFailed, match="QEMU refused eject: Device 'disk9' not found"):
            await monitor.execute("eject")


async def test_a_refusal_does_not_disturb_the_next_command() -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"error": {"class": "GenericError", "desc": "no"}} if request["execute"] == "eject" else {"return": 7}

    async with connected(answer) as (monitor, _):
        with pytest.raises(QemuFailed):
            await monitor.execute("eject")
        assert await monitor.execute("query-status") == 7


async def test_a_command_without_an_answer_ends_at_its_limit() -> None:
    async with connected(lambda _: None) as (monitor, _):
        with pytest.raises(QemuFailed, match=r"did not answer query-status within 0\.05 s"):
            await monitor.execute("query-status", limit=0.05)


async def test_an_answer_that_comes_after_the_limit_is_not_taken_for_the_next_ones() -> None:
    held: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes | dict[str, Any] | None:
        if request["execute"] == "slow":
            held.append(request)
            return None
        late = f'{{"return": "late", "id": "{held[0]["id"]}"}}\r\n'.encode()
        return late + f'{{"return": "mine", "id": "{request["id"]}"}}\r\n'.encode()

    async with connected(answer) as (monitor, _):
        with pytest.raises(QemuFailed):
            await monitor.execute("slow", limit=0.05)
        assert await monitor.execute("quick", limit=5) == "mine"


async def test_death_in_the_middle_of_a_command_is_one_error_of_ours() -> None:
    async with FakeQmp(lambda _: None) as qemu:
        monitor = Monitor("vm", lambda _name, _data: None)
        await monitor.connect(qemu.near)
        running = asyncio.create_task(monitor.execute("query-status"))
        await qemu.came.acquire()
        qemu.die()
        with pytest.raises(QemuExited, match="QEMU of vm is gone, so query-status got no answer"):
            await running
        with pytest.raises(QemuExited, match="is gone"):
            await monitor.execute("query-status")
        with pytest.raises(QemuExited, match="is gone"):
            await monitor.add_descriptor(0)
        await monitor.disconnect()


async def test_all_commands_that_wait_learn_of_the_death() -> None:
    async with FakeQmp(lambda _: None) as qemu:
        monitor = Monitor("vm", lambda _name, _data: None)
        await monitor.connect(qemu.near)
        running = [asyncio.create_task(monitor.execute(f"query-{number}")) for number in range(3)]
        for _ in running:
            await qemu.came.acquire()
        qemu.die()
        assert [type(one) for one in await asyncio.gather(*running, return_exceptions=True)] == [QemuExited] * 3
        await monitor.disconnect()


async def test_death_before_the_greeting() -> None:
    async with FakeQmp(greeting=b"") as qemu:
        monitor = Monitor("vm", lambda _name, _data: None)
        connecting = asyncio.create_task(monitor.connect(qemu.near))
        await asyncio.sleep(0)
        qemu.die()
        with pytest.raises(QemuExited, match="ended while it started"):
            await connecting


@pytest.mark.parametrize("negotiates", [True, False], ids=["no greeting", "no negotiation"])
async def test_a_qemu_that_hangs_while_it_starts(negotiates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "COMMAND_LIMIT", 0.05)
    async with FakeQmp(lambda _: None, greeting=b"" if negotiates else None, negotiates=negotiates) as qemu:
        with pytest.raises(QemuFailed, match=r"did not greet within 0\.05 s"):
            await Monitor("vm", lambda _name, _data: None).connect(qemu.near)


@pytest.mark.parametrize("garbage", [b"\x00\xff\xfe\r\n", b"{nonsense\r\n", b"[1, 2]\r\n", b'{"hello": 1}\r\n'])
async def test_garbage_instead_of_a_greeting(garbage: bytes) -> None:
    async with FakeQmp(greeting=garbage) as qemu:
        with pytest.raises(QemuExited, match="ended while it started"):
            await Monitor("vm", lambda _name, _data: None).connect(qemu.near)


@pytest.mark.parametrize("garbage", [b"\x00\xff\xfe\r\n", b"{nonsense\r\n", b'"text"\r\n'])
async def test_garbage_instead_of_an_answer(garbage: bytes) -> None:
    async with connected(lambda _: garbage) as (monitor, _):
        with pytest.raises(QemuExited, match="got no answer"):
            await monitor.execute("query-status", limit=5)


async def test_events_are_handed_on_in_their_order() -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    async with connected(lambda _: {"return": {}}, lambda name, data: told.append((name, data))) as (monitor, qemu):
        await qemu.tell("RESET", guest=True)
        await qemu.tell("SHUTDOWN", guest=True, reason="guest-shutdown")
        await monitor.execute("query-status")
    assert told == [("RESET", {"guest": True}), ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})]


async def test_a_flood_of_events_leaves_nothing_behind() -> None:
    count = 0

    def handler(name: str, data: dict[str, Any]) -> None:
        nonlocal count
        count += 1

    async with connected(lambda _: {"return": {}}, handler) as (monitor, qemu):
        await qemu.tell("WARM_UP", 200, text="x" * 1000)
        await monitor.execute("query-status")
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await qemu.tell("RTC_CHANGE", 1000, text="x" * 1000)
            await monitor.execute("query-status")
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 1200
    assert after - before < 300_000  # all of them are 1 MB


async def test_a_descriptor_gets_a_name_for_qemu() -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"return": {"fdset-id": 4, "fd": 20}} if request["execute"] == "add-fd" else {"return": {}}

    reading, writing = os.pipe()
    try:
        async with connected(answer) as (monitor, _):
            assert await monitor.add_descriptor(writing) == 4
    finally:
        os.close(reading)
        os.close(writing)


USERNET = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  49       127.0.0.1 40001       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  50       127.0.0.1 40002       10.0.2.15  8080     0     0
  TCP[ESTABLISHED]   51       127.0.0.1 40003       10.0.2.15  8080     0     0
"""


async def test_the_port_that_the_kernel_chose_is_read_from_qemus_table() -> None:
    lines: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        lines.append(request["arguments"]["command-line"])
        return {"return": USERNET if lines[-1].startswith("info") else ""}

    async with connected(answer) as (monitor, _):
        assert await forward_port(monitor, 8080) == 40002
    assert lines[0] == "hostfwd_add net0 tcp:127.0.0.1:0-:8080"


async def test_a_forward_that_qemu_refuses_is_an_error_in_its_words() -> None:
    async with connected(lambda _: {"return": "Could not set up host forwarding rule\r\n"}) as (monitor, _):
        with pytest.raises(QemuFailed, match="port 80 of the guest cannot be forwarded: Could not set up"):
            await forward_port(monitor, 80)


async def test_a_forward_that_is_not_listed_is_an_error_with_the_table() -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"return": USERNET if request["arguments"]["command-line"].startswith("info") else ""}

    async with connected(answer) as (monitor, _):
        with pytest.raises(QemuFailed) as caught:
            await forward_port(monitor, 443)
    assert "40002" in caught.value.evidence["info usernet"]
