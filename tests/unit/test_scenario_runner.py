from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from scenario_world import CommandResult, World, read, read_steps, until, write

from qa.errors import (
    BootFailed,
    DeadlineExceeded,
    FirmwareMissing,
    GuestPanic,
    HostError,
    ImageNotFound,
    NoSpace,
    QemuExited,
)
from qa.events import RunFinished, RunStarted, StepFinished, StepStarted
from qa.report.folder import ResultsFolder
from qa.scenario import evidence, machines
from qa.scenario.results import RunResult, StepResult
from qa.scenario.stop import Stop, stop_on_signals
from qa.scenario.verdict import judge, most_serious


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ResultsFolder.create(tmp_path / "results", "test"))


async def run_steps(world: World, tmp_path: Path, steps: str, **more: Any) -> RunResult:
    return await world.run(read_steps(tmp_path, steps), **more)


def outcomes(steps: list[StepResult]) -> dict[str, str]:
    return {step.index: step.outcome for step in steps}


def text_of(world: World, path: str) -> str:
    return (world.folder.path / path).read_text()


async def test_an_argument_may_have_the_name_of_a_method_of_mappings(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- send_key: esc")
    assert (result.outcome, world.machines["machine"].commands) == ("passed", ["esc"])


async def test_steps_run_in_order_and_all_is_in_the_result(world: World, tmp_path: Path) -> None:
    world.answers["uname"] = CommandResult("uname", 0, b"Linux\n", b"\xff", 0.25)
    result = await run_steps(world, tmp_path, "- succeed: a\n- execute: uname\n- reboot\n- screenshot: s\n- read_console")
    assert world.machines["machine"].commands == ["a", "uname", "reboot"]
    assert (result.outcome, result.reason, result.exit_status) == ("passed", "", 0)
    assert outcomes(result.steps) == dict.fromkeys("12345", "passed")
    command = result.steps[1].command
    assert command
    assert (command.command, command.exit_code, command.stdout, command.stderr, command.duration_s) == (
        "uname",
        0,
        "Linux\n",
        "�",
        0.25,
    )
    assert result.steps[3].evidence == ["shots/s.png"]
    assert result.steps[4].detail == "login:"
    (machine,) = result.machines
    assert (machine.name, machine.image, machine.ready_s, machine.channel) == ("machine", "builtin", 1.5, "shell")
    assert world.closed == ["machine"]
    assert world.folder.read_result() == result


async def test_the_bus_hears_of_the_run_and_each_step(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- succeed: a\n- subtest: {name: s, steps: [reboot]}", run="one")
    told = [(type(event).__name__, getattr(event, "index", ""), getattr(event, "run", "")) for event in world.events]
    assert told == [
        ("RunStarted", "", "one"),
        ("StepStarted", "1", "one"),
        ("StepFinished", "1", "one"),
        ("StepStarted", "2", "one"),
        ("StepStarted", "2.1", "one"),
        ("StepFinished", "2.1", "one"),
        ("StepFinished", "2", "one"),
        ("RunFinished", "", "one"),
    ]
    first, last = world.events[0], world.events[-1]
    assert isinstance(first, RunStarted)
    assert isinstance(last, RunFinished)
    assert (first.steps, last.outcome, last.folder) == (2, "passed", str(world.folder.path))


async def test_the_result_is_written_before_its_end_is_told(world: World, tmp_path: Path) -> None:
    seen: list[RunResult] = []
    world.bus.subscribe(lambda event: seen.append(world.folder.read_result()) if isinstance(event, RunFinished) else None)
    result = await run_steps(world, tmp_path, "- reboot")
    assert seen == [result]


async def test_a_failed_step_stops_the_run_and_brings_its_evidence(world: World, tmp_path: Path) -> None:
    world.answers["bad"] = CommandResult("bad", 3, b"out\n", b"err\n")
    result = await run_steps(world, tmp_path, "- name: it works\n  succeed: bad\n- reboot")
    assert (result.outcome, result.exit_status) == ("failed", 1)
    assert result.reason == "step 1 (it works): the command ended with 3"
    failed, skipped = result.steps
    assert (failed.outcome, failed.detail) == ("failed", "the command ended with 3")
    assert failed.command
    assert (failed.command.exit_code, failed.command.stdout) == (3, "out\n")
    assert failed.evidence == ["shots/step-1-failed.png", "evidence/1-console.txt"]
    assert text_of(world, "evidence/1-console.txt") == "Welcome\nlogin:\n"
    assert failed.place == f"{tmp_path}/script.yaml:3:5"
    assert (skipped.outcome, skipped.detail) == ("skipped", "an earlier step did not pass")
    assert world.machines["machine"].commands == ["bad"]


async def test_evidence_of_an_error_is_kept_in_files(world: World, tmp_path: Path) -> None:
    world.answers["boom"] = GuestPanic(
        "the guest panicked", hint="look", evidence={"console, last lines": "short", "registers": "RIP", "again": "RIP", "no": ""}
    )
    result = await run_steps(world, tmp_path, "- succeed: boom")
    assert result.steps[0].hint == result.hint == "look"
    assert result.steps[0].evidence[1:] == ["evidence/1-console.txt", "evidence/1-registers.txt"]
    assert text_of(world, "evidence/1-registers.txt") == "RIP\n"
    assert text_of(world, "evidence/1-console.txt") == "Welcome\nlogin:\n"


async def test_a_dead_guest_does_not_hang_the_report(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "EVIDENCE_LIMIT_S", 0.01)

    async def never(*_: object) -> Path:
        await asyncio.Event().wait()
        raise AssertionError

    def broken(*_: object) -> str:
        raise OSError

    monkeypatch.setattr("scenario_world.FakeMachine.screenshot", never)
    monkeypatch.setattr("scenario_world.FakeMachine.console_tail", broken)
    world.answers["boom"] = GuestPanic("the guest panicked", evidence={"console, last lines": "Oops"})
    result = await run_steps(world, tmp_path, "- succeed: boom")
    assert (result.steps[0].outcome, result.exit_status) == ("error", 4)
    assert result.steps[0].evidence == ["evidence/1-console-last-lines.txt"]


async def test_of_a_console_the_moments_are_kept_that_a_step_ended_at(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- execute: one\n- execute: two\n- subtest: {name: s, steps: [execute: three]}")
    (machine,) = result.machines
    assert [size for _, size in machine.console_moments] == [3, 6, 9]
    one, two, three = result.steps
    for (at, _), step in zip(machine.console_moments, (one, two, three.steps[0]), strict=True):
        assert step.started_s <= at <= step.started_s + step.duration_s


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (DeadlineExceeded("late"), "timeout", 1),
        (GuestPanic("panic"), "error", 4),
        (HostError("no"), "error", 3),
        (RuntimeError("bug"), "error", 70),
        (ExceptionGroup("many", [ValueError("x"), ExceptionGroup("in", [QemuExited("gone")])]), "error", 4),
    ],
)
async def test_what_ends_a_step_decides_outcome_and_exit_status(
    world: World, tmp_path: Path, error: Exception, outcome: str, status: int
) -> None:
    world.answers["boom"] = error
    result = await run_steps(world, tmp_path, "- succeed: boom")
    assert (result.outcome, result.exit_status, result.steps[0].outcome) == (outcome, status, outcome)


async def test_a_defect_of_ours_keeps_its_traceback(world: World, tmp_path: Path) -> None:
    world.answers["boom"] = RuntimeError("bug")
    result = await run_steps(world, tmp_path, "- succeed: boom\n  allow_failure: true\n- reboot")
    assert "a defect of anima-qa: RuntimeError: bug" in result.reason
    assert "RuntimeError: bug" in text_of(world, "evidence/1-traceback.txt")
    assert outcomes(result.steps) == {"1": "error", "2": "skipped"}


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (DeadlineExceeded("not ready"), "timeout", 5),
        (BootFailed("grub>"), "error", 4),
        (FirmwareMissing("no OVMF", hint="install it"), "error", 3),
        (ImageNotFound("no image"), "error", 3),
        (KeyError("bug"), "error", 70),
    ],
)
async def test_what_ends_a_boot_decides_outcome_and_exit_status(
    world: World, tmp_path: Path, error: Exception, outcome: str, status: int
) -> None:
    world.boot_errors["machine"] = error
    result = await run_steps(world, tmp_path, "- reboot\n- subtest: {name: s, steps: [reboot]}")
    assert (result.outcome, result.exit_status) == (outcome, status)
    assert outcomes(result.steps) == {"1": "skipped", "2": "skipped"}
    assert result.hint == (getattr(error, "hint", None) or result.hint)
    assert (result.machines[0].name, result.machines[0].ready_s) == ("machine", None)
    assert world.closed == ["machine"]


