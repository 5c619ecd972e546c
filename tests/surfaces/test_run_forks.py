"""Branches, runs that are entered again, and runs that begin where the script has changed, as users have them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from program import Ended, Program
from typist import Typist

EXAMPLE = Path(__file__).parents[2] / "examples" / "branches.yaml"

SCRIPT = """
name: forks
image: builtin
steps:
  - succeed: cat /proc/sys/kernel/random/uuid > /tmp/drawn; echo base > /tmp/f
  - name: who it is
    execute: cat /tmp/drawn
  - branches:
      one:
        - succeed: echo one >> /tmp/f
        - screenshot: seen
        - name: inner
          branches: {x: [succeed: echo x >> /tmp/f], y: [execute: cat /tmp/f]}
        - name: the end of one
          execute: cat /tmp/f
      two:
        - screenshot: seen
        - execute: cat /tmp/f /tmp/drawn
  - fork: {count: 3, steps: [execute: "echo ${fork} >> /tmp/f; cat /tmp/f"]}
  - name: after them
    execute: cat /tmp/f
  - name: it fails
    succeed: grep CHANGED /tmp/f
  - name: the last
    execute: cat /tmp/drawn
"""
FAILING = """
name: fails in a branch
image: builtin
steps:
  - succeed: echo base > /tmp/f
  - branches:
      good: [succeed: echo good >> /tmp/f]
      bad:
        - succeed: echo bad >> /tmp/f
        - name: wrong
          succeed: grep CHANGED /tmp/f
        - execute: cat /tmp/f
  - reboot
"""
CHAIN = """
name: chain
image: builtin
steps:
  - succeed: cat /proc/sys/kernel/random/uuid > /tmp/drawn
  - execute: cat /tmp/drawn
  - succeed: echo FIRST > /tmp/f
  - {name: what is there, execute: cat /tmp/drawn /tmp/f}
"""
POINTS = """
name: points
image: builtin
steps:
  - succeed: echo 1 > /tmp/f
  - snapshot: one
  - succeed: echo 2 >> /tmp/f
  - branches: {back: [restore: one, execute: cat /tmp/f]}
  - snapshot: two
  - restore: two
  - execute: cat /tmp/f
  - succeed: grep nothing /tmp/f
  - restore: one
  - execute: cat /tmp/f
"""


def steps_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By index, all of them."""
    found: dict[str, dict[str, Any]] = {}

    def walk(steps: list[dict[str, Any]]) -> None:
        for step in steps:
            found[step["index"]] = step
            walk(step["steps"])

    walk(result["steps"])
    return found


def output(ended: Ended, index: str) -> str:
    return str(steps_of(ended.result)[index]["command"]["stdout"])


def outcomes(ended: Ended) -> dict[str, str]:
    return {index: step["outcome"] for index, step in steps_of(ended.result).items()}


@pytest.fixture(scope="module")
def failed(module_program: Program) -> tuple[Ended, dict[str, Any]]:
    """A run of the script, whose step 6 fails."""
    ended = module_program.run("run", module_program.script(SCRIPT, "forks.yaml"))
    return Ended(ended.status, ended.stdout, ended.stderr, ended.cwd), {"folder": ended.folder, "result": ended.result}


def of(failed: tuple[Ended, dict[str, Any]], index: str) -> str:
    return str(steps_of(failed[1]["result"])[index]["command"]["stdout"])


def test_branches_see_the_state_before_them_and_nothing_of_each_other(failed: tuple[Ended, dict[str, Any]]) -> None:
    assert failed[0].status == 1
    drawn = of(failed, "2")
    assert of(failed, "3.1.3.2.1") == "base\none\n"
    assert of(failed, "3.1.4") == "base\none\n"
    assert of(failed, "3.2.2") == f"base\n{drawn}"
    assert of(failed, "5") == "base\n"


def test_forks_are_the_same_and_apart(failed: tuple[Ended, dict[str, Any]]) -> None:
    assert [of(failed, f"4.{number}.1") for number in (1, 2, 3)] == ["base\n1\n", "base\n2\n", "base\n3\n"]


def test_files_of_branches_never_meet(failed: tuple[Ended, dict[str, Any]]) -> None:
    folder, result = failed[1]["folder"], failed[1]["result"]
    machines = {machine["branch"]: machine for machine in result["machines"]}
    assert set(machines) == {"", "3.1-one", "3.1.3.1-x", "3.1.3.2-y", "3.2-two", "4.1-fork-1", "4.2-fork-2", "4.3-fork-3"}
    assert {machine["start"] for branch, machine in machines.items() if branch} == {"fork"}
    logs = {machine["console"] for machine in machines.values()}
    assert len(logs) == len(machines)
    assert all((folder / log).stat().st_size for log in logs)
    shots = [path for index in ("3.1.2", "3.2.1") for path in steps_of(result)[index]["evidence"]]
    assert len(set(shots)) == 2
    assert all((folder / shot).stat().st_size for shot in shots)


