"""Serving one client over stdin and stdout: it is served until it closes its end, vanishes, or a signal comes, and then all ends.

The protocol's library has a loop for this, of which three things had to change. Signals ended the process without any
clean-up. A reader that waits for input could not be stopped. And a client that asks ``server/discover`` first, to learn which
generation of the protocol is spoken here, could not go on with the older one. The last needs the library's internals, so
its version is pinned.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server._streamable_http_modern import _SingleExchangeDispatchContext
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_error_data, serve_dual_era_loop, serve_one
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.message import SessionMessage
from mcp.shared.transport_context import TransportContext
from mcp_types import ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from qa.mcp.wire import Refused, Wire

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LAST_ANSWERS_S = 2.0
"""Seconds that what was asked before the end of input has to be answered, as in ``echo ... | anima-qa mcp``. A client that has
vanished keeps its machines no longer."""

Incoming = SessionMessage | Exception


def run(server: Server[Any], wire: Wire) -> int:
    """Serve until the end; 0, or 128 and the number of the signal that ended it."""
    return anyio.run(_serve, server, wire)


def leave(status: int) -> None:
    """End this process, without waiting for the threads that still read or write."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


async def _serve(server: Server[Any], wire: Wire) -> int:
    status = 0
    talking = anyio.CancelScope()

    async def watch_signals(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        nonlocal status
        with anyio.open_signal_receiver(*_ENDING) as signals:
            task_status.started()
            async for number in signals:  # a second one finds the clean-up under way, which has its own deadline
                status = status or 128 + number
                talking.cancel()

    async with anyio.create_task_group() as watching:
        await watching.start(watch_signals)
        async with server.lifespan(server) as state:
            with talking:
                await _Talk(server, state, wire).hold()
        watching.cancel_scope.cancel()
    return status


class _Talk:
    """All that is said with one client."""

    def __init__(self, server: Server[Any], state: Any, wire: Wire) -> None:
        self._server = server
        self._state = state
        self._wire = wire
        self._decided = False
        self._unanswered: set[RequestId] = set()
        self._answered = anyio.Event()

    async def hold(self) -> None:
        """Until the client has closed its end, or reads no more."""
        to_server, from_client = anyio.create_memory_object_stream[Incoming](0)
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        all_said = anyio.Event()
        async with anyio.create_task_group() as both:
            both.start_soon(self._hear, to_server)
            both.start_soon(self._say, from_server, all_said, both.cancel_scope)
            await serve_dual_era_loop(
                self._server,
                from_client,
                to_client,
                lifespan_state=self._state,
                init_options=self._server.create_initialization_options(),
            )
            with anyio.move_on_after(LAST_ANSWERS_S):
                await all_said.wait()
            both.cancel_scope.cancel()

    async def _say(
        self, messages: MemoryObjectReceiveStream[SessionMessage], all_said: anyio.Event, everything: anyio.CancelScope
    ) -> None:
        async with messages:
            async for message in messages:
                try:
                    await self._wire.send(message.message)
                except OSError:
                    everything.cancel()
                if isinstance(message.message, JSONRPCResponse | JSONRPCError):
                    self._unanswered.discard(message.message.id)
                    self._answered.set()
        all_said.set()

    async def _hear(self, server: MemoryObjectSendStream[Incoming]) -> None:
        async with server:
            async for message in self._wire.messages():
                if isinstance(message, Refused):
                    await self._answer(message.answer)
                elif self._is_question_before_all(message):
                    await self._answer(await self._discover(message))
                else:
                    self._expect(message)
                    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                        await server.send(SessionMessage(message))
            with anyio.move_on_after(LAST_ANSWERS_S):  # the library drops what is under way when its input ends
                while self._unanswered:
                    self._answered = anyio.Event()
                    await self._answered.wait()

    def _expect(self, message: JSONRPCMessage) -> None:
        """Note which answers are to come: what the client cancels has none."""
        if isinstance(message, JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._unanswered.discard((message.params or {}).get("requestId"))

    async def _answer(self, message: JSONRPCMessage) -> None:
        with suppress(OSError):
            await self._wire.send(message)

    def _is_question_before_all(self, message: JSONRPCMessage) -> bool:
        """Whether the client only asks what is spoken here: its first request after that decides on the generation."""
        if self._decided or not isinstance(message, JSONRPCRequest):
            return False
        self._decided = message.method != "server/discover"
        return not self._decided

    async def _discover(self, request: JSONRPCMessage) -> JSONRPCMessage:
        assert isinstance(request, JSONRPCRequest)
        route = classify_inbound_request({"method": request.method, "params": request.params})
        if isinstance(route, InboundLadderRejection):
            error = ErrorData(code=route.code, message=route.message, data=route.data)
            return JSONRPCError(jsonrpc="2.0", id=request.id, error=error)
        context = _SingleExchangeDispatchContext(
            transport=TransportContext(kind="stdio", can_send_request=False), request_id=request.id, message_metadata=None
        )
        connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
        try:
            result = await serve_one(
                self._server, context, request.method, request.params, connection=connection, lifespan_state=self._state
            )
        except Exception as error:  # whatever it was, the client gets an answer
            return JSONRPCError(jsonrpc="2.0", id=request.id, error=modern_error_data(error))
        return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)
