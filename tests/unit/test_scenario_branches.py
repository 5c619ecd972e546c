"""Branches and forks of a script, on machines that are not there."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scenario_world import CATALOGUE, CommandResult, World, read, read_steps, step_mistakes, until

from qa.errors import GuestPanic, HostError, QemuExited, SnapshotError
from qa.events import Notice, StepFinished
from qa.report.failures import print_failures
from qa.report.folder import ResultsFolder, slug
from qa.report.html import render_html
from qa.scenario.json_schema import script_schema
from qa.scenario.lanes import TwoAtOnce
from qa.scenario.results import RunResult, StepResult
from qa.scenario.stop import Stop

TWO = """
    - succeed: before
    - branches:
        upgrade: [succeed: up, succeed: upped]
        reboot: [reboot, succeed: rebooted]
    - succeed: after
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ResultsFolder.create(tmp_path / "results", "test"))


async def run_steps(world: World, tmp_path: Path, steps: str, **more: Any) -> RunResult:
    return await world.run(read_steps(tmp_path, steps), **more)


def told(steps: list[StepResult]) -> dict[str, str]:
    """Index to outcome, of all steps."""
    found = {}
    for step in steps:
        found[step.index] = step.outcome
        found |= told(step.steps)
    return found


def names(steps: list[StepResult]) -> dict[str, str]:
    found = {}
    for step in steps:
        found[step.index] = step.name
        found |= names(step.steps)
    return found


def notices(world: World) -> list[str]:
    return [event.message for event in world.events if isinstance(event, Notice)]


async def test_each_branch_goes_on_from_the_same_state_and_the_script_after_them_too(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, TWO)
    assert (result.outcome, result.reason) == ("passed", "")
    assert told(result.steps) == dict.fromkeys(["1", "2", "2.1", "2.1.1", "2.1.2", "2.2", "2.2.1", "2.2.2", "3"], "passed")
    assert names(result.steps)["2"] == "branches: upgrade, reboot"
    assert (names(result.steps)["2.1"], names(result.steps)["2.2"]) == ("upgrade", "reboot")
    assert world.machine("machine", "upgrade").memory == ("before", "up", "upped")
    assert world.machine("machine", "reboot").memory == ("before", "rebooted")
    assert world.machines["machine"].memory == ("before", "after")
    assert world.cellar.held == []
    assert world.open_now == []


async def test_the_machines_are_frozen_once_and_say_what_for(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, TWO)
    (state,) = world.cellar.of_kind("snapshot")
    assert state.title == f"before step 2 of script in {world.folder.path}"


async def test_one_failure_stops_its_branch_alone_and_the_step_says_which(world: World, tmp_path: Path) -> None:
    world.answers["up"] = CommandResult("up", 7)
    result = await run_steps(world, tmp_path, TWO)
    assert (result.outcome, result.exit_status) == ("failed", 1)
    assert result.reason == "step 2.1.1 (succeed: up): the command ended with 7"
    assert told(result.steps) == {
        "1": "passed", "2": "failed", "2.1": "failed", "2.1.1": "failed", "2.1.2": "skipped",
        "2.2": "passed", "2.2.1": "passed", "2.2.2": "passed", "3": "skipped",
    }  # fmt: skip
    step = result.steps[1]
    assert step.detail == "1 of 2 did not pass: upgrade"
    assert step.steps[0].detail == "step 2.1.1 (succeed: up) did not pass"
    assert step.steps[0].steps[0].evidence == ["shots/step-2.1.1-failed.png", "evidence/2.1.1-console.txt"]


async def test_the_most_serious_failure_of_several_is_the_steps(world: World, tmp_path: Path) -> None:
    world.answers |= {"up": CommandResult("up", 7), "rebooted": GuestPanic("the guest panicked")}
    result = await run_steps(world, tmp_path, TWO)
    assert (result.outcome, result.exit_status) == ("error", 4)
    assert result.steps[1].detail == "2 of 2 did not pass: upgrade, reboot"
    assert result.reason == "step 2.2.2 (succeed: rebooted): the guest panicked"


