"""Asking the person behind the client, in the way of each generation of the protocol."""

from __future__ import annotations

import hashlib
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import compact_json
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from qa.errors import PolicyRefused
from qa.operations.gate import Ask, Asked

_KEY = "confirm"
_SAID = 200
"""Letters of a client's own words that are told."""
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"confirm": {"type": "boolean", "title": "Do it", "description": "It cannot be undone.", "default": False}},
    "required": ["confirm"],
}


class MustAsk(Asked):
    """The newer generation's way to ask: an answer with the question in it."""

    def __init__(self, question: str) -> None:
        super().__init__(f"the user is asked: {question}")
        self.result = InputRequiredResult(
            input_requests={_KEY: ElicitRequest(params=_form(question))}, request_state=compact_json(_digest(question))
        )


def way_to_ask(context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> Ask | None:
    """How the person behind this call is asked; None where the client cannot."""
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return None
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return _later(params)
    return _now(context) if context.session.can_send_request else None


def _now(context: ServerRequestContext[Any, Any]) -> Ask:
    async def ask(question: str) -> bool:
        form = _form(question)
        try:
            answer = await context.session.elicit_form(form.message, form.requested_schema, related_request_id=context.request_id)
        except MCPError as error:
            raise _unasked(question, f"the client says: {error.message[:_SAID] or 'nothing'}") from error
        except ValidationError as error:
            wrong = ".".join(str(part) for part in error.errors()[0]["loc"]) or "all of it"
            raise _unasked(question, f"the client's answer does not fit the protocol ({wrong[:_SAID]})") from error
        return _is_yes(answer)

    return ask


def _unasked(question: str, why: str) -> PolicyRefused:
    """Nobody has answered. The client has said that it asks, so the agent's word does not stand for the user's here either."""
    return PolicyRefused(
        f"this needs a confirmation, and the question could not be put to the user: {question} ({why})",
        rule="policy.confirm",
        hint="tell the user: a client that says that it can ask must ask; force counts for nothing there",
    )


def _later(params: CallToolRequestParams) -> Ask:
    """The library seals the state and binds it to the tool and its arguments, so an answer counts for its question alone."""

    async def ask(question: str) -> bool:
        answer = (params.input_responses or {}).get(_KEY)
        if params.request_state != compact_json(_digest(question)) or answer is None:
            raise MustAsk(question)
        return isinstance(answer, ElicitResult) and _is_yes(answer)

    return ask


def _form(question: str) -> ElicitRequestFormParams:
    return ElicitRequestFormParams(message=question, requested_schema=_FORM)


def _is_yes(answer: ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get("confirm") is True


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()
