"""Resources: what a client can show to its user, or put before a model, without calling a tool."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    BlobResourceContents,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from qa.errors import PolicyRefused, QaError, UsageError
from qa.mcp.clipping import clip
from qa.mcp.describe import describe_vm
from qa.mcp.pictures import View, draw
from qa.mcp.results import as_text
from qa.operations.calls import Facts
from qa.snapshots.overview import overview
from qa.snapshots.store import Store

if TYPE_CHECKING:
    from qa.mcp.server import Office
    from qa.operations.calls import Caller

Context = ServerRequestContext[Any, Any]
SCHEME = "anima-qa://"
_CONSOLE_LINES = 500

NAME = "read_resource"
"""What reading one is called by the gate."""


@dataclass(frozen=True)
class Kind:
    """A resource, or one for each machine. ``verbs``: what the gate takes it for, beside its name."""

    title: str
    description: str
    mime_type: str = "application/json"
    toolset: str = "machines"
    verbs: tuple[str, ...] = ()

    @property
    def facts(self) -> Facts:
        """What reading it does."""
        return Facts("read", self.toolset, verbs=self.verbs)

    def is_granted(self, office: Office, caller: Caller) -> bool:
        """Whether it is there for ``caller``."""
        return office.gate.grants(caller, NAME, "read", self.toolset, verbs=self.verbs)


_FIXED = {
    "machines": Kind("Machines", "Your machines with their states, as JSON.", verbs=("vm_list",)),
    "templates": Kind(
        "Templates", "Frozen machines that warm starts begin from, as JSON.", toolset="templates", verbs=("template_list",)
    ),
    "report": Kind("Last report", "What the last run of a script came to, as JSON.", toolset="scripts", verbs=("script_run",)),
}
_OF_MACHINES = {
    "console": Kind(
        "Console", "What the machine's serial console shows, with what has scrolled away.", "text/plain", verbs=("read_console",)
    ),
    "screen": Kind("Screen", "What the machine's screen shows now.", "image/png", verbs=("screenshot",)),
}


async def list_resources(context: Context, _: PaginatedRequestParams | None) -> ListResourcesResult:
    """The fixed ones, and those of each machine."""
    office: Office = context.lifespan_context
    caller = office.caller(context)
    found = [(name, name, kind) for name, kind in _FIXED.items() if kind.is_granted(office, caller)]
    for vm in office.desk.of(caller.client):
        mine = [(name, kind) for name, kind in _OF_MACHINES.items() if kind.is_granted(office, caller)]
        found += [(f"vm/{vm.name}/{name}", f"{vm.name} {name}", kind) for name, kind in mine]
    return ListResourcesResult(
        resources=[
            Resource(uri=f"{SCHEME}{path}", name=name, title=kind.title, description=kind.description, mime_type=kind.mime_type)
            for path, name, kind in found
        ]
    )


async def list_templates(context: Context, _: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    """Those of machines."""
    office: Office = context.lifespan_context
    caller = office.caller(context)
    return ListResourceTemplatesResult(
        resource_templates=[
            ResourceTemplate(
                uri_template=f"{SCHEME}vm/{{vm}}/{name}",
                name=name,
                title=kind.title,
                description=kind.description,
                mime_type=kind.mime_type,
            )
            for name, kind in _OF_MACHINES.items()
            if kind.is_granted(office, caller)
        ]
    )


async def read(context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    """One of them, through the gate."""
    office: Office = context.lifespan_context
    uri = str(params.uri)
    caller = office.caller(context)
    try:
        look, facts = _way_to(office, caller, uri)
        content = await office.gate.call(
            caller,
            NAME,
            look,
            facts=facts,
            arguments={"uri": uri},
            summary=lambda _: None,
        )
    except QaError as error:
        code = INVALID_PARAMS if isinstance(error, UsageError) and not isinstance(error, PolicyRefused) else INTERNAL_ERROR
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        raise MCPError(code=code, message=message, data={"uri": uri}) from error
    return ReadResourceResult(contents=[content])


Content = TextResourceContents | BlobResourceContents


def _way_to(office: Office, caller: Caller, uri: str) -> tuple[Callable[[], Awaitable[Content]], Facts]:
    """How it is read, and what the gate must know of that; of one that there is not, it is told behind the gate."""
    path = uri.removeprefix(SCHEME) if uri.startswith(SCHEME) else ""
    if found := re.fullmatch(r"vm/([^/]+)/(console|screen)", path):
        name, what = unquote(found[1]), found[2]
        return lambda: _of_machine(office, caller, uri, name, what), _OF_MACHINES[what].facts
    if path in _FIXED:
        return lambda: _fixed(office, caller, uri, path), _FIXED[path].facts

    async def complain() -> Content:
        raise UsageError(f"there is no resource {uri!r}", hint="resources/list tells which there are")

    return complain, Facts("read")


async def _fixed(office: Office, caller: Caller, uri: str, name: str) -> Content:
    data: Any
    if name == "machines":
        data = {"machines": [describe_vm(facts) for facts in office.desk.facts(caller.client)]}
    elif name == "templates":
        rows = await asyncio.to_thread(overview, Store.of(office.paths, office.config))
        data = {"templates": [row.as_record() for row in rows if row.kind == "template"]}
    else:
        report = office.reports.get(caller.client)
        if report is None:
            raise UsageError(
                "no script has been run yet", hint="script_run runs one; it needs --profile full or --toolsets scripts"
            )
        text = await asyncio.to_thread((report / "result.json").read_text, "utf-8")
        return TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return TextResourceContents(uri=uri, mime_type="application/json", text=as_text(data))


async def _of_machine(office: Office, caller: Caller, uri: str, name: str, what: str) -> Content:
    with office.desk.get(name, caller.client).use() as machine:
        if what == "console":
            text = clip(await machine.read_console(_CONSOLE_LINES), 100_000)[0]
            return TextResourceContents(uri=uri, mime_type="text/plain", text=text)
        frame = await machine.grab()
    png, _ = await asyncio.to_thread(draw, frame, View.of(frame))
    return BlobResourceContents(uri=uri, mime_type="image/png", blob=base64.b64encode(png).decode())
