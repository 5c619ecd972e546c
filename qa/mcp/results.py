"""What clients get: results, and errors that say what to do next."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from mcp_types import CallToolResult, ImageContent, TextContent

from qa.errors import (
    AcceleratorUnavailable,
    ChannelLost,
    DeadlineExceeded,
    FirmwareMissing,
    GuestPanic,
    MachineOff,
    NoSpace,
    PolicyRefused,
    QaError,
    QemuExited,
    ToolMissing,
)
from qa.mcp.clipping import clip
from qa.mcp.tool import Reply

_EVIDENCE_LIMIT = 3000
"""Bytes of each piece of evidence: an agent can look at more of it when it wants to."""

_NEXT: tuple[tuple[type[QaError], str], ...] = (
    (MachineOff, "vm_list tells the machine's state; vm_boot starts a new one"),
    (GuestPanic, "vm_console shows the panic; vm_snapshot with action restore goes back, or vm_destroy and vm_boot"),
    (QemuExited, "vm_boot starts a new one"),
    (ChannelLost, "vm_wait until=ready, or look with vm_screenshot and vm_console"),
    (DeadlineExceeded, "look with vm_screenshot or vm_console; then call it again, with a larger timeout_s where it has one"),
    (ToolMissing, "tell the user"),
    (FirmwareMissing, "tell the user"),
    (AcceleratorUnavailable, "tell the user"),
    (NoSpace, "destroy machines and snapshots that are no longer needed; else tell the user"),
)
"""The next step for each kind of error, besides its own hint. The first that fits counts."""


def succeeded(reply: Reply) -> CallToolResult:
    """The result. With pictures there is no structure: some clients show only that when there is one."""
    if reply.pictures:
        images = [
            ImageContent(type="image", data=base64.b64encode(one).decode(), mime_type="image/png") for one in reply.pictures
        ]
        return CallToolResult(content=[TextContent(type="text", text=reply.text or as_text(reply.data)), *images])
    if reply.text is not None:
        return CallToolResult(content=[TextContent(type="text", text=reply.text)])
    return _structured(reply.data)


def failed(error: QaError) -> CallToolResult:
    """An error of ours."""
    data: dict[str, Any] = {"error": error.message, "kind": type(error).__name__}
    if isinstance(error, PolicyRefused):
        data["rule"] = error.rule
    following = next((step for kind, step in _NEXT if isinstance(error, kind)), "")
    if steps := [step for step in (error.hint, following) if step]:
        data["next"] = "; ".join(steps)
    if error.evidence:
        data["seen"] = {title: clip(text, _EVIDENCE_LIMIT)[0] for title, text in error.evidence.items()}
    return _structured(data, is_error=True)


def defect(error: BaseException) -> CallToolResult:
    """A defect of ours: the traceback is on stderr, for the bug report."""
    data = {
        "error": f"this is a defect of anima-qa: {type(error).__name__}",
        "kind": "Defect",
        "next": "tell the user; the server's stderr has the details. Another way to the same end may work",
    }
    return _structured(data, is_error=True)


def _structured(data: Mapping[str, Any], *, is_error: bool = False) -> CallToolResult:
    plain: dict[str, Any] = json.loads(json.dumps(data, default=str))
    return CallToolResult(content=[TextContent(type="text", text=as_text(plain))], structured_content=plain, is_error=is_error)


def as_text(data: Mapping[str, Any]) -> str:
    """A structure as text: JSON without blanks that nobody needs."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
