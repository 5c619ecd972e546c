"""What is written to a guest, and held back while it is frozen."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from qa.console.outlet import Outlet


class Transport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 17


def opened() -> tuple[Outlet, Transport]:
    outlet, transport = Outlet(), Transport()
    outlet.transport = cast("Any", transport)
    return outlet, transport


def test_what_is_written_goes_at_once() -> None:
    outlet, transport = opened()
    outlet.write(b"a")
    assert (transport.sent, outlet.pending) == ([b"a"], 17)


def test_nothing_goes_to_nobody() -> None:
    outlet, transport = opened()
    transport.closing = True
    outlet.write(b"a")
    outlet.transport = None
    outlet.write(b"a")
    assert (transport.sent, outlet.pending) == ([], 0)


def test_what_is_held_goes_later_and_once() -> None:
    outlet, transport = opened()
    outlet.hold()
    outlet.write(b"a")
    outlet.hold()  # again: what is held stays
    outlet.write(b"b")
    assert transport.sent == []
    outlet.release()
    outlet.release()
    outlet.write(b"c")
    assert transport.sent == [b"ab", b"c"]


def test_with_nothing_held_nothing_is_sent() -> None:
    outlet, transport = opened()
    outlet.hold()
    outlet.release()
    assert transport.sent == []


def test_what_was_held_for_a_machine_that_is_gone_is_dropped() -> None:
    outlet, _ = opened()
    outlet.hold()
    outlet.write(b"a")
    outlet.transport = None
    outlet.release()
    outlet.transport = cast("Any", later := Transport())
    outlet.release()
    assert later.sent == []


async def test_who_waits_until_it_flows_waits_while_it_is_held() -> None:
    outlet, transport = opened()
    await outlet.flowing()
    outlet.hold()
    outlet.write(b"a")
    waiting = asyncio.create_task(outlet.flowing())
    await asyncio.sleep(0)
    assert not waiting.done()
    outlet.release()
    await waiting
    assert transport.sent == [b"a"]