def test_reports_say_how_to_go_on(failed: tuple[Ended, dict[str, Any]]) -> None:
    ended, run = failed
    line = f"anima-qa run --resume results/{run['folder'].name}"
    assert line in ended.stderr
    assert line in (run["folder"] / "report.html").read_text()
    assert run["result"]["kept"]["step"] == "6"


def test_the_mended_script_goes_on_in_the_same_machine(failed: tuple[Ended, dict[str, Any]], module_program: Program) -> None:
    folder = failed[1]["folder"]
    module_program.script(SCRIPT.replace("CHANGED", "base"), "forks.yaml")
    again = module_program.run("run", "--resume", folder)
    assert again.status == 0, again.text
    assert again.folder != folder
    assert again.result["resumed_from"] == str(folder)
    assert list(outcomes(again).values()) == ["skipped"] * 5 + ["passed"] * 2
    assert output(again, "7") == of(failed, "2")
    assert [machine["start"] for machine in again.result["machines"]] == ["fork"]


def test_a_root_shell_opens_at_that_moment(failed: tuple[Ended, dict[str, Any]], module_program: Program) -> None:
    with Typist(module_program, "run", "--resume", failed[1]["folder"], "--shell") as typist:
        typist.wait_for("machine:/# ")
        typist.press("cat /tmp/drawn\n")
        typist.wait_for(of(failed, "2").strip())
        typist.press("cd /tmp\n")
        typist.wait_for("machine:/tmp# ")
        typist.press("ls f nothing; echo then\n")
        shown = typist.wait_for("machine:/tmp# ")
        assert "nothing: No such file" in shown
        assert "\nthen" in shown
        typist.press("exit 3\n")
        typist.wait_for("[exit code 3]")
        typist.press("sleep 1000\n")
        typist.wait_for("sleep 1000")
        typist.press("\x03")
        typist.wait_for("machine:/tmp# ")
        typist.press("\x04")
        assert typist.end() == 0
    assert module_program.leftovers() == []


def test_the_serial_console_opens_at_that_moment(failed: tuple[Ended, dict[str, Any]], module_program: Program) -> None:
    with Typist(module_program, "run", "--resume", failed[1]["folder"], "--console") as typist:
        typist.wait_for("login:")
        typist.press("root\r")
        typist.wait_for("assword: ")
        typist.press("root\r")
        typist.wait_for("# ")
        typist.press("cat /tmp/dra*\r")
        typist.wait_for(of(failed, "2").strip())
        typist.press("\x1d")
        assert typist.end() == 0


def test_the_console_ends_with_the_machine(failed: tuple[Ended, dict[str, Any]], module_program: Program) -> None:
    with Typist(module_program, "run", "--resume", failed[1]["folder"], "--console") as typist:
        typist.wait_for("login:")
        typist.press("root\r")
        typist.wait_for("assword: ")
        typist.press("root\r")
        typist.wait_for("# ")
        typist.press("poweroff -f\r")
        typist.wait_for("machine is off")
        assert typist.end() == 0


@pytest.mark.parametrize("option", ["--shell", "--console"])
def test_without_a_terminal_nothing_is_opened(failed: tuple[Ended, dict[str, Any]], module_program: Program, option: str) -> None:
    ended = module_program.run("run", "--resume", failed[1]["folder"], option)
    assert (ended.status, ended.stdout) == (2, "")
    assert f"{option} needs a terminal" in ended.stderr


def test_of_a_branch_the_rest_is_run_and_what_was_kept_may_be_gone(module_program: Program) -> None:
    script = module_program.script(FAILING, "branch.yaml")
    first = module_program.run("run", script)
    folder, kept = first.folder, first.result["kept"]
    assert (first.status, kept["step"]) == (1, "2.2.2")
    module_program.script(FAILING.replace("CHANGED", "bad"), "branch.yaml")
    again = module_program.run("run", "--resume", folder)
    assert again.status == 0, again.text
    assert outcomes(again) == {
        "1": "skipped", "2": "passed", "2.1": "skipped", "2.2": "passed", "2.2.1": "skipped", "2.2.2": "passed",
        "2.2.3": "passed", "3": "skipped",
    }  # fmt: skip
    assert output(again, "2.2.3") == "base\nbad\n"
    assert module_program.run("template", "remove", kept["machines"]["machine"]).status == 0
    gone = module_program.run("run", "--resume", folder)
    assert gone.status == 2
    assert "was removed to make room" in gone.stderr
    assert f"run the script again: anima-qa run {script}" in gone.stderr


