"""The server: what it says of itself, what it offers, and how a call goes through the gate to a tool and back."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
)

from qa import __version__
from qa.config import Config, load_config
from qa.errors import AuditFailed, QaError, UsageError
from qa.mcp import asking, prompts, resources, results
from qa.mcp.call import Call, Tell
from qa.mcp.grants import Offer
from qa.mcp.identity import client_of
from qa.mcp.offering import Offered, with_verbs
from qa.mcp.tool import REASON, Reply, Tool
from qa.mcp.tools import TOOLS
from qa.operations.calls import Caller, Facts
from qa.operations.desk import Desk
from qa.operations.gate import Gate
from qa.operations.jobs import Jobs
from qa.operations.vm import Vm
from qa.paths import Paths, data_folder
from qa.scenario.needles import USUAL_FOLDERS

NAME = "anima-qa"
TITLE = "anima-qa: virtual machines to test in"

INSTRUCTIONS = """\
Virtual machines that you can break. The loop: vm_boot (image "builtin" is up in a second, "debian" is a full system); act with
vm_exec, or with vm_input on the screen; look with vm_screenshot and vm_console; vm_wait instead of sleeping. Before a risk,
vm_snapshot with action fork, and try it in the fork. What takes long gives a job: go on with vm_wait. Coordinates are pixels of
the last picture. vm_destroy what you no longer need. Every tool also takes a reason, which the user finds in the audit log."""

CLOSING_LIMIT_S = 20.0
"""For closing everything at the end. What is not closed then dies with this process, and the next start sweeps after it."""

Context = ServerRequestContext[Any, Any]


@dataclass
class Office:
    """What lives as long as the server: the machines, the jobs, and the gate before them."""

    desk: Desk
    jobs: Jobs
    gate: Gate
    paths: Paths
    config: Config
    offered: Offered
    transport: Literal["stdio", "http"]
    reports: dict[str, Path] = field(default_factory=dict)
    _only: str = ""
    _leaving: set[asyncio.Task[None]] = field(default_factory=set)

    def caller(self, context: Context) -> Caller:
        """Who makes a request. When the session of a client over HTTP ends, its machines end with it."""
        client, new_session = client_of(context)
        if self.transport == "stdio":
            self._only = self._only or client
            return Caller("mcp", self._only)
        if new_session is not None:
            new_session(self._leave, client)
        return Caller("mcp", client)

    async def _leave(self, client: str) -> None:
        """In a task of its own: when a session ends the library cancels again and again, and does not wait."""
        leaving = asyncio.create_task(self._left(client), name=f"{client} leaves")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)

    async def _left(self, client: str) -> None:
        await self.jobs.leave(client)
        await self.desk.leave(client)
        self.reports.pop(client, None)


def build(offer: Offer, *, transport: Literal["stdio", "http"], folder: Path | None = None) -> Server[Any]:
    """The server. Nothing is started, locked or written before a tool needs it.

    Args:
        folder: where relative paths begin; the current folder where it is not given.

    Raises:
        UsageError: the configuration is wrong.
    """
    paths = Paths.from_environment()
    config = load_config(paths)
    policy = with_verbs(config.policy)
    if offer.read_only:
        policy = policy.model_copy(update={"read_only": True})
    config = config.model_copy(update={"policy": policy})
    gate = Gate.of(paths, config)
    offered = Offered.by(offer, gate)
    base = folder or Path.cwd()
    needles = (*(base / name for name in USUAL_FOLDERS), data_folder("screenshots"))  # as for scripts that lie there

    @asynccontextmanager
    async def lifespan(_: Server[Any]) -> AsyncIterator[Office]:
        async def ended(vm: Vm, why: str) -> None:
            with suppress(AuditFailed):  # a full disk must not keep a machine alive; the next call is refused, and says so
                await gate.note(Caller("mcp", vm.client), "vm_destroy", {"vm": vm.name}, why)

        async with Jobs() as jobs, Desk(paths, config, base_folder=base, needles=needles, ended=ended) as desk:
            here = gate.at(base, theirs=lambda caller: desk.folders_of(caller.client))
            yield Office(desk, jobs, here, paths, config, offered, transport)

    server: Server[Any] = Server(
        NAME,
        version=__version__,
        title=TITLE,
        instructions=INSTRUCTIONS,
        lifespan=_in_time(lifespan),
        cache_hints={"tools/list": CacheHint(3_600_000), "prompts/list": CacheHint(3_600_000)},
        get_tool_input_schema=offered.schema,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        on_list_resources=resources.list_resources,
        on_list_resource_templates=resources.list_templates,
        on_read_resource=resources.read,
        on_list_prompts=prompts.list_prompts,
        on_get_prompt=prompts.get,
    )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


def _in_time(lifespan: Callable[[Server[Any]], Any]) -> Callable[[Server[Any]], Any]:
    """``lifespan`` whose end is not cut short by a cancellation, and does not take for ever."""

    @asynccontextmanager
    async def within(server: Server[Any]) -> AsyncIterator[Office]:
        manager = lifespan(server)
        office = await manager.__aenter__()
        try:
            yield office
        finally:
            # In a task of its own: the library cancels again and again what was cancelled, also what closes to its end.
            closing = asyncio.ensure_future(manager.__aexit__(None, None, None))
            with anyio.CancelScope(shield=True):
                await asyncio.wait({closing}, timeout=CLOSING_LIMIT_S)
            if closing.done():
                closing.result()

    return within


async def _list_tools(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
    office: Office = context.lifespan_context
    return ListToolsResult(tools=list(office.offered.listed))


async def _call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult | InputRequiredResult:
    office: Office = context.lifespan_context
    tool = office.offered.tools.get(params.name)
    caller = office.caller(context)
    if tool is None:
        await _write_down_unknown(office, caller, params)
        raise MCPError(code=INVALID_PARAMS, message=office.offered.say_unknown(params.name))
    call = Call(caller, office, _progress(context))
    # A task of its own: the library cancels again and again, and what cleans up must be able to wait.
    task = asyncio.create_task(_through_gate(office, tool, call, context, params), name=f"call of {params.name}")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            task.cancel()
            await asyncio.wait({task})
        raise


async def _write_down_unknown(office: Office, caller: Caller, params: CallToolRequestParams) -> None:
    """A call of what is not offered is a line in the log as well, with the rule that is against it, if there is one."""
    known = next((one for one in TOOLS if one.name == params.name), None)
    given = params.arguments or {}

    async def complain() -> None:
        raise UsageError(office.offered.say_unknown(params.name))

    facts = Facts(known.effect, known.toolset, verbs=known.verbs[:1]) if known else Facts("read")
    with suppress(QaError):
        await office.gate.call(
            caller, params.name[:100], complain, facts=facts, arguments=given, reason=str(given.get(REASON) or "")
        )


async def _through_gate(
    office: Office, tool: Tool[Any], call: Call, context: Context, params: CallToolRequestParams
) -> CallToolResult | InputRequiredResult:
    given = params.arguments or {}
    ask = asking.way_to_ask(context, params)
    try:
        run, facts = _prepare(tool, call, given, can_ask=ask is not None)
        reply = await office.gate.call(
            call.caller,
            tool.name,
            run,
            facts=facts,
            arguments=given,
            reason=str(given.get(REASON) or ""),
            ask=_lively(ask, call) if ask else None,
            summary=_summary,
        )
    except asking.MustAsk as question:
        return question.result
    except QaError as error:
        return results.failed(error)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return results.defect(error)
    return results.succeeded(_with_news(reply, office.desk.news(call.client)))


def _prepare(
    tool: Tool[Any], call: Call, given: dict[str, Any], *, can_ask: bool
) -> tuple[Callable[[], Awaitable[Reply]], Facts]:
    """What is run, and what the gate must know of it. A mistake in the arguments, or a defect of ours that they bring about, is
    raised behind the gate, so that it is written down as well."""
    try:
        arguments = tool.parse(given)
        facts = tool.facts(call, arguments)
    except Exception as error:
        mistake = error

        async def complain() -> Reply:
            raise mistake

        return complain, Facts(effect="read", toolset=tool.toolset)
    if facts.force and can_ask:  # the person can be asked, so an agent's word does not stand for theirs
        facts = Facts(**{**vars(facts), "force": False})
    return lambda: tool.run(call, arguments), facts


def _lively(ask: Callable[[str], Awaitable[bool]], call: Call) -> Callable[[str], Awaitable[bool]]:
    """``ask`` with signs of life while the person thinks."""

    async def asking_on(question: str) -> bool:
        return await call.report_while(ask(question), "the user is being asked")

    return asking_on


def _progress(context: Context) -> Tell:
    async def tell(seconds: float, message: str) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, MCPError):
            await context.session.report_progress(round(seconds, 1), None, message)

    return tell


def _summary(reply: Reply) -> dict[str, Any]:
    """What the log has of a result: facts, not contents."""
    wanted = ("vm", "state", "job", "exit_code", "met", "snapshot", "target", "bytes", "path")
    return {name: reply.data[name] for name in wanted if name in reply.data} | (
        {"pictures": len(reply.pictures)} if reply.pictures else {}
    )


def _with_news(reply: Reply, news: list[str]) -> Reply:
    """What happened by itself meanwhile is told with the next answer."""
    if not news:
        return reply
    if reply.text is not None:
        return Reply(reply.data, "\n".join([reply.text, *(f"note: {one}" for one in news)]), reply.pictures)
    return Reply({**reply.data, "notes": news}, None, reply.pictures)
