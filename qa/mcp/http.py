"""Serving many clients over HTTP, behind checks of their own for every path and on every address."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from qa import __version__
from qa.errors import HostError, UsageError
from qa.host.peers import why_foreign
from qa.mcp.address import Address
from qa.mcp.wire import Refused, as_line, parse

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

GRACE_S = 2
"""Seconds that running calls have to end when the server stops."""

LONGEST_BODY = 4 << 20
"""Bytes, as the library has it."""

_FOREIGN = "anima-qa foreign"
"""Why the client of a connection is not taken for its user's program, in the state of its requests."""

SESSION_IDLE_S = 1800.0
"""Seconds without a request after which a client of the older generation counts as gone, and its machines and jobs end."""

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Doorkeeper:
    """Lets in who may come in: by the name that the client used for this server, by the page that sent it, by its token.

    A browser can be made to talk to any address by a page from anywhere. Such a request tells the page's own name in ``Origin``,
    and where the page's name was turned to this address, its name in ``Host``. So only names of this server count. An
    address in figures cannot have been turned, so where the server can be reached at several, each counts as a ``Host``.

    What is no browser can write anything there. Without a token it counts who has connected: see `_Connection`.

    Attributes:
        names: of this server.
        proxies: names that its user has allowed: pages of these may use it under another name.
        anywhere: it can be reached at addresses that are not known here.
        guarded: connections that a program of its user has not made are refused.
    """

    app: ASGIApp
    names: frozenset[str]
    token: str | None
    proxies: frozenset[str] = frozenset()
    anywhere: bool = False
    guarded: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and (refused := self._refuse(Request(scope))):
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refuse(self, request: Request) -> JSONResponse | None:
        headers = request.headers
        if self.guarded and (foreign := request.scope["state"][_FOREIGN]):
            hint = "start the server with --token-file FILE, and show the token, to use it from there"
            return _no(403, f"{foreign}, and without a token this server is for programs of the user who started it: {hint}")
        if len(headers.getlist("host")) != 1 or not self._is_ours(headers.get("host", "")):
            hint = "use its address, or start it with --allow-host NAME"
            return _no(421, f"this server does not go by the name in Host: {hint}")
        if (origin := headers.get("origin")) is not None and not self._is_own_page(origin, headers["host"]):
            return _no(403, "pages of other origins may not use this server")
        if self.token is not None and request.url.path != "/health" and not self._has_token(headers.get("authorization", "")):
            return _no(401, "a bearer token is needed: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
        return None

    def _is_ours(self, host: str) -> bool:
        name = _host_of(f"//{host}")
        return name in self.names or (self.anywhere and _is_figures(name))

    def _is_own_page(self, origin: str, host: str) -> bool:
        return origin.partition("://")[2].lower() == host.lower() or _host_of(origin) in self.proxies

    def _has_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        assert self.token is not None
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())


@dataclass(frozen=True)
class Reader:
    """Reads messages before the library does, so that what is none gets the error that JSON-RPC has for it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_json(Request(scope)):
            await self.app(scope, receive, send)
            return
        body, whole = bytearray(), False
        while not whole:
            piece = await receive()
            if piece["type"] != "http.request":
                return  # the client has gone
            body += piece.get("body", b"")
            whole = not piece.get("more_body", False)
            if len(body) > LONGEST_BODY:
                await _no(413, f"a message may have {LONGEST_BODY >> 20} MB")(scope, receive, send)
                return
        if isinstance(found := parse(bytes(body)), Refused):
            await Response(as_line(found.answer), 400, media_type="application/json")(scope, receive, send)
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, again, send)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("application/json")


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_figures(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _no(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": message}}
    return JSONResponse(error, status, headers)


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "name": "anima-qa", "version": __version__})


def application(server: Server[Any], address: Address, token: str | None, allowed_hosts: tuple[str, ...]) -> Doorkeeper:
    """What answers: ``POST /mcp`` and ``GET /health``."""
    own = {address.host, socket.gethostname(), socket.getfqdn()} if not address.is_local else {address.host}
    proxies = frozenset(name.lower() for name in allowed_hosts)
    names = proxies.union(name.lower() for name in {*_LOCAL_NAMES, *own})
    # The library's own checks know fewer forms of names, and none on the health path: ours stand in front of all.
    open_door = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        host=address.host,
        transport_security=open_door,
        session_idle_timeout=SESSION_IDLE_S,
        custom_starlette_routes=[Route("/health", _health, methods=["GET"])],
    )
    return Doorkeeper(Reader(app), names, token, proxies, anywhere=not address.is_local, guarded=token is None)


class _Connection(H11Protocol):
    """A connection, of which is looked up once who has made it.

    A guest reaches what listens on 127.0.0.1 through its QEMU, and so do other users of this host: being reachable from this
    host alone does not mean that only the user's own programs ask.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See uvicorn."""
        super().connection_made(transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        foreign = why_foreign(peer[:2], own[:2]) if peer and own else "the program that has connected is gone"
        self.app_state = {**self.app_state, _FOREIGN: foreign}


def listen(address: Address) -> socket.socket:
    """A socket that clients can connect to.

    Raises:
        HostError: the port is taken, or the address is not this host's.
        UsageError: there is no such address.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"there is no address {address.host!r}: {error.strerror}") from error
    family, kind, protocol, _, place = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen()
    except OSError as error:
        listening.close()
        hint = "take another with --http PORT or QA_MCP_PORT; port 0 takes a free one"
        raise HostError(f"cannot listen on {address}: {error.strerror}", hint=hint) from error
    return listening


class _Uvicorn(uvicorn.Server):
    """Ends at our signals, SIGHUP among them, and does not send them to itself again afterwards."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, self._end, number)
        yield  # the handlers stay: the clean-up that follows must not be cut short

    def _end(self, number: int) -> None:
        self.status = self.status or 128 + number
        self.should_exit = True

    status = 0


def run(app: Doorkeeper, listening: socket.socket) -> int:
    """Serve until a signal comes; 128 and its number."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="on",
        http=_Connection if app.guarded else H11Protocol,
        ws="none",
        server_header=False,
    )
    server = _Uvicorn(config)
    asyncio.run(server.serve(sockets=[listening]))
    return server.status