def test_a_run_begins_where_the_script_has_changed(module_program: Program) -> None:
    script = module_program.script(CHAIN, "chain.yaml")
    first = module_program.run("run", "--checkpoint", script)
    assert first.status == 0, first.text
    folder, drawn = first.folder, output(first, "2")
    module_program.script(CHAIN.replace("FIRST", "SECOND"), "chain.yaml")
    second = module_program.run("run", "--checkpoint", script)
    assert second.status == 0, second.text
    assert list(outcomes(second).values()) == ["skipped", "skipped", "passed", "passed"]
    assert output(second, "4") == f"{drawn}SECOND\n"
    assert steps_of(second.result)["1"]["detail"] == f"unchanged since step 2 of chain in results/{folder.name}"


def test_restore_points_are_there_in_forks_of_a_run_and_of_later_runs(module_program: Program) -> None:
    script = module_program.script(POINTS, "points.yaml")
    first = module_program.run("run", "--checkpoint", script)
    assert (first.status, output(first, "4.1.2"), output(first, "7")) == (1, "1\n", "1\n2\n")
    module_program.script(POINTS.replace("nothing", "1"), "points.yaml")
    resumed = module_program.run("run", "--resume", first.folder)
    assert (resumed.status, output(resumed, "10")) == (0, "1\n"), resumed.text
    begun = module_program.run("run", "--checkpoint", script)
    assert (begun.status, outcomes(begun)["7"], output(begun, "10")) == (0, "skipped", "1\n"), begun.text


def test_nothing_is_kept_where_nobody_wants_it(module_program: Program) -> None:
    script = module_program.script("image: builtin\nsteps: [succeed: 'false']", "unwanted.yaml")
    ended = module_program.run("run", "--no-keep-failed", script)
    assert (ended.status, ended.result["kept"]) == (1, None)
    assert "--resume" not in ended.text
    again = module_program.run("run", "--resume", ended.folder)
    assert again.status == 2
    assert "no machine was kept" in again.stderr


def test_a_machine_that_was_booted_cold_is_kept_too(module_program: Program) -> None:
    script = module_program.script("image: builtin\nstart: cold\nsteps: [succeed: 'false', execute: uptime]", "cold.yaml")
    ended = module_program.run("run", script)
    assert ended.result["machines"][0]["start"] == "cold"
    again = module_program.run("run", "--resume", ended.folder)
    assert (again.status, again.result["kept"]["step"]) == (1, "1")


def test_the_example_runs_as_it_is(module_program: Program) -> None:
    ended = module_program.run("run", EXAMPLE)
    assert ended.status == 0, ended.text


def restore_points(program: Program) -> set[str]:
    """Those in the store, which other tests may have left for good reason."""
    listed = json.loads(program.run("template", "list", "--all", "--json").stdout)
    return {one["id"] for one in listed if one["kind"] == "snapshot"}


def test_branches_that_are_interrupted_leave_nothing(module_program: Program) -> None:
    text = "image: builtin\nsteps: [branches: {a: [succeed: echo begun; sleep 1000], b: [succeed: sleep 1000]}]"
    before = restore_points(module_program)
    with module_program.start("run", "-v", module_program.script(text, "stopped.yaml")) as running:
        running.wait_for("begun")
        running.signal(signal.SIGINT, group=True)
        ended = running.end()
        assert running.qemus_are_gone()
    assert (ended.status, ended.result["outcome"], ended.result["kept"]) == (130, "interrupted", None)
    assert outcomes(ended)["1.1.1"] == "interrupted"
    assert module_program.leftovers() == []
    assert restore_points(module_program) == before


def test_disks_of_forks_are_left_in_place_where_that_is_wanted(module_program: Program) -> None:
    text = "image: builtin\nsteps: [branches: {a: [reboot], b: [reboot]}]".replace("reboot", "succeed: 'true'")
    ended = module_program.run("run", "--keep", module_program.script(text, "kept.yaml"))
    assert ended.status == 0, ended.text
    kept = {path.name for path in ended.folder.glob("disks-*")}
    assert kept == {"disks-machine", "disks-machine-1.1-a", "disks-machine-1.2-b"}


def test_a_panic_is_not_kept(module_program: Program) -> None:
    text = "image: builtin\nsteps: [{branches: {bad: [succeed: 'echo c > /proc/sysrq-trigger'], good: [succeed: sleep 2]}}]"
    ended = module_program.run("run", "--json", module_program.script(text, "panic.yaml"))
    run = json.loads(ended.stdout)["runs"][0]
    assert (ended.status, run["kept"]) == (4, None), ended.text
    outcomes = {step["name"]: step["outcome"] for step in run["steps"][0]["steps"]}
    assert outcomes == {"bad": "error", "good": "passed"}, ended.text
    assert module_program.leftovers() == []
