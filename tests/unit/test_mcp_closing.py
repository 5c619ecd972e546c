"""The end of a server: what is closed is closed to its end, once, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from qa.mcp import server
from qa.mcp.server import Server


class Closing:
    """A lifespan that closes when it may, and counts how often it was cancelled meanwhile."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may = asyncio.Event()
        self.cancelled = 0
        self.closed = False

    @asynccontextmanager
    async def __call__(self, _: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.begun.set()
            while not self.may.is_set():
                try:
                    await self.may.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
            self.closed = True

    async def serve(self) -> None:
        """As over stdio: a signal cancels the conversation, and the lifespan ends within what was cancelled."""
        with anyio.CancelScope() as talking:
            async with server._in_time(self)(cast("Server[Any]", None)):
                talking.cancel()
                await asyncio.Event().wait()


async def test_closing_is_not_cancelled_and_is_waited_for() -> None:
    closing = Closing()
    serving = asyncio.create_task(closing.serve())
    await closing.begun.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not serving.done()
    closing.may.set()
    await serving
    assert (closing.cancelled, closing.closed) == (0, True)


async def test_closing_that_hangs_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLOSING_LIMIT_S", 0.01)
    closing = Closing()
    await closing.serve()
    assert not closing.closed
    closing.may.set()


async def test_an_error_of_closing_is_told() -> None:
    @asynccontextmanager
    async def broken(_: Any) -> AsyncIterator[None]:
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with server._in_time(broken)(cast("Server[Any]", None)):
            pass
