"""What the gate is told of each tool's call: one table, with every tool in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from desks import played

from qa.config import Config
from qa.mcp.call import Call
from qa.mcp.tools import TOOLS
from qa.operations.calls import Caller, Effect, Facts
from qa.operations.desk import Desk
from qa.operations.jobs import Jobs
from qa.paths import Paths

CLIENT = "one"
HANDS, FILES = "using keys and mouse", "copying files into guests"
BY_NAME = {tool.name: tool for tool in TOOLS}


@dataclass(frozen=True)
class Case:
    """A call, and what must be told of it. ``reads`` and ``writes`` begin in the folder of the test where they are relative."""

    tool: str
    given: Mapping[str, Any]
    effect: Effect = "change"
    commands: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    question: str = ""
    verbs: tuple[str, ...] = ()
    toolset: str = "machines"
    force: bool = field(default=False)


VM = {"vm": "vm1"}
CASES = [
    Case("vm_boot", {"image": "builtin"}, verbs=("boot",)),
    Case("vm_boot", {"image": "disk.qcow2"}, reads=("disk.qcow2",), verbs=("boot",)),
    Case("vm_boot", {"image": "builtin", "options": {"disks": [{"path": "b.qcow2"}]}}, reads=("b.qcow2",), verbs=("boot",)),
    Case("vm_boot", {"image": "builtin", "cloud_init": {"runcmd": ["id"]}}, ways=("cloud_init",), verbs=("boot",)),
    Case("vm_list", {}, "read"),
    Case("vm_exec", {**VM, "command": "id"}, commands=("id",), verbs=("execute",)),
    Case("vm_console", VM, "read", verbs=("read_console",)),
    Case("vm_console", {**VM, "wait_for": "x"}, "read", verbs=("read_console", "wait_for_console_text")),
    Case("vm_console", {**VM, "send": "id\n"}, typed=("id\n",), verbs=("read_console", "send_console")),
    Case("vm_screenshot", VM, "read", verbs=("screenshot",)),
    Case("vm_screenshot", {**VM, "text": True}, "read", verbs=("read_screen_text",)),
    Case("vm_input", {**VM, "click": [1, 2]}, ways=(HANDS,), verbs=("click", "screenshot")),
    Case("vm_input", {**VM, "move": [1, 2], "picture": False}, ways=(HANDS,), verbs=("move_mouse",)),
    Case("vm_input", {**VM, "drag": [1, 2, 3, 4], "picture": False}, ways=(HANDS,), verbs=("drag",)),
    Case("vm_input", {**VM, "scroll": 3, "picture": False}, ways=(HANDS,), verbs=("scroll",)),
    Case("vm_input", {**VM, "keys": "ctrl-c", "picture": False}, ways=(HANDS,), verbs=("send_key",)),
    Case("vm_input", {**VM, "text": "id\n", "picture": False}, typed=("id\n",), verbs=("send_chars",)),
    Case("vm_input", {**VM, "power": "crash", "picture": False}, verbs=("crash",)),
    Case("vm_wait", {**VM, "until": "unit", "value": "nginx"}, "read", verbs=("wait_for_unit",)),
    Case(
        "vm_wait", {**VM, "until": "succeeds", "value": "id"}, commands=("id",), verbs=("wait_until_succeeds", "execute")
    ),
    Case("vm_wait", {"job": "job1"}, "read"),
    Case("vm_wait", {"job": "job1", "cancel": True}),
    Case("vm_copy", {**VM, "direction": "to_vm", "source": "a", "target": "/x"}, reads=("a",), ways=(FILES,), verbs=("copy_to",)),
    Case("vm_copy", {**VM, "direction": "to_vm", "content": "a", "target": "/x"}, ways=(FILES,), verbs=("copy_to",)),
    Case("vm_copy", {**VM, "direction": "from_vm", "source": "/x"}, writes=("{results}/files/x",), verbs=("copy_from",)),
    Case("vm_copy", {**VM, "direction": "from_vm", "source": "/x", "target": "{base}/n"}, writes=("n",), verbs=("copy_from",)),
    Case(
        "vm_copy", {**VM, "direction": "from_vm", "source": "/x", "target": "{base}/taken", "force": True}, "destroy",
        writes=("taken",), question="Replace {base}/taken on this host?", verbs=("copy_from",), force=True,
    ),
    Case("vm_snapshot", {**VM, "action": "list"}, "read"),
    Case("vm_snapshot", {**VM, "action": "save", "name": "new"}, verbs=("snapshot",)),
    Case(
        "vm_snapshot", {**VM, "action": "save", "name": "kept"}, "destroy", verbs=("snapshot",),
        question="Replace the snapshot kept of the machine vm1? The state that it holds is lost.",
    ),
    Case("vm_snapshot", {**VM, "action": "restore", "name": "kept"}, verbs=("restore",)),
    Case("vm_snapshot", {**VM, "action": "fork"}),
    Case(
        "vm_snapshot", {**VM, "action": "delete", "name": "kept"}, "destroy",
        question="Delete the snapshot kept of the machine vm1?",
    ),
    Case(
        "vm_destroy", VM, "destroy",
        question="Destroy the machine vm1 (builtin), with all that is on its disks and its snapshots?",
    ),
    Case("vm_destroy", {"vm": "vm1-fork1"}),
    Case("image_list", {}, "read", toolset="images"),
    Case("image_pull", {"image": "debian-13"}, toolset="images"),
    Case("image_info", {"image": "./d.raw"}, "read", reads=("d.raw",), toolset="images"),
    Case("image_convert", {"image": "./d.raw", "target": "new"}, reads=("d.raw",), writes=("new",), toolset="images"),
    Case(
        "image_convert", {"image": "debian-13", "target": "taken", "replace": True, "force": True}, "destroy",
        writes=("taken",), question="replace {base}/taken?", toolset="images", force=True,
    ),
    Case("image_overlay", {"image": "./d.raw", "target": "new"}, reads=("d.raw",), writes=("new",), toolset="images"),
    Case("image_resize", {"image": "taken", "size": "2G"}, writes=("taken",), toolset="images"),
    Case(
        "image_resize", {"image": "taken", "size": "1G", "shrink": True}, "destroy", writes=("taken",),
        question="make the disk in {base}/taken smaller, 1.0 GiB?", toolset="images",
    ),
    Case("template_list", {}, "read", toolset="templates"),
    Case("template_info", {"template": "0a"}, "read", toolset="templates"),
    Case(
        "template_remove", {"templates": ["0a"]}, "destroy", question="remove the frozen machines 0a?", toolset="templates"
    ),
    Case(
        "template_prune", {}, "destroy", toolset="templates",
        question="remove frozen machines that were not used for the longest time?",
    ),
    Case("script_check", {"script": "a.yaml"}, "read", reads=("a.yaml",), toolset="scripts"),
    Case("script_check", {"text": "name: a"}, "read", toolset="scripts"),
    Case("script_run", {"script": "a.yaml"}, reads=("a.yaml",), toolset="scripts"),
]  # fmt: skip


@pytest.fixture
async def call(home: Paths, tmp_path: Path) -> AsyncIterator[Call]:
    """One of a client with the machine vm1, which has the snapshot ``kept``, a fork of it, and a job."""
    (tmp_path / "taken").touch()
    desk, _ = played(home)
    desk.base_folder = tmp_path
    async with Jobs() as jobs, desk:
        vm = await desk.boot(CLIENT, "builtin")
        await desk.save(vm, "kept")
        await desk.fork(vm)

        async def work(_: Any) -> None:
            return None

        jobs.start(CLIENT, "work", work)
        office: Any = SimpleNamespace(desk=desk, jobs=jobs, paths=home, config=Config())

        async def tell(_: float, __: str) -> None:
            return None

        yield Call(Caller("mcp", CLIENT), office, tell)


def fill(value: Any, desk: Desk) -> Any:
    """``value`` with the folders of this test in it."""
    if isinstance(value, str):
        results = desk.get("vm1", CLIENT).results
        return value.replace("{base}", str(desk.base_folder)).replace("{results}", str(results))
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.tool} {dict(case.given)}"[:60])
async def test_the_gate_is_told_what_a_call_does(call: Call, case: Case) -> None:
    tool, desk = BY_NAME[case.tool], call.desk
    given = {name: fill(value, desk) for name, value in case.given.items()}
    facts = tool.facts(call, tool.parse(given))
    assert facts == Facts(
        effect=case.effect,
        toolset=case.toolset,
        commands=case.commands,
        typed=case.typed,
        other_ways=case.ways,
        reads=tuple(desk.base_folder / fill(path, desk) for path in case.reads),
        writes=tuple(desk.base_folder / fill(path, desk) for path in case.writes),
        question=fill(case.question, desk),
        verbs=case.verbs,
        force=case.force,
    )
    order = ("read", "change", "destroy")
    assert order.index(tool.effect) <= order.index(facts.effect) <= order.index(tool.worst), "what is listed is what is done"


def test_every_tool_and_every_effect_of_it_is_in_the_table() -> None:
    assert {case.tool for case in CASES} == set(BY_NAME)
    for tool in TOOLS:
        told = {case.effect for case in CASES if case.tool == tool.name}
        assert tool.effect in told, tool.name


def test_whoever_has_ways_to_lose_something_says_so_to_clients() -> None:
    """A client that lets calls without the hint pass unasked must not let commands pass in that way."""
    for case in CASES:
        if case.commands or case.typed or case.ways:
            assert BY_NAME[case.tool].worst == "destroy" or case.tool == "vm_boot", case
