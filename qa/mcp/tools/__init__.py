"""The tools. Each is put together out of the operations that scripts and the command line have."""

from __future__ import annotations

from typing import Any

from qa.mcp.tool import Tool
from qa.mcp.tools.boot import VmBoot
from qa.mcp.tools.console import VmConsole
from qa.mcp.tools.copy import VmCopy
from qa.mcp.tools.destroy import VmDestroy
from qa.mcp.tools.execute import VmExec
from qa.mcp.tools.hands import VmInput
from qa.mcp.tools.hosting import HOST_TOOLS
from qa.mcp.tools.listing import VmList
from qa.mcp.tools.screenshot import VmScreenshot
from qa.mcp.tools.scripts import SCRIPT_TOOLS
from qa.mcp.tools.snapshot import VmSnapshot
from qa.mcp.tools.wait import VmWait

TOOLS: tuple[Tool[Any], ...] = (
    VmBoot(),
    VmList(),
    VmExec(),
    VmConsole(),
    VmScreenshot(),
    VmInput(),
    VmWait(),
    VmCopy(),
    VmSnapshot(),
    VmDestroy(),
    *HOST_TOOLS,
    *SCRIPT_TOOLS,
)
"""All of them, in the order in which they are listed."""