async def test_of_many_that_fail_only_some_are_named(world: World, tmp_path: Path) -> None:
    world.answers["bad"] = CommandResult("bad", 1)
    result = await run_steps(world, tmp_path, "- fork: {count: 9, steps: [succeed: bad]}")
    assert result.steps[0].detail == "9 of 9 did not pass: fork 1, fork 2, fork 3, fork 4, fork 5, fork 6 and 3 more"


async def test_branches_may_fail_where_the_step_allows_it(world: World, tmp_path: Path) -> None:
    world.answers["a"] = CommandResult("a", 1)
    result = await run_steps(world, tmp_path, "- allow_failure: true\n  branches: {x: [succeed: a]}\n- succeed: b")
    assert (result.outcome, result.steps[0].allowed_failure) == ("passed", True)
    assert world.machines["machine"].memory == ("b",)
    assert result.kept is None


async def test_branches_are_tried_again_with_new_forks_and_other_logs(world: World, tmp_path: Path) -> None:
    world.answers["a"] = [CommandResult("a", 1), CommandResult("a", 0)]
    result = await run_steps(world, tmp_path, "- retry: {times: 1, delay: 0}\n  branches: {x: [succeed: a]}")
    assert (result.outcome, result.steps[0].attempts) == ("passed", 2)
    assert [fork.label for fork in world.forks] == ["1.1-x", "1.1-x-try-2"]
    assert result.kept is None


@pytest.mark.parametrize("length", [40, 49, 50, 55, 60])
async def test_files_of_each_try_of_a_branch_have_names_of_their_own_however_long_its_name_is(
    world: World, tmp_path: Path, length: int
) -> None:
    world.answers["a"] = [CommandResult("a", 1), CommandResult("a", 0)]
    name = ("the desktop is there again " * 3)[:length].strip()
    await run_steps(world, tmp_path, f"- retry: {{times: 1, delay: 0}}\n  branches: {{{name}: [succeed: a]}}")
    first, second = (fork.label for fork in world.forks)
    assert second.endswith("-try-2")
    assert [slug(label) for label in (first, second)] == [first, second]  # as films and pictures are named
    machine = "m" * 32
    assert world.folder.console_log(machine, first) != world.folder.console_log(machine, second)
    assert world.folder.qemu_log(None, first) != world.folder.qemu_log(None, second)


async def test_branches_nest_and_their_machines_have_labels_of_their_own(world: World, tmp_path: Path) -> None:
    steps = """
    - succeed: a
    - branches:
        x:
          - succeed: b
          - branches: {x: [succeed: c], y: [succeed: d]}
          - succeed: e
    """
    result = await run_steps(world, tmp_path, steps)
    assert result.outcome == "passed"
    assert {fork.label: fork.memory for fork in world.forks} == {
        "2.1-x": ("a", "b", "e"), "2.1.2.1-x": ("a", "b", "c"), "2.1.2.2-y": ("a", "b", "d")
    }  # fmt: skip
    branches = {event.index: event.branch for event in world.events if isinstance(event, StepFinished)}
    assert (branches["2"], branches["2.1"], branches["2.1.1"], branches["2.1.2.2.1"]) == ("", "", "x", "x > y")
    assert [f"{machine.name} {machine.branch}" for machine in result.machines] == [
        "machine ", "machine 2.1.2.1-x", "machine 2.1.2.2-y", "machine 2.1-x"
    ]  # fmt: skip
    assert [machine.start for machine in result.machines] == ["cold", "fork", "fork", "fork"]


async def test_all_machines_are_in_each_branch_and_on_picks_one(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, """
    image: a
    machines: {server: {}, client: {}}
    steps:
      - succeed: base
      - on: client
        branches:
          x: [succeed: for the client, {on: server, succeed: for the server}]
    """)  # fmt: skip
    result = await world.run(script)
    assert result.outcome == "passed"
    assert world.machine("client", "x").memory == ("for the client",)
    assert world.machine("server", "x").memory == ("base", "for the server")


