"""``script_check`` and ``script_run``: scripts as the command line runs them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from qa.errors import UsageError
from qa.events import Bus, Event, StepStarted
from qa.fleet.admission import Admission
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.clipping import clip
from qa.mcp.fields import WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations import CATALOGUE
from qa.operations.calls import Facts
from qa.operations.gate import Door
from qa.operations.jobs import Job
from qa.places import place
from qa.scenario.batch import Ended, run_scripts
from qa.scenario.needs import needs_on
from qa.scenario.opening import describe, open_on
from qa.scenario.problems import Problem
from qa.scenario.reader import Given, read_scripts
from qa.scenario.script import Script
from qa.scenario.stop import Stop

_EVIDENCE = 2000
"""Bytes of a failed step's detail."""


class ScriptArguments(ToolArguments):
    """What both tools have."""

    script: Annotated[str | None, Field(min_length=1, description="Path of a script")] = None
    text: Annotated[str | None, Field(min_length=1, description="A script's YAML instead of its path")] = None
    vars: Annotated[dict[str, str] | None, Field(description="Variables")] = None


class RunArguments(ScriptArguments):
    """See `ScriptRun`."""

    image: Annotated[str | None, Field(description="Instead of the script's own")] = None
    start: Literal["warm", "cold"] | None = None
    wait_s: WaitSeconds = LONGEST_WAIT


class ScriptCheck(Tool[ScriptArguments]):
    """What is wrong with a script."""

    name = "script_check"
    title = "Check a script"
    toolset = "scripts"
    core = False
    effect = worst = "read"
    idempotent = True
    description = "Tell everything that is wrong with a script, with line and column, without running it."
    arguments = ScriptArguments

    def facts(self, call: Call, arguments: ScriptArguments) -> Facts:
        """See Tool."""
        return Facts("read", "scripts", reads=_reads(call, arguments))

    async def run(self, call: Call, arguments: ScriptArguments) -> Reply:
        """See Tool."""
        with _file(call, arguments) as path:
            scripts, problems, errors = await asyncio.to_thread(_read, call, path, arguments)
        wrong = [_as_record(one) for one in problems] + [{"message": one.message, "hint": one.hint} for one in errors]
        return Reply({"ok": not wrong, "problems": wrong, "runs": [one.name for one in scripts]})


class ScriptRun(Tool[RunArguments]):
    """Run a script, and report."""

    name = "script_run"
    title = "Run a script"
    toolset = "scripts"
    core = False
    worst = "destroy"
    open_world = True
    description = "Run a script against machines of its own. Gives the outcome, what failed, and the folder with the report."
    arguments = RunArguments

    def facts(self, call: Call, arguments: RunArguments) -> Facts:
        """Each step passes the gate by itself."""
        return Facts("change", "scripts", reads=_reads(call, arguments))

    async def run(self, call: Call, arguments: RunArguments) -> Reply:
        """See Tool."""
        with _file(call, arguments) as path:
            scripts, problems, errors = await asyncio.to_thread(_read, call, path, arguments)
        if problems or errors:
            said = [f"line {one.place.line}: {one.message}" for one in problems] + [one.message for one in errors]
            raise UsageError(
                f"the script has mistakes: {'; '.join(said[:10])}", hint="script_check tells all of them, with hints"
            )
        bus = Bus()
        job = call.start(f"run {scripts[0].name}", lambda job: _run(call, scripts, bus, job), bus=bus)
        return await call.outcome(job, arguments.wait_s)


def _reads(call: Call, arguments: ScriptArguments) -> tuple[Path, ...]:
    if (arguments.script is None) == (arguments.text is None):
        raise UsageError("a script comes either as a path or as its text", hint="give script or text")
    return () if arguments.script is None else (place(call.desk.base_folder, arguments.script),)


@contextmanager
def _file(call: Call, arguments: ScriptArguments) -> Iterator[Path]:
    """The script as a file. One that came as a text lies in the session's folder, so that the report can name it."""
    if arguments.script is not None:
        yield place(call.desk.base_folder, arguments.script)
        return
    assert arguments.text is not None
    folder = call.desk.folder_of(call.client) / "scripts"
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="script-", suffix=".yaml", delete=False, encoding="utf-8") as file:
        file.write(arguments.text)
    yield Path(file.name)


def _read(call: Call, path: Path, arguments: ScriptArguments) -> tuple[list[Script], list[Problem], list[Any]]:
    image, start = (arguments.image, arguments.start) if isinstance(arguments, RunArguments) else (None, None)
    may_read = Door(call.office.gate, call.caller).may_read
    return read_scripts([path], CATALOGUE, Given(arguments.vars or {}, image, start, may_read))


def _as_record(problem: Problem) -> dict[str, Any]:
    record = problem.as_record()
    del record["file"]
    return {name: value for name, value in record.items() if value is not None}


async def _run(call: Call, scripts: list[Script], bus: Bus, job: Job) -> Reply:
    office, stop = call.office, Stop()
    host = call.desk.host
    door = Door(office.gate, call.caller)
    running = asyncio.ensure_future(
        run_scripts(
            scripts,
            open_for=open_on(host, door),
            out=call.desk.folder_of(call.client) / "results",
            stop=stop,
            admission=Admission(None, say=bus.notice),
            needs=needs_on(office.paths),
            tcg_factor=office.config.tcg_factor,
            follow=partial(_follow, job),
            describe_host=partial(describe, host),
            door=door,
        )
    )
    try:
        ended = await asyncio.shield(running)
    except asyncio.CancelledError:  # machines are closed, and the report says how far it came
        stop.request("cancelled by the client")
        await asyncio.wait({running})
        raise
    office.reports[call.client] = ended[-1].folder.path
    return Reply({"outcome": _worst(ended), "runs": [_told(one) for one in ended]})


def _follow(job: Job, bus: Bus, _: str) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, StepStarted):
            job.said = f"step {event.index}: {event.name}"

    bus.subscribe(listen)


def _worst(ended: list[Ended]) -> str:
    failed = [one.result.outcome for one in ended if one.result.outcome != "passed"]
    return failed[0] if failed else "passed"


def _told(ended: Ended) -> dict[str, Any]:
    """A run: its outcome, and of each step that did not pass what there is to say."""
    result = ended.result
    wrong = [
        {"step": step.index, "name": step.name, "outcome": step.outcome, "detail": clip(step.detail, _EVIDENCE)[0]}
        for step in result.steps
        if step.outcome not in {"passed", "skipped"}
    ]
    told: dict[str, Any] = {"name": ended.name, "outcome": result.outcome, "steps": len(result.steps)}
    told |= {"duration_s": round(result.duration_s, 1), "folder": str(ended.folder.path)}
    if result.reason:
        told["reason"] = clip(result.reason, _EVIDENCE)[0]
    return told | ({"not_passed": wrong} if wrong else {})


SCRIPT_TOOLS: tuple[Tool[Any], ...] = (ScriptCheck(), ScriptRun())