async def test_evidence_of_a_failed_boot_belongs_to_the_run(world: World, tmp_path: Path) -> None:
    world.boot_errors["machine"] = BootFailed("grub>", evidence={"screen text": "grub> _"})
    result = await run_steps(world, tmp_path, "- reboot")
    assert result.evidence == ["evidence/0-screen-text.txt"]


async def test_an_error_on_closing_is_told_when_nothing_else_was(world: World, tmp_path: Path) -> None:
    world.close_errors["machine"] = QemuExited("QEMU crashed")
    result = await run_steps(world, tmp_path, "- reboot")
    assert (result.outcome, result.exit_status, result.reason) == ("error", 4, "QEMU crashed")
    world.answers["bad"] = CommandResult("bad", 1)
    result = await run_steps(world, tmp_path, "- succeed: bad")
    assert (result.outcome, result.exit_status) == ("failed", 1)


async def test_all_machines_boot_at_once_and_steps_go_to_theirs(world: World, tmp_path: Path) -> None:
    text = "image: x\nmachines: {a: {}, b: {cpus: 3, cloud_init: {k: v}}}\nsteps:\n  - succeed: one\n  - succeed: two\n    on: b"
    result = await world.run(read(tmp_path, text))
    assert world.machines["a"].commands == ["one"]
    assert world.machines["b"].commands == ["two"]
    assert [step.machine for step in result.steps] == ["a", "b"]
    assert world.plans["b"][1].cpus == 3
    assert world.plans["b"][2] == {"k": "v"}
    assert sorted(world.closed) == ["a", "b"]


