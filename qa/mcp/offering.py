"""Which tools are offered, and how they are listed: what is not granted is not there."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import mcp_types

from qa.mcp.grants import Offer
from qa.mcp.schemas import input_schema, tokens
from qa.mcp.tool import Tool
from qa.mcp.tools import TOOLS
from qa.operations.calls import Caller
from qa.operations.gate import Gate
from qa.rules import Policy


def with_verbs(policy: Policy) -> Policy:
    """``policy`` for a server of these tools: what is denied under a tool's name is denied under the names of what the tool does
    too, so that no script, resource or other tool is a way round."""
    denied = [verb for tool in TOOLS if any(fnmatchcase(tool.name, one) for one in policy.deny_operations) for verb in tool.verbs]
    return policy.model_copy(update={"deny_operations": (*policy.deny_operations, *denied)})


@dataclass(frozen=True)
class Offered:
    """Tools by name, and as they are listed."""

    tools: Mapping[str, Tool[Any]]
    listed: tuple[mcp_types.Tool, ...]

    @classmethod
    def by(cls, offer: Offer, gate: Gate) -> Offered:
        """Those that the user wants, of those that the host's owner grants."""
        agent = Caller("mcp")
        tools = {
            tool.name: tool
            for tool in TOOLS
            if offer.has(tool.toolset, core=tool.core)
            and gate.grants(agent, tool.name, tool.effect, tool.toolset, verbs=tool.verbs)
        }
        return cls(tools, tuple(_listed(tool, gate, agent) for tool in tools.values()))

    def schema(self, name: str) -> dict[str, Any] | None:
        """That of the arguments of a tool; None where it is not offered."""
        return next((tool.input_schema for tool in self.listed if tool.name == name), None)

    def say_unknown(self, name: str) -> str:
        """That there is no such tool, and which one may be meant."""
        near = get_close_matches(name, self.tools, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.tools)}"
        return f"Unknown tool: {name[:100]}; {hint}"

    def cost(self) -> int:
        """How many tokens the list costs, about."""
        listed = [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in self.listed]
        return tokens(json.dumps({"tools": listed}, ensure_ascii=False, separators=(",", ":")))


def _listed(tool: Tool[Any], gate: Gate, agent: Caller) -> mcp_types.Tool:
    schema = copy.deepcopy(input_schema(tool.arguments))
    for place, effect in tool.needs.items():
        if not gate.grants(agent, tool.name, effect, tool.toolset):
            _leave_out(schema, place)
    worst = tool.worst if gate.grants(agent, tool.name, "change", tool.toolset) else "read"
    annotations = mcp_types.ToolAnnotations(
        title=tool.title,
        read_only_hint=worst == "read",
        destructive_hint=worst == "destroy",
        idempotent_hint=tool.idempotent or worst == "read",
        open_world_hint=tool.open_world,
    )
    return mcp_types.Tool(name=tool.name, description=tool.description, input_schema=schema, annotations=annotations)


def _leave_out(schema: dict[str, Any], place: str) -> None:
    """An argument, or one of the values of an argument."""
    name, _, value = place.partition(".")
    properties = schema["properties"]
    if not value:
        properties.pop(name, None)
    elif name in properties:
        properties[name]["enum"] = [one for one in properties[name]["enum"] if one != value]
