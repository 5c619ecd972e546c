"""What the server still has to say to a client that talks over stdin and stdout."""

from __future__ import annotations

from typing import Any

from mcp_types import JSONRPCNotification, JSONRPCRequest

from qa.mcp.stdio import _Talk

NOTHING: Any = None


def test_at_the_end_nothing_is_awaited_that_the_client_has_cancelled() -> None:
    talk = _Talk(NOTHING, NOTHING, NOTHING)
    for number in (1, 2):
        talk._expect(JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/call", params={}))
    talk._expect(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 1}))
    for params in (None, {}, {"requestId": "never asked"}):
        talk._expect(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params))
    assert talk._unanswered == {2}