async def test_a_machine_that_does_not_come_up_gives_up_the_others(world: World, tmp_path: Path) -> None:
    world.boot_errors["b"] = BootFailed("no")
    world.hanging_boots.add("c")
    result = await world.run(read(tmp_path, "image: x\nmachines: {a: {}, b: {}, c: {}}\nsteps: [reboot]"))
    assert (result.outcome, result.reason) == ("error", "no")
    assert sorted(world.booting) == sorted(world.closed) == ["a", "b", "c"]


async def test_a_failure_may_be_allowed(world: World, tmp_path: Path) -> None:
    world.answers["bad"] = CommandResult("bad", 1)
    world.answers["late"] = DeadlineExceeded("late")
    result = await run_steps(
        world, tmp_path, "- succeed: bad\n  allow_failure: true\n- succeed: late\n  allow_failure: yes\n- reboot"
    )
    assert result.outcome == "passed"
    assert [(step.outcome, step.allowed_failure) for step in result.steps] == [
        ("failed", True),
        ("timeout", True),
        ("passed", False),
    ]


async def test_a_step_is_retried_until_it_passes(world: World, tmp_path: Path) -> None:
    world.answers["x"] = [CommandResult("x", 1), CommandResult("x", 1), CommandResult("x", 0)]
    result = await run_steps(world, tmp_path, "- succeed: x\n  retry: {times: 5, delay: 1ms}")
    assert (result.outcome, result.steps[0].attempts) == ("passed", 3)
    assert result.steps[0].evidence == []


async def test_retries_end(world: World, tmp_path: Path) -> None:
    world.answers["x"] = CommandResult("x", 0, b"no")
    result = await run_steps(world, tmp_path, "- execute: x\n  expect: {stdout: ^yes$}\n  retry: {times: 2, delay: 0}")
    assert (result.outcome, result.steps[0].attempts) == ("failed", 3)
    assert result.steps[0].detail == "stdout has nothing that matches '^yes$'"