async def test_machines_that_are_off_are_off_in_each_branch(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [reboot, branches: {x: [reboot]}]")
    world.bus.subscribe(lambda event: setattr(world.machines["client"], "ended", "off") if getattr(event, "index", "") else None)
    assert (await world.run(script)).outcome == "passed"
    assert {fork.name: fork.ended for fork in world.forks} == {"server": "", "client": "off"}


@pytest.mark.parametrize("name", ["../../x", "a/b", "ünï cödé", "x" * 60])
async def test_a_branch_may_have_any_name_and_its_files_have_safe_ones(world: World, tmp_path: Path, name: str) -> None:
    result = await run_steps(world, tmp_path, f"- branches: {{'{name}': [reboot]}}")
    assert result.steps[0].steps[0].name == name
    assert re.fullmatch(r"1\.1-[a-z0-9._-]+", world.forks[0].label)
    assert "/" not in world.forks[0].label


async def test_forks_count_from_one(world: World, tmp_path: Path) -> None:
    result = await run_steps(
        world, tmp_path, "- fork: {count: 3, steps: [succeed: 'echo ${fork}', {when: '${fork} == 2', reboot: }]}"
    )
    assert [fork.memory for fork in world.forks] == [("echo 1",), ("echo 2",), ("echo 3",)]
    assert names(result.steps)["1.2"] == "fork 2"
    assert [told(result.steps)[f"1.{number}.2"] for number in (1, 2, 3)] == ["skipped", "passed", "skipped"]


async def test_two_run_at_once_where_nobody_knows_the_host(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- fork: {count: 6, steps: [wait_for_open_port: 1, reboot]}")
    assert (len(world.forks), world.most_open) == (6, 2)


class Room:
    """Admission that notes what was asked for, and lets ``free`` in."""

    def __init__(self, free: int) -> None:
        self._free = asyncio.Semaphore(free)
        self.asked: list[tuple[int, int]] = []

    @asynccontextmanager
    async def room(self, memory: int, cpus: int) -> AsyncIterator[None]:
        self.asked.append((memory, cpus))
        async with self._free:
            yield


async def test_as_many_run_at_once_as_are_admitted(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, """
    image: a
    machines: {server: {memory: 1G, cpus: 2}, client: {memory: 64M, cpus: 1}}
    steps: [fork: {count: 8, steps: [wait_for_open_port: 1, reboot]}]
    """)  # fmt: skip
    room = Room(3)
    assert (await world.run(script, admission=room)).outcome == "passed"
    assert (len(world.forks), world.most_open) == (16, 8)  # three that were admitted, and one in the place of the source
    assert len(room.asked) == 7  # one runs in any case
    assert set(room.asked) == {((1 << 30) + (64 << 20), 3)}


async def test_one_always_runs_even_where_there_is_no_room(world: World, tmp_path: Path) -> None:
    """Runs that hold room of their own must never wait for each other's."""
    result = await run_steps(
        world, tmp_path, "- branches: {a: [branches: {b: [reboot], c: [reboot]}], d: [reboot]}", admission=Room(0)
    )
    assert (result.outcome, world.most_open) == ("passed", 2)  # a, and b or c inside it


async def test_a_fork_that_does_not_come_up_fails_its_branch_alone(world: World, tmp_path: Path) -> None:
    world.fork_errors["2.1-upgrade"] = SnapshotError("the state does not load", hint="boot cold", evidence={"qemu": "no"})
    result = await run_steps(world, tmp_path, TWO)
    assert (result.exit_status, result.reason) == (3, "step 2.1 (upgrade): the state does not load")
    branch = result.steps[1].steps[0]
    assert (branch.outcome, branch.hint, branch.evidence) == ("error", "boot cold", ["evidence/2.1-qemu.txt"])
    assert told(result.steps)["2.2"] == "passed"


async def test_a_fork_that_cannot_be_closed_fails_its_branch_and_hides_no_failure(world: World, tmp_path: Path) -> None:
    world.answers["up"] = CommandResult("up", 7)
    world.fork_close_errors |= dict.fromkeys(["2.1-upgrade", "2.2-reboot"], QemuExited("QEMU is stuck"))
    result = await run_steps(world, tmp_path, TWO)
    upgrade, reboot = result.steps[1].steps
    assert (upgrade.outcome, upgrade.detail) == ("failed", "step 2.1.1 (succeed: up) did not pass")
    assert (reboot.outcome, reboot.detail) == ("error", "QEMU is stuck")


async def test_the_time_of_a_branch_begins_when_there_is_room_for_it(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- fork: {count: 3, steps: [reboot]}", admission=Room(0))
    one, two, three = result.steps[0].steps
    assert one.started_s + one.duration_s <= two.started_s
    assert two.started_s + two.duration_s <= three.started_s


async def test_reports_of_one_machine_do_not_name_it_at_each_step(world: World, tmp_path: Path) -> None:
    world.answers["up"] = CommandResult("up", 7)
    result = await run_steps(world, tmp_path, TWO)
    printed = io.StringIO()
    print_failures(result, Console(file=printed, width=200), world.folder)
    assert "  machine " not in printed.getvalue()
    page = render_html(world.folder, result)
    assert '<small class="on">' not in page
    assert "Machine in branch 2.1-upgrade" in page


async def test_a_wish_to_stop_while_machines_are_frozen_lets_them_go(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [reboot, branches: {x: [reboot]}]")
    stop, hanging = Stop(), asyncio.Event()

    async def hang(kind: str, *, key: str = "", title: str = "") -> Any:
        hanging.set()
        await asyncio.Event().wait()

    def begin_to_hang(event: Any) -> None:
        if getattr(event, "index", "") == "1":
            world.machines["client"].freeze = hang  # type: ignore[method-assign]

    world.bus.subscribe(begin_to_hang)
    running = asyncio.create_task(world.run(script, stop=stop))
    await hanging.wait()
    stop.request("enough")
    assert (await running).outcome == "interrupted"
    assert world.cellar.held == []


async def test_machines_that_cannot_be_frozen_fail_the_step(world: World, tmp_path: Path) -> None:
    world.cellar.error = SnapshotError("its memory is not in a file", hint="use start: warm")
    result = await run_steps(world, tmp_path, TWO)
    step = result.steps[1]
    assert (step.outcome, step.detail, step.hint) == ("error", "its memory is not in a file", "use start: warm")
    assert [(one.outcome, one.detail) for one in step.steps] == [("skipped", "the step ended before it began")] * 2
    assert world.forks == []


async def test_when_one_of_several_cannot_be_frozen_the_others_are_let_go(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [branches: {x: [reboot]}]")

    async def refuse(kind: str, *, key: str = "", title: str = "") -> Any:
        raise HostError("no")

    opened = world.open_machine.__call__

    @asynccontextmanager
    async def opening(name: str, *arguments: Any) -> Any:
        async with opened(name, *arguments) as machine:
            if name == "client":
                machine.freeze = refuse
            yield machine

    world.open_machine.__class__ = type("Opener", (type(world.open_machine),), {"__call__": staticmethod(opening)})
    assert (
        await world.run(
            script,
        )
    ).exit_status == 3
    assert world.cellar.held == []


async def test_the_limit_of_the_step_ends_all_branches(world: World, tmp_path: Path) -> None:
    steps = "- timeout: 50ms\n  branches: {a: [wait_for_file: x], b: [wait_for_file: y], c: [reboot], d: [reboot], e: [reboot]}"
    result = await run_steps(world, tmp_path, steps)
    assert (result.outcome, result.exit_status) == ("timeout", 1)
    assert told(result.steps) == {
        "1": "timeout", "1.1": "timeout", "1.1.1": "timeout", "1.2": "timeout", "1.2.1": "timeout",
        "1.3": "skipped", "1.4": "skipped", "1.5": "skipped",
    }  # fmt: skip
    assert world.open_now == []
    assert sorted(world.cellar.held) == []


async def test_a_wish_to_stop_ends_all_branches_and_keeps_nothing(world: World, tmp_path: Path) -> None:
    stop = Stop()
    running = asyncio.create_task(
        run_steps(world, tmp_path, "- branches: {a: [wait_for_file: x], b: [wait_for_file: y]}", stop=stop)
    )
    await until(lambda: len(world.open_now) == 2 and all(machine.commands for machine in world.open_now))
    stop.request("enough")
    result = await running
    assert (result.outcome, result.exit_status, result.kept) == ("interrupted", 130, None)
    assert told(result.steps) == dict.fromkeys(["1", "1.1", "1.1.1", "1.2", "1.2.1"], "interrupted")
    assert (world.open_now, world.cellar.held) == ([], [])


async def test_a_branch_that_waits_for_room_when_the_others_are_done_is_run_by_them() -> None:
    done: list[int] = []
    world = TwoAtOnce()
    async with world.room(1, 1):
        waiting = asyncio.create_task(_enter(world, done))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with world.room(1, 1):  # who was cancelled holds nothing
        assert done == []


async def _enter(admission: TwoAtOnce, done: list[int]) -> None:
    async with admission.room(1, 1):
        done.append(1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("- branches:", "1:5 branches needs 'branches'"),
        ("- branches: {}", "1:15 'branches' must not be empty"),
        ("- branches: [reboot]", "1:15 'branches' must be a mapping"),
        ("- branches: {a: reboot}", "1:19 'a' must be a list"),
        ("- branches: {a: []}", "1:19 'a' must not be empty"),
        ("- branches: {a: [reboo]}", "1:20 unknown verb 'reboo' -> did you mean 'reboot'?"),
        ("- branches: {branches: []}", "1:26 'branches' must not be empty"),
        ("- branches: {branches: [reboot], a: []}", "1:39 'a' must not be empty"),
        ('- branches: {"": [reboot]}', "1:20 '' must not be empty"),
        ("- branch: {a: [reboot]}", "1:5 unknown verb 'branch' -> did you mean 'branches'?"),
        ("- parallel: {a: [reboot]}", "1:5 unknown verb 'parallel' -> use branches: {name: [...], name: [...]}"),
        ("- fork: {count: 0, steps: [reboot]}", "1:19 'count' must be at least 1"),
        ("- fork: {count: 257, steps: [reboot]}", "1:19 'count' must be at most 256"),
        ("- fork: 3", "1:11 fork takes a mapping -> write fork: {count: ..., steps: ...}"),
        ("- fork: {count: 2}", "1:5 fork needs 'steps'"),
        ("- branches: {a: [succeed: 'echo ${fork}']}", "1:35 there is no variable 'fork' -> it is known only inside a fork"),
        ("- branches: {a: [reboot]}\n  expect: {exit_code: 0}", "2:5 branches has no output to expect anything of"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, steps: str, expected: str) -> None:
    found = step_mistakes(tmp_path, steps)
    assert len(found) == 1
    assert expected in found[0]


def test_names_of_branches_are_taken_as_written(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- branches: {1: [reboot], 2.10: [reboot], yes: [reboot], a b: [reboot]}")
    assert script.steps[0].name == "branches: 1, 2.10, yes, a b"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("- restore: a", ["1:14 no step makes a snapshot 'a' -> write snapshot: a before it"]),
        ("- snapshot: ready\n- restore: raedy", ["2:14 no step makes a snapshot 'raedy' -> did you mean 'ready'?"]),
        ("- snapshot: ready\n- restore: ready", []),
        ("- restore: ready\n- branches: {a: [{snapshot: {name: ready}}]}", []),
        ("- repeat: {count: 2, steps: [{snapshot: 'a${round}'}]}\n- restore: a2", []),
        ("- snapshot: a\n- repeat: {count: 2, steps: [{restore: 'a${round}'}]}", []),
        ("- snapshot: {nam: a}\n- restore: a", ["1:16 unknown key 'nam' of snapshot -> did you mean 'name'?"]),
    ],
)
def test_a_restore_needs_a_snapshot_of_its_name(tmp_path: Path, steps: str, expected: list[str]) -> None:
    assert step_mistakes(tmp_path, steps) == expected


async def test_machines_go_back_to_restore_points(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- succeed: a\n- snapshot: s\n- succeed: b\n- restore: s\n- succeed: c")
    assert world.machines["machine"].memory == ("a", "c")


def test_editors_complete_the_steps_of_branches() -> None:
    schema = script_schema(CATALOGUE)
    step = schema["$defs"]["Step"]["anyOf"][0]["properties"]
    assert step["branches"]["additionalProperties"]["items"] == {"$ref": "#/$defs/Step"}
    assert step["branches"]["minProperties"] == 1
    assert {"count", "steps"} == set(step["fork"]["anyOf"][0]["properties"])
    assert "root" not in json.dumps(step["branches"])
