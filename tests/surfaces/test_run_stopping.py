"""Runs that are stopped, and QEMUs and runners that are killed: the report is written, and nothing is left."""

from __future__ import annotations

import signal

import pytest
from program import Program, eventually

SCRIPT = """
image: builtin
steps:
  - succeed: "true"
  - name: long
    execute: {command: echo begun; sleep 600, timeout: 2s}
  - succeed: "true"
"""
BOOTING = f"start: cold{SCRIPT}"
STOPPERS = {
    signal.SIGINT: "interrupted by the user (Ctrl-C)",
    signal.SIGTERM: "terminated (SIGTERM)",
    signal.SIGHUP: "the terminal was closed (SIGHUP)",
}


def test_ctrl_c_in_a_step_leaves_a_report_of_what_was_done(program: Program) -> None:
    with program.start("run", "-v", program.script(SCRIPT)) as running:
        running.wait_for("begun")
        running.signal(signal.SIGINT, group=True)
        ended = running.end()
        assert ended.status == 130
        assert running.qemus_are_gone()
    assert ended.result["outcome"] == "interrupted"
    assert ended.result["exit_status"] == 130
    assert [step["outcome"] for step in ended.result["steps"]] == ["passed", "interrupted", "skipped"]
    assert ended.events[-1]["event"] == "RunFinished"
    assert (ended.folder / "report.html").exists()
    assert (ended.folder / "junit.xml").exists()
    assert STOPPERS[signal.SIGINT] in ended.stderr
    assert program.leftovers() == []


@pytest.mark.parametrize("number", STOPPERS, ids=lambda number: number.name)
def test_a_signal_in_the_middle_of_a_boot_stops_the_run(program: Program, number: signal.Signals) -> None:
    with program.start("run", program.script(BOOTING)) as running:
        running.wait_for("power-on")
        running.signal(number, group=True)
        ended = running.end()
        assert ended.status == 130
        assert running.qemus_are_gone()
    assert ended.result["outcome"] == "interrupted"
    assert STOPPERS[number] in ended.result["reason"]
    assert {step["outcome"] for step in ended.result["steps"]} == {"skipped"}
    assert program.leftovers() == []


def test_scripts_that_had_not_begun_are_left_out_after_ctrl_c(program: Program) -> None:
    first, second = program.script(BOOTING, "first.yaml"), program.script(BOOTING, "second.yaml")
    with program.start("run", first, second) as running:
        running.wait_for("power-on")
        running.signal(signal.SIGINT, group=True)
        assert running.end().status == 130
    runs = [
        path.name.partition("-")[0] for path in (program.cwd / "results").iterdir() if path.is_dir() and not path.is_symlink()
    ]
    assert runs == ["first"]


def test_a_second_ctrl_c_changes_nothing_and_a_third_ends_at_once(program: Program) -> None:
    with program.start("run", program.script(BOOTING)) as running:
        running.wait_for("power-on")
        running.signal_qemu(signal.SIGSTOP)  # so that closing the machine waits for what does not come
        for _ in range(3):
            running.signal(signal.SIGINT, group=True)
        assert running.end().status in {130, -signal.SIGINT}
        assert running.qemus_are_gone()
    assert program.run("gc").status == 0
    assert program.leftovers() == []


def test_qemu_does_not_outlive_a_killed_runner_and_the_next_start_sweeps(program: Program) -> None:
    for sweep in (["gc"], ["run", program.script("image: ./none.qcow2\nsteps: [succeed: 'true']", "other.yaml")]):
        with program.start("run", program.script(BOOTING)) as running:
            running.wait_for("power-on")
            running.signal(signal.SIGKILL)
            assert running.qemus_are_gone()
            running.end()
        assert len(program.leftovers()) == 1
        program.run(*sweep)
        assert program.leftovers() == []


def test_a_killed_qemu_ends_the_run_with_its_signal(program: Program) -> None:
    with program.start("run", program.script(BOOTING)) as running:
        running.wait_for("power-on")
        running.signal_qemu(signal.SIGKILL)
        ended = running.end()
    assert ended.status == 4
    assert "QEMU was killed by signal 9" in ended.stderr
    assert ended.result["machines"][0]["ended"] == "QEMU was killed by signal 9"
    assert ended.result["duration_s"] < 10  # its deadline is 30 s or more
    assert program.leftovers() == []


def test_a_qemu_that_hangs_is_ended_at_the_deadline_and_killed(program: Program) -> None:
    with program.start("run", "-v", program.script(SCRIPT), ANIMA_QA_TCG_FACTOR="1") as running:
        running.wait_for("begun")
        running.signal_qemu(signal.SIGSTOP)
        ended = running.end()
        assert ended.status == 1
        assert running.qemus_are_gone()
    step = ended.result["steps"][1]
    assert step["outcome"] == "timeout"
    assert "begun" in step["command"]["stdout"]
    assert eventually(lambda: program.leftovers() == [])