async def test_a_dead_machine_is_not_tried_again(world: World, tmp_path: Path) -> None:
    world.answers["x"] = GuestPanic("panic")
    result = await run_steps(world, tmp_path, "- succeed: x\n  retry: 5")
    assert result.steps[0].attempts == 1


@pytest.mark.parametrize(
    ("expect", "detail"),
    [
        ("{exit_code: 3, stdout: '^b$', stderr: warn}", ""),
        ("{exit_code: 0}", "the exit code should be 0, it was 3"),
        ("{stdout: c}", "stdout has nothing that matches 'c'"),
        ("{exit_code: 1, stderr: fatal}", "the exit code should be 1, it was 3; stderr has nothing that matches 'fatal'"),
    ],
)
async def test_expectations_are_compared_with_what_a_command_gave(world: World, tmp_path: Path, expect: str, detail: str) -> None:
    world.answers["x"] = CommandResult("x", 3, b"a\nb\n", b"warning\n")
    result = await run_steps(world, tmp_path, f"- execute: x\n  expect: {expect}")
    assert (result.steps[0].detail, result.outcome) == (detail, "failed" if detail else "passed")
    assert result.steps[0].command


async def test_a_killed_command_has_no_exit_code_to_expect(world: World, tmp_path: Path) -> None:
    world.answers["x"] = CommandResult("x", None)
    result = await run_steps(world, tmp_path, "- execute: x\n  expect: {exit_code: 0, stdout: a}")
    assert "it was killed at its time limit" in result.reason
    assert "it is empty" in result.reason


async def test_text_can_be_expected_too(world: World, tmp_path: Path) -> None:
    result = await run_steps(
        world, tmp_path, "- read_console:\n  expect: {stdout: login}\n- read_console:\n  expect: {stdout: root@}"
    )
    assert outcomes(result.steps) == {"1": "passed", "2": "failed"}
    assert text_of(world, "evidence/2-text.txt") == "login:\n"


async def test_long_output_is_shortened_in_the_report(world: World, tmp_path: Path) -> None:
    world.answers["x"] = CommandResult("x", 0, b"a" * 100_000 + b"z")
    (step,) = (await run_steps(world, tmp_path, "- execute: x\n  expect: {stdout: z$}")).steps
    assert step.command
    assert step.command.truncated
    assert step.command.stdout.endswith("z")
    assert len(step.command.stdout) < 70_000


