"""The checks in front of the server: who may come in, and what is a message."""

from __future__ import annotations

import json

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from qa.errors import HostError, UsageError
from qa.mcp import http as module
from qa.mcp.address import Address
from qa.mcp.http import Doorkeeper, Reader, listen

TOKEN = "0123456789abcdef"
NAMES = frozenset({"localhost", "127.0.0.1", "::1", "build.example"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands behind the checks."""
    body = await Request(scope, receive).body()
    await JSONResponse({"got": body.decode()})(scope, receive, send)


async def ask(app: Doorkeeper | Reader, *, path: str = "/mcp", body: bytes | None = None, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8090") as client:
        if body is None:
            return await client.get(path, headers=given)
        return await client.post(path, content=body, headers={"content-type": "application/json", **given})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8090", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8090", 200),
        ("[::1]:8090", 200),
        ("192.168.7.7:8090", 421),
        ("build.example:8090", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8090", 421),
        ("localhost:8090@evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/health", "/anything"])
async def test_only_own_names_are_taken_for_this_host(host: str, status: int, path: str) -> None:
    assert (await ask(Doorkeeper(echo, NAMES, None), path=path, host=host)).status_code == status


@pytest.mark.parametrize(("host", "status"), [("192.168.7.7:8090", 200), ("[fe80::1]:8090", 200), ("evil.example", 421)])
async def test_a_server_for_other_hosts_is_found_at_any_address_in_figures(host: str, status: int) -> None:
    assert (await ask(Doorkeeper(echo, NAMES, TOKEN, anywhere=True), path="/health", host=host)).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8090", 200),
        ("http://LOCALHOST:8090", 200),
        ("http://localhost:6274", 403),
        ("http://127.0.0.1:8090", 403),
        ("https://build.example", 200),
        ("http://10.0.0.9:8090", 403),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
    ],
)
async def test_only_pages_of_this_server_may_ask(origin: str, status: int) -> None:
    door = Doorkeeper(echo, NAMES, None, frozenset({"build.example"}))
    assert (await ask(door, origin=origin)).status_code == status


async def test_a_page_of_the_very_address_may_ask() -> None:
    door = Doorkeeper(echo, NAMES, None, anywhere=True)
    assert (await ask(door, host="10.0.0.9:8090", origin="http://10.0.0.9:8090")).status_code == 200
    assert (await ask(door, host="10.0.0.9:8090", origin="http://10.0.0.9:80")).status_code == 403


async def ask_from(foreign: str | None, door: Doorkeeper, path: str = "/mcp") -> httpx.Response:
    """Ask over a connection of which ``foreign`` is known; None: nothing is."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {} if foreign is None else {module._FOREIGN: foreign}
        await door({**scope, "state": state}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8090") as client:
        return await client.get(path)


@pytest.mark.parametrize("path", ["/mcp", "/health"])
async def test_without_a_token_it_counts_who_has_connected(path: str) -> None:
    door = Doorkeeper(echo, NAMES, None, guarded=True)
    assert (await ask_from("", door, path)).status_code == 200
    refused = await ask_from("it comes from a virtual machine", door, path)
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].startswith("it comes from a virtual machine, and without a token")
    assert "--token-file" in refused.text
    with pytest.raises(KeyError):  # what is not known is not let in
        await ask_from(None, door, path)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), (f"bearer  {TOKEN}", 200), ("", 401), ("Bearer", 401), (f"Basic {TOKEN}", 401),
     (f"Bearer {TOKEN}x", 401), (f"Bearer {TOKEN[:-1]}", 401)],
)  # fmt: skip
async def test_the_token_is_asked_for_but_not_for_the_health(authorization: str, status: int) -> None:
    door = Doorkeeper(echo, NAMES, TOKEN)
    answer = await ask(door, authorization=authorization)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert (await ask(door, path="/health")).status_code == 200


@pytest.mark.parametrize(
    ("body", "code", "identity"),
    [(b"{", -32700, None), (b"", -32700, None), (b"[]", -32600, None), (b'{"jsonrpc": "2.0", "id": 3}', -32600, 3)],
)
async def test_what_is_no_message_gets_the_error_for_it(body: bytes, code: int, identity: int | None) -> None:
    answer = await ask(Reader(echo), body=body)
    assert answer.status_code == 400
    assert (answer.json()["error"]["code"], answer.json()["id"]) == (code, identity)


async def test_a_message_goes_on_whole() -> None:
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": "ü" * 100_000}}).encode()
    assert (await ask(Reader(echo), body=message)).json()["got"] == message.decode()


async def test_other_kinds_of_content_are_left_to_the_library() -> None:
    assert (await ask(Reader(echo), body=b"{", content_type="text/plain")).json() == {"got": "{"}


async def test_a_message_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_BODY", 1 << 20)
    assert (await ask(Reader(echo), body=b" " * ((1 << 20) + 1))).status_code == 413


def test_a_port_that_is_taken_and_an_address_that_is_none_are_told() -> None:
    with listen(Address("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(HostError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen(Address("127.0.0.1", port))
    with pytest.raises((UsageError, HostError)):
        listen(Address("256.256.256.256.invalid", 0))
    with pytest.raises(HostError, match="cannot listen"):
        listen(Address("192.0.2.1", 0))
