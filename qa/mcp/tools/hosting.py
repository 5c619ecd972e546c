"""``image_*`` and ``template_*``: the operations on what this host has, as they are in their table."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from qa.events import Bus
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.fields import Force, WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations.calls import Facts
from qa.operations.hosting import HOST_OPERATIONS, Bench, HostOperation
from qa.operations.jobs import Job
from qa.operations.operation import Arguments

_TITLES = {
    "image_list": "List images",
    "image_pull": "Pull an image",
    "image_info": "About an image",
    "image_convert": "Convert an image",
    "image_overlay": "Overlay an image",
    "image_resize": "Resize an image",
    "template_list": "List frozen machines",
    "template_info": "About a frozen machine",
    "template_remove": "Remove frozen machines",
    "template_prune": "Make room",
}


class HostTool(Tool[ToolArguments]):
    """One operation. Beside its own arguments it has ``wait_s``, and where something can be lost by it ``force``."""

    core = False

    def __init__(self, operation: HostOperation) -> None:
        self._operation = operation
        self.name = operation.name
        self.title = _TITLES.get(operation.name, operation.name.replace("_", " "))
        self.toolset = operation.toolset
        self.description = operation.operation.summary
        self.effect = operation.least
        self.needs = {operation.destroys: "destroy"} if operation.destroys else {}
        self.worst = operation.effect
        self.open_world = operation.open_world
        self.idempotent = operation.effect == "read"
        self.arguments = _arguments_of(operation)

    def facts(self, call: Call, arguments: ToolArguments) -> Facts:
        """See Tool."""
        facts = self._operation.facts(_bench(call, Bus()), self._own(arguments))
        force = facts.force or bool(getattr(arguments, "force", False))
        return Facts(**{**vars(facts), "toolset": self.toolset, "force": force})

    async def run(self, call: Call, arguments: ToolArguments) -> Reply:
        """See Tool."""
        bus = Bus()
        bench = _bench(call, bus)

        async def work(_: Job) -> Reply:
            return _reply(self.toolset, await self._operation(bench, self._own(arguments)))

        job = call.start(self.name, work, bus=bus)
        return await call.outcome(job, getattr(arguments, "wait_s", LONGEST_WAIT))

    def _own(self, arguments: ToolArguments) -> Arguments:
        model = self._operation.operation.arguments
        return model.model_construct(**{name: getattr(arguments, name) for name in model.model_fields})


def _arguments_of(operation: HostOperation) -> type[ToolArguments]:
    fields: dict[str, Any] = {name: (one.annotation, one) for name, one in operation.operation.arguments.model_fields.items()}
    if operation.effect == "destroy" and "force" not in fields:
        fields["force"] = (Force, False)
    if operation.effect != "read":
        fields["wait_s"] = (WaitSeconds, Field(LONGEST_WAIT))
    return create_model(operation.operation.arguments.__name__, __base__=ToolArguments, **fields)


def _bench(call: Call, bus: Bus) -> Bench:
    return Bench(call.office.paths, call.office.config, bus, call.desk.base_folder)


def _reply(toolset: str, result: Any) -> Reply:
    """A structure is a mapping for clients."""
    return Reply(result if isinstance(result, dict) else {toolset: result})


HOST_TOOLS: tuple[Tool[Any], ...] = tuple(HostTool(operation) for operation in HOST_OPERATIONS.values())