async def test_a_step_without_a_limit_of_its_own_is_ended_at_its_timeout(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- wait_for_file: /x\n  timeout: 10ms")
    assert (result.outcome, result.exit_status) == ("timeout", 1)
    assert result.steps[0].detail == "the end of step 1 did not happen within 10 ms"


async def test_limits_of_steps_grow_under_software_emulation(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- wait_for_file: /x\n  timeout: 10ms", tcg_factor=2)
    assert "within 20 ms (10 ms x 2 under software emulation)" in result.steps[0].detail


async def test_a_subtest_fails_with_its_step_and_names_it(world: World, tmp_path: Path) -> None:
    world.answers["bad"] = CommandResult("bad", 1)
    result = await run_steps(world, tmp_path, "- subtest: {name: all, steps: [reboot, {succeed: bad}, reboot]}\n- reboot")
    subtest, last = result.steps
    assert (subtest.outcome, subtest.name, subtest.evidence) == ("failed", "all", [])
    assert subtest.detail == "step 1.2 (succeed: bad) did not pass"
    assert outcomes(subtest.steps) == {"1.1": "passed", "1.2": "failed", "1.3": "skipped"}
    assert result.reason == "step 1.2 (succeed: bad): the command ended with 1"
    assert last.outcome == "skipped"


async def test_a_failure_inside_a_subtest_that_may_fail_does_not_end_the_run(world: World, tmp_path: Path) -> None:
    world.answers["bad"] = CommandResult("bad", 1)
    result = await run_steps(world, tmp_path, "- subtest: {name: s, steps: [{succeed: bad}]}\n  allow_failure: true\n- reboot")
    assert (result.outcome, outcomes(result.steps)) == ("passed", {"1": "failed", "2": "passed"})


async def test_the_limit_of_a_subtest_ends_the_step_inside(world: World, tmp_path: Path) -> None:
    result = await run_steps(world, tmp_path, "- subtest: {name: s, steps: [{wait_for_file: /x}, reboot]}\n  timeout: 10ms")
    (subtest,) = result.steps
    assert subtest.outcome == "timeout"
    assert outcomes(subtest.steps) == {"1.1": "timeout", "1.2": "skipped"}
    assert subtest.evidence[0] == "shots/step-1-failed.png"


async def test_rounds_are_counted_and_the_first_failure_ends_them(world: World, tmp_path: Path) -> None:
    world.answers["c 2"] = CommandResult("c 2", 1)
    result = await run_steps(world, tmp_path, "- repeat: {count: 3, steps: [{succeed: 'c ${round}'}]}")
    (repeat,) = result.steps
    assert world.machines["machine"].commands == ["c 1", "c 2"]
    assert [(one.index, one.name, one.outcome) for one in repeat.steps] == [
        ("1.1", "round 1 of 3", "passed"),
        ("1.2", "round 2 of 3", "failed"),
    ]
    assert outcomes(repeat.steps[1].steps) == {"1.2.1": "failed"}
    assert result.reason == "step 1.2.1 (succeed: c 2): the command ended with 1"


async def test_included_steps_run(world: World, tmp_path: Path) -> None:
    write(tmp_path, "- succeed: ${what} ${accel}", "part.yaml")
    await run_steps(world, tmp_path, "- include: {path: part.yaml, vars: {what: in}}")
    assert world.machines["machine"].commands == ["in tcg"]


async def test_notes_and_outputs_are_recorded(world: World, tmp_path: Path) -> None:
    world.answers["uname -r"] = CommandResult("uname -r", 1, b"6.12\n")
    result = await run_steps(world, tmp_path, "- record: on ${accel}\n- record: {name: kernel, command: uname -r}")
    note, kernel = result.steps
    assert (note.detail, kernel.name, kernel.outcome) == ("on tcg", "kernel", "passed")
    assert kernel.command
    assert kernel.command.stdout == "6.12\n"


async def test_conditions_know_what_the_machine_is(world: World, tmp_path: Path) -> None:
    steps = (
        "- succeed: a\n  when: ${accel} == tcg\n- succeed: b\n  when: ${accel} == kvm\n- succeed: c\n  when: ${image} != builtin"
    )
    result = await run_steps(world, tmp_path, steps)
    assert world.machines["machine"].commands == ["a"]
    assert outcomes(result.steps) == {"1": "passed", "2": "skipped", "3": "skipped"}
    assert result.steps[1].detail == "not so: ${accel} == kvm"
    assert result.outcome == "passed"


async def test_values_that_do_not_fit_when_they_are_known_fail_the_step(world: World, tmp_path: Path) -> None:
    write(tmp_path, "- reboot", "kvm.yaml")
    result = await run_steps(world, tmp_path, "- include: ${accel}.yaml\n- reboot")
    assert (result.outcome, result.exit_status) == ("error", 2)
    assert "tcg.yaml" in result.steps[0].detail
    assert result.steps[1].outcome == "skipped"


async def test_the_results_folder_is_known_to_steps(world: World, tmp_path: Path) -> None:
    await run_steps(world, tmp_path, "- succeed: ls ${run_dir}")
    assert world.machines["machine"].commands == [f"ls {world.folder.path}"]


async def stopped_in(world: World, tmp_path: Path, steps: str, sign: str = "wait_for_file /x") -> RunResult:
    stop = Stop()
    task = asyncio.create_task(run_steps(world, tmp_path, steps, stop=stop))
    await until(lambda: (world.hanging_boots and world.booting) or any(sign in one.commands for one in world.machines.values()))
    stop.request("interrupted by the user (Ctrl-C)")
    return await task


async def test_a_wish_to_stop_closes_the_machine_and_writes_the_report(world: World, tmp_path: Path) -> None:
    result = await stopped_in(world, tmp_path, "- reboot\n- subtest: {name: s, steps: [{wait_for_file: /x}, reboot]}\n- reboot")
    assert (result.outcome, result.exit_status) == ("interrupted", 130)
    assert result.reason == "interrupted by the user (Ctrl-C)"
    assert outcomes(result.steps) == {"1": "passed", "2": "interrupted", "3": "skipped"}
    assert outcomes(result.steps[1].steps) == {"2.1": "interrupted", "2.2": "skipped"}
    assert world.closed == ["machine"]
    assert world.folder.read_result() == result


async def test_a_wish_to_stop_in_a_round_keeps_the_rounds_before(world: World, tmp_path: Path) -> None:
    result = await stopped_in(world, tmp_path, "- repeat: {count: 9, steps: [reboot, {wait_for_file: /x}]}")
    (repeat,) = result.steps
    assert (repeat.outcome, [one.outcome for one in repeat.steps]) == ("interrupted", ["interrupted"])


async def test_a_wish_to_stop_ends_a_boot(world: World, tmp_path: Path) -> None:
    world.hanging_boots.add("machine")
    result = await stopped_in(world, tmp_path, "- reboot")
    assert (result.outcome, outcomes(result.steps), world.closed) == ("interrupted", {"1": "skipped"}, ["machine"])


async def test_cancelling_the_run_leaves_a_report_too(world: World, tmp_path: Path) -> None:
    task = asyncio.create_task(run_steps(world, tmp_path, "- wait_for_file: /x"))
    await until(lambda: "machine" in world.machines and world.machines["machine"].commands)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert world.folder.read_result().outcome == "interrupted"
    assert world.closed == ["machine"]


async def test_a_machine_that_hangs_in_closing_is_given_up(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "CLOSE_LIMIT_S", 0.01)
    opened = world.open_machine

    @contextlib.asynccontextmanager
    async def hanging(*arguments: Any) -> Any:
        async with opened(*arguments) as machine:
            yield machine
            await asyncio.Event().wait()

    monkeypatch.setattr(world, "open_machine", hanging)
    result = await run_steps(world, tmp_path, "- reboot")
    assert result.steps[0].outcome == "passed"
    assert world.closed == ["machine"]


async def test_a_report_that_cannot_be_written_leaves_the_result(world: World, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("template")

    result = await run_steps(world, tmp_path, "- reboot", write=broken)
    assert (result.outcome, result.exit_status) == ("error", 70)
    assert "template" in result.reason
    assert world.folder.read_result() == result


async def test_a_full_disk_is_told_and_does_not_hide_a_failure(world: World, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise NoSpace("no space left", hint="free some")

    result = await run_steps(world, tmp_path, "- reboot", write=full)
    assert (result.exit_status, result.hint) == (3, "free some")
    world.answers["bad"] = CommandResult("bad", 1)
    assert (await run_steps(world, tmp_path, "- succeed: bad", write=full)).exit_status == 1


async def test_steps_that_do_not_run_are_told_as_skipped(world: World, tmp_path: Path) -> None:
    world.boot_errors["machine"] = BootFailed("no")
    await run_steps(world, tmp_path, "- reboot")
    (event,) = [one for one in world.events if isinstance(one, StepStarted | StepFinished)]
    assert isinstance(event, StepFinished)
    assert event.outcome == "skipped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_signal_wishes_to_stop_and_the_second_changes_nothing(number: signal.Signals) -> None:
    stop, said = Stop(), list[str]()
    with stop_on_signals(stop, said.append):
        os.kill(os.getpid(), number)
        await stop.wait()
        assert number.name in stop.reason or number == signal.SIGINT
        os.kill(os.getpid(), number)
        await until(lambda: len(said) == 2)
    assert said[0].startswith("stopping")
    assert said[1].startswith("still cleaning up")


def test_the_most_serious_status_wins() -> None:
    assert most_serious([0, 1, 5, 4]) == 4
    assert most_serious([1, 0]) == 1
    assert most_serious([3, 2, 70]) == 70
    assert most_serious([70, 130]) == 130
    assert most_serious([0, 0]) == most_serious([]) == 0


def test_a_deadline_is_judged_by_where_it_passed() -> None:
    assert judge(DeadlineExceeded("x"), in_step=True).exit_status == 1
    assert judge(DeadlineExceeded("x"), in_step=False).exit_status == 5
