"""Keeping the machines of a failed step, and entering the run again."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scenario_world import CATALOGUE, CommandResult, World, read, read_steps, until, write
from test_scenario_branches import notices, told

from qa.errors import CommandFailed, GuestPanic, QemuExited, SnapshotError, SnapshotNotFound, SnapshotUnusable, UsageError
from qa.report.failures import print_failures
from qa.report.folder import ResultsFolder
from qa.report.html import render_html
from qa.scenario.reader import NOTHING, Given, read_script
from qa.scenario.results import RunResult, StepResult
from qa.scenario.resume import KeptRun, read_kept
from qa.scenario.runner import Manner
from qa.scenario.stop import Stop

BAD = CommandResult("bad", 1)
BRANCHES = "- succeed: a\n- branches: {one: [succeed: b], two: [succeed: c, succeed: bad, succeed: d]}\n- succeed: e"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ResultsFolder.create(tmp_path / "results", "before"), answers={"bad": BAD})


async def run_steps(world: World, tmp_path: Path, steps: str, **more: Any) -> RunResult:
    return await world.run(read_steps(tmp_path, steps), **more)


async def resume(world: World, tmp_path: Path, steps: str) -> tuple[World, RunResult]:
    """Go on from the run of ``world`` with other steps, in a world where everything succeeds."""
    kept = read_kept(world.folder.path)
    script = read_steps(tmp_path, steps)
    again = World(ResultsFolder.create(tmp_path / "results", "again"), cellar=world.cellar)
    return again, await again.run(script, manner=Manner(reentry=kept.enter(script)))


def details(steps: list[StepResult]) -> dict[str, str]:
    return {step.index: step.detail for step in steps}


async def test_a_failed_step_keeps_its_machine_as_it_was(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- succeed: a\n- subtest: {steps: [succeed: b, succeed: bad]}\n- succeed: c")
    (state,) = world.cellar.of_kind("failure")
    assert (state.memory, state.title) == (("a", "b", "bad"), f"step 2.2 of script in {world.folder.path}")
    assert result.kept
    assert (result.kept.machines, result.kept.step) == ({"machine": state.id}, "2.2")
    assert result.kept.script == str(tmp_path / "script.yaml")
    assert world.folder.read_result() == result
    assert world.cellar.held == []


async def test_all_machines_are_kept_also_those_that_are_off(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [succeed: x, succeed: bad]")
    world.bus.subscribe(lambda event: setattr(world.machines["client"], "ended", "off") if getattr(event, "index", "") else None)
    result = await world.run(script)
    assert result.kept
    assert {name: world.cellar.states[key].ended for name, key in result.kept.machines.items()} == {"server": "", "client": "off"}


async def test_a_machine_that_the_run_before_did_not_have_is_told(world: World, tmp_path: Path) -> None:
    await world.run(read(tmp_path, "image: a\nmachines: {server: {}}\nsteps: [succeed: bad]"))
    kept = read_kept(world.folder.path)
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [{on: client, reboot: }]")
    again = World(ResultsFolder.create(tmp_path / "results", "again"), cellar=world.cellar)
    result = await again.run(script, manner=Manner(reentry=kept.enter(script)))
    assert result.steps[0].detail == "there was no machine client in the run that this one goes on from"


@pytest.mark.parametrize(
    "steps",
    [
        "- succeed: bad\n  allow_failure: true",
        "- subtest: {steps: [succeed: bad]}\n  allow_failure: true",
        "- branches: {x: [succeed: bad]}\n  allow_failure: true",
        "- subtest: {steps: [branches: {x: [{repeat: {count: 2, steps: [succeed: bad]}}]}]}\n  allow_failure: true",
    ],
)
async def test_a_failure_that_is_allowed_keeps_nothing(world: World, tmp_path: Path, steps: str) -> None:
    result = await run_steps(world, tmp_path, steps)
    assert (result.outcome, result.kept, world.cellar.of_kind("failure")) == ("passed", None, [])


async def test_only_the_last_try_is_kept(world: World, tmp_path: Path) -> None:
    steps = "- branches: {x: [succeed: bad]}\n  retry: {times: 2, delay: 0}"
    result = await run_steps(world, tmp_path, steps)
    assert result.kept
    assert result.kept.step == "1.1.1"
    assert len(world.cellar.of_kind("failure")) == 1


async def test_branches_in_the_last_try_of_branches_are_kept(world: World, tmp_path: Path) -> None:
    steps = "- branches: {x: [branches: {y: [succeed: bad]}]}\n  retry: {times: 1, delay: 0}"
    result = await run_steps(world, tmp_path, steps)
    assert result.kept
    assert result.kept.step == "1.1.1.1.1"


async def test_of_several_branches_the_first_that_fails_is_kept(world: World, tmp_path: Path) -> None:
    result = await run_steps(
        world, tmp_path, "- succeed: a\n- branches: {x: [succeed: b, succeed: bad], y: [succeed: c, reboot, succeed: bad]}"
    )
    (state,) = world.cellar.of_kind("failure")
    assert state.memory == ("a", "b", "bad")
    assert result.kept
    assert result.kept.step == "2.1.2"


async def test_where_the_branches_themselves_fail_their_source_is_kept(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- succeed: a\n- branches: {x: [wait_for_file: f]}\n  timeout: 20ms")
    assert result.kept
    assert (result.kept.step, world.cellar.states[result.kept.machines["machine"]].memory) == ("2", ("a",))


@pytest.mark.parametrize("error", [GuestPanic("panic"), QemuExited("gone")])
@pytest.mark.parametrize("steps", ["- succeed: dead", "- subtest: {steps: [succeed: dead]}", "- branches: {x: [succeed: dead]}"])
async def test_the_dead_are_not_kept(world: World, tmp_path: Path, error: Exception, steps: str) -> None:
    world.answers["dead"] = error
    result = await run_steps(world, tmp_path, steps)
    assert (result.exit_status, result.kept, world.cellar.of_kind("failure"), notices(world)) == (4, None, [], [])


async def test_nothing_is_kept_where_nobody_wants_it(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- succeed: bad", manner=Manner(keep_failed=False))
    assert (result.kept, world.cellar.states) == (None, {})


@pytest.mark.parametrize("error", [SnapshotError("its memory is not in a file"), RuntimeError("a defect")])
async def test_a_freeze_that_fails_is_a_notice_and_changes_nothing(world: World, tmp_path: Path, error: Exception) -> None:
    world.cellar.error = error
    result = await run_steps(world, tmp_path, "- succeed: bad")
    assert (result.outcome, result.exit_status, result.kept) == ("failed", 1, None)
    assert result.reason == "step 1 (succeed: bad): the command ended with 1"
    assert notices(world) == [f"the machines could not be kept as they were: {error}"]


async def test_an_interrupted_run_keeps_nothing(world: World, tmp_path: Path) -> None:
    stop = Stop()
    running = asyncio.create_task(run_steps(world, tmp_path, "- wait_for_file: never", stop=stop))
    await until(lambda: world.machines and world.machines["machine"].commands)
    stop.request("enough")
    result = await running
    assert (result.outcome, result.kept, world.cellar.states) == ("interrupted", None, {})


async def test_a_machine_that_does_not_come_up_is_not_kept(world: World, tmp_path: Path) -> None:
    world.boot_errors["machine"] = CommandFailed("no")
    result = await run_steps(world, tmp_path, "- reboot")
    assert (result.kept, notices(world)) == (None, [])


async def test_reports_say_how_to_go_on(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- succeed: bad")
    printed = io.StringIO()
    print_failures(result, Console(file=printed, width=200), world.folder)
    line = f"the machine is kept as at step 1: anima-qa run --resume {world.folder.path}"
    assert f"go on       {line}" in printed.getvalue()
    page = render_html(world.folder, result)
    assert f'the machine is kept as at step 1: <code id="go-on">anima-qa run --resume {world.folder.path}</code>' in page
    result.kept = None
    assert "Go on" not in render_html(world.folder, result)


async def test_the_mended_script_goes_on_at_the_failed_step(world: World, tmp_path: Path) -> None:
    before = await run_steps(world, tmp_path, "- succeed: a\n- name: check\n  succeed: bad\n- succeed: c")
    again, result = await resume(world, tmp_path, "- succeed: changed\n- succeed: good\n- succeed: c")
    assert before.kept
    assert (result.outcome, result.resumed_from) == ("passed", str(world.folder.path))
    assert told(result.steps) == {"1": "skipped", "2": "passed", "3": "passed"}
    assert details(result.steps)["1"] == "passed in the run before"
    assert notices(again) == [f"going on at step 2 from the run in {world.folder.path}"]
    assert again.forks[0].memory == ("a", "bad", "good", "c")
    assert again.machines == {}
    assert [(machine.name, machine.start) for machine in result.machines] == [("machine", "fork")]
    assert again.cellar.held == []


async def test_a_step_in_groups_is_found_by_its_index(world: World, tmp_path: Path) -> None:
    inside = "{{repeat: {{count: 3, steps: [succeed: '{0} ${{round}}', succeed: 'e ${{round}}']}}}}"
    steps = f"- subtest: {{{{steps: [reboot, {inside}]}}}}\n- reboot"
    world.answers["try 2"] = BAD
    before = await run_steps(world, tmp_path, steps.format("try"))
    assert before.kept
    assert before.kept.step == "1.2.2.1"
    again, result = await resume(world, tmp_path, steps.format("do"))
    assert result.outcome == "passed"
    assert told(result.steps) == {
        "1": "passed", "1.1": "skipped", "1.2": "passed", "1.2.1": "skipped",
        "1.2.2": "passed", "1.2.2.1": "passed", "1.2.2.2": "passed",
        "1.2.3": "passed", "1.2.3.1": "passed", "1.2.3.2": "passed", "2": "passed",
    }  # fmt: skip
    assert again.forks[0].memory[-4:] == ("do 2", "e 2", "do 3", "e 3")


async def test_of_a_branch_only_the_rest_is_run(world: World, tmp_path: Path) -> None:
    before = await run_steps(world, tmp_path, BRANCHES)
    assert before.kept
    assert before.kept.step == "2.2.2"
    again, result = await resume(world, tmp_path, BRANCHES.replace("bad", "good"))
    assert result.outcome == "passed"
    assert told(result.steps) == {
        "1": "skipped", "2": "passed", "2.1": "skipped", "2.2": "passed", "2.2.1": "skipped", "2.2.2": "passed",
        "2.2.3": "passed", "3": "skipped",
    }  # fmt: skip
    assert details(result.steps)["3"] == "only the rest of 'two' is run again"
    assert details(result.steps[1].steps)["2.1"] == "only the rest of 'two' is run again"
    assert [fork.memory for fork in again.forks] == [("a", "c", "bad", "good", "d")]


async def test_a_resumed_step_that_is_tried_again_begins_anew(world: World, tmp_path: Path) -> None:
    steps = "- retry: {times: 1, delay: 0}\n  subtest: {steps: [succeed: a, succeed: bad]}"
    await run_steps(world, tmp_path, steps)
    kept, script = read_kept(world.folder.path), read_steps(tmp_path, steps)
    answers = {"bad": [BAD, CommandResult("bad")]}
    again = World(ResultsFolder.create(tmp_path / "results", "again"), answers=answers, cellar=world.cellar)
    result = await again.run(script, manner=Manner(reentry=kept.enter(script)))
    assert (result.outcome, again.forks[0].memory[-3:]) == ("passed", ("bad", "a", "bad"))


async def test_a_branch_is_found_by_its_name(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, BRANCHES)
    _, result = await resume(
        world, tmp_path, "- succeed: a\n- branches: {two: [reboot, succeed: x], zero: [reboot], one: [reboot]}"
    )
    assert told(result.steps) == {
        "1": "skipped", "2": "passed", "2.1": "passed", "2.1.1": "skipped", "2.1.2": "passed", "2.2": "skipped", "2.3": "skipped"
    }  # fmt: skip


async def test_in_a_round_around_branches_the_other_rounds_are_not_run(world: World, tmp_path: Path) -> None:
    steps = "- repeat: {count: 3, steps: [fork: {count: 2, steps: [succeed: '%s']}, reboot]}"
    world.answers["bad 2 2"] = BAD
    before = await run_steps(world, tmp_path, steps % "bad ${round} ${fork}")
    assert before.kept
    assert before.kept.step == "1.2.1.2.1"
    _, result = await resume(world, tmp_path, steps % "good ${round} ${fork}")
    assert told(result.steps) == {
        "1": "passed", "1.1": "skipped", "1.2": "passed", "1.2.1": "passed", "1.2.1.1": "skipped", "1.2.1.2": "passed",
        "1.2.1.2.1": "passed", "1.2.2": "skipped", "1.3": "skipped",
    }  # fmt: skip


async def test_what_is_resumed_may_fail_and_be_entered_again(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, BRANCHES)
    kept = read_kept(world.folder.path)
    script = read_steps(tmp_path, BRANCHES.replace("bad", "good").replace("succeed: d", "succeed: bad"))
    second = World(ResultsFolder.create(tmp_path / "results", "second"), answers={"bad": BAD}, cellar=world.cellar)
    result = await second.run(script, manner=Manner(reentry=kept.enter(script)))
    assert result.kept
    assert result.kept.step == "2.2.3"
    again, result = await resume(second, tmp_path, BRANCHES)
    assert (result.outcome, again.forks[0].memory) == ("passed", ("a", "c", "bad", "good", "bad", "d"))


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ("- succeed: a", "the script has no step 2.2.2 any more: there are only 1 steps"),
        ("- succeed: a\n- succeed: b", "the script has no step 2.2.2 any more: step 2 (succeed: b) has no steps inside"),
        (
            "- succeed: a\n- branches: {one: [reboot]}",
            "the script has no step 2.2.2 any more: step 2 (branches: one) has no branch 'two'",
        ),
        (
            "- succeed: a\n- branches: {two: [reboot]}",
            "the script has no step 2.2.2 any more: there are only 1 steps in step 2.1",
        ),
        ("- succeed: a\n- repeat: {count: 1, steps: [reboot, reboot]}", "step 2 (repeat) has only 1 rounds"),
    ],
)
async def test_a_step_that_is_gone_is_told(world: World, tmp_path: Path, steps: str, error: str) -> None:
    await run_steps(world, tmp_path, BRANCHES)
    kept = read_kept(world.folder.path)
    with pytest.raises(UsageError) as raised:
        kept.enter(read_steps(tmp_path, steps))
    assert error in raised.value.message
    assert raised.value.hint


async def test_the_script_is_found_where_it_was_with_the_variables_it_was_given(world: World, tmp_path: Path) -> None:
    path = write(tmp_path, "vars: {page: own, mine: own}\nsteps: [succeed: bad, succeed: '${page} ${mine} ${only}']")
    await world.run(read_script(path, CATALOGUE, Given({"page": "given", "only": "here"}, image="other")))
    write(tmp_path, "vars: {page: own, mine: mended}\nsteps: [succeed: good, succeed: '${page} ${mine} ${only}']")
    kept = read_kept(world.folder.path)
    assert dict(kept.script(None, CATALOGUE, {}).variables) == {"page": "given", "only": "here", "mine": "mended"}
    assert kept.script(None, CATALOGUE, {"only": "now"}).variables["only"] == "now"
    assert kept.script(None, CATALOGUE, {}).machines[0].image == "other"
    other = write(tmp_path, "image: b\nname: other\nsteps: [reboot]", "other.yaml")
    assert kept.script(other, CATALOGUE, {}).name == "other"


async def test_of_a_matrix_the_combination_that_failed_is_resumed(world: World, tmp_path: Path) -> None:
    from qa.scenario.reader import read_runs

    path = write(tmp_path, "image: a\nmatrix: {v: [1, 2], start: [warm, cold]}\nsteps: [succeed: bad, succeed: 'x ${v}']")
    script = read_runs(path, CATALOGUE, NOTHING)[3]
    await world.run(script)
    assert read_kept(world.folder.path).script(None, CATALOGUE, {}).name == script.name


def test_results_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no results folder") as raised:
        read_kept(tmp_path / "absent")
    assert raised.value.hint
    with pytest.raises(UsageError, match="cannot read"):
        read_kept(tmp_path)


async def test_of_a_run_that_passed_nothing_is_kept(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- reboot")
    with pytest.raises(UsageError, match=r"no machine was kept of before-[-\d]+: it passed"):
        read_kept(world.folder.path)


@pytest.mark.parametrize("step", ["0", "1.0", "x", "", "1.", "-1"])
async def test_a_result_that_was_tampered_with_is_told(world: World, tmp_path: Path, step: str) -> None:
    await run_steps(world, tmp_path, "- succeed: bad")
    text = world.folder.result_json.read_text()
    world.folder.result_json.write_text(text.replace('"step": "1"', f'"step": "{step}"'))
    with pytest.raises(UsageError, match="is not a result"):
        read_kept(world.folder.path)


async def kept_run(world: World, tmp_path: Path) -> KeptRun:
    await run_steps(world, tmp_path, "- succeed: bad")
    return read_kept(world.folder.path)


async def test_a_machine_that_was_removed_or_damaged_is_told(world: World, tmp_path: Path) -> None:
    kept = await kept_run(world, tmp_path)

    def gone(identity: str) -> object:
        raise SnapshotNotFound("not there")

    def damaged(identity: str) -> object:
        raise SnapshotUnusable("a byte was changed")

    with pytest.raises(SnapshotNotFound, match="was removed to make room") as raised:
        kept.check(gone)
    assert raised.value.hint == f"run the script again: anima-qa run {tmp_path / 'script.yaml'}"
    with pytest.raises(SnapshotUnusable, match="cannot be used: a byte was changed"):
        kept.check(damaged)
    kept.check(lambda identity: None)


async def test_a_machine_that_is_gone_when_the_run_begins_ends_it(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- succeed: bad")
    world.cellar.states.clear()
    _, result = await resume(world, tmp_path, "- succeed: good")
    assert (result.exit_status, told(result.steps)) == (2, {"1": "skipped"})


async def test_when_one_of_several_is_gone_the_others_are_let_go(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [succeed: bad]")
    result = await world.run(script)
    assert result.kept
    del world.cellar.states[result.kept.machines["client"]]
    again = World(ResultsFolder.create(tmp_path / "results", "again"), cellar=world.cellar)
    await again.run(script, manner=Manner(reentry=read_kept(world.folder.path).enter(script)))
    assert (again.cellar.held, again.open_now) == ([], [])


async def test_a_machine_that_does_not_fit_any_more_says_what_to_do(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- succeed: bad")
    kept = read_kept(world.folder.path)
    script = read_steps(tmp_path, "- succeed: bad")
    again = World(ResultsFolder.create(tmp_path / "results", "again"), cellar=world.cellar)
    again.fork_errors["machine"] = SnapshotUnusable("the hardware changed")
    result = await again.run(script, manner=Manner(reentry=kept.enter(script)))
    assert (result.exit_status, result.reason) == (3, "the hardware changed")
    assert result.hint == f"run the script again from its beginning: anima-qa run {script.path}"
    assert again.cellar.held == []


async def test_the_machine_of_the_failed_step_is_the_one_to_look_into(world: World, tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachines: {server: {}, client: {}}\nsteps: [{on: client, succeed: bad}]")
    result = await world.run(script)
    assert result.kept
    kept = read_kept(world.folder.path)
    assert kept.machine(None) == "client"
    assert kept.machine("server") == "server"
    with pytest.raises(UsageError, match="'other' was not kept") as raised:
        kept.machine("other")
    assert raised.value.hint == "there are: server, client"
