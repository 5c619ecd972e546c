"""Who a client is: each has its own machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.context import ServerRequestContext

_KNOWN = "anima-qa client"

AtEnd = Callable[..., object]
"""Registers what is called, with its arguments, when the client's session ends."""


def client_of(context: ServerRequestContext[Any, Any]) -> tuple[str, AtEnd | None]:
    """The client that makes a request, and for the first request of a session, where to register what comes at its end.

    Over HTTP the older generation of the protocol has sessions, and each is a client. The newer one has none: there all clients
    of one name are one, and machines end with their lease.
    """
    connection = context.session._connection  # noqa: SLF001 -- the library has no public way to the session's state
    said = context.session.client_params
    name = (said.client_info.name if said else "").strip()[:60] or "unnamed"
    if connection.session_id is None:
        return name, None
    known = connection.state.setdefault(_KNOWN, f"{name}/{connection.session_id[:12]}")
    if connection.state.get(f"{_KNOWN} leaves"):
        return known, None
    connection.state[f"{_KNOWN} leaves"] = True
    return known, connection.exit_stack.push_async_callback
