"""Starts from templates, and what users and bad luck do to them: damage, kills, other programs, full disks, any folder name."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Ended, Program, Running, eventually, new_home

SCRIPT = "name: small\nimage: builtin\nsteps: [succeed: 'true', execute: cat /proc/uptime]\n"
FORKS = """
name: forks
image: builtin
steps:
  - succeed: echo base > /tmp/f
  - snapshot: a
  - branches:
      one: [succeed: echo one >> /tmp/f, restore: a, execute: cat /tmp/f]
      two: [{branches: {x: [succeed: echo x >> /tmp/f], y: [execute: cat /tmp/f]}}]
  - restore: a
  - fork: {count: 2, steps: [succeed: grep -x base /tmp/f]}
"""
SHAPES = """
name: shapes
image: builtin
steps:
  - pause
  - snapshot: paused
  - branches:
      goes on: [resume, succeed: "true"]
      stays: [{succeed: "true", timeout: 2s}]
    allow_failure: true
  - resume
  - branches:
      shuts down: [shutdown]
      crashes: [crash]
      panics: [execute: echo c > /proc/sysrq-trigger]
      ends by itself: [execute: poweroff -f]
    allow_failure: true
  - restore: paused
  - resume
  - succeed: "true"
  - crash
  - snapshot: off
  - branches: {is off: [crash], was on: [restore: paused, resume, succeed: "true"]}
  - restore: off
"""


def entries(program: Program) -> list[Path]:
    """The folders of the store's entries."""
    store = program.home / "cache" / "snapshots"
    return sorted(path for path in store.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name))


def hidden(program: Program) -> list[str]:
    """What is half made or half removed in the store."""
    store = program.home / "cache" / "snapshots"
    return sorted(path.name for path in store.iterdir() if path.name.startswith(".") and path.name != ".lock")


def starts(ended: Ended) -> list[str]:
    return [machine["start"] for machine in ended.result["machines"]]


def told(ended: Ended) -> list[str]:
    """What was told beside the steps, without the verdict on the accelerator."""
    lines = [line for line in ended.text.splitlines() if line.startswith(("note: ", "warning: "))]
    return [line.partition(": ")[2] for line in lines if not re.search("KVM|TCG", line)]


def boots(program: Program, *arguments: object, **env: str | None) -> list[str]:
    """What a run tells that begins to boot; it is not let any further."""
    with program.start("run", program.script(SCRIPT), *arguments, **env) as running:
        running.wait_for("power-on")
        running.signal(signal.SIGINT)
        ended = running.end()
        assert running.qemus_are_gone()
    assert ended.status == 130
    assert "Traceback" not in ended.text
    return [line for line in told(ended) if not line.startswith(("stopping", "the disks of"))]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Ended]:
    """A home with a template, a copy of its store, and the run that made it."""
    folder = tmp_path_factory.mktemp("warm")
    program = Program(new_home(folder / "home"), folder)
    first = program.run_script(SCRIPT)
    assert first.status == 0, first.text
    copy = folder / "copy"
    _copy(program.home / "cache" / "snapshots", copy)
    return program.home, copy, first


@pytest.fixture
def program(template: tuple[Path, Path, Ended], tmp_path: Path) -> Program:
    """With one template in its store."""
    store = template[0] / "cache" / "snapshots"
    if store.is_dir():
        shutil.rmtree(store)
    store.unlink(missing_ok=True)
    _copy(template[1], store)
    return Program(template[0], tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_left(program: Program) -> Iterator[None]:
    yield
    assert program.leftovers() == []


def _copy(store: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", store, target], check=True)


def empty(program: Program) -> None:
    assert program.run("template", "remove", "--all").status == 0
    assert entries(program) == []


def test_the_first_run_boots_and_keeps_its_ready_state_and_the_next_goes_on_from_it(
    template: tuple[Path, Path, Ended], program: Program
) -> None:
    first, second = template[2], program.run_script(SCRIPT)
    assert second.status == 0, second.text
    assert (starts(first), starts(second)) == (["cold"], ["warm"])
    assert re.fullmatch(r"the ready state of machine is kept \(\d+ MB\): later starts take it instead of booting", told(first)[0])
    assert (len(told(first)), told(second)) == (1, [])
    cold, warm = first.result["machines"][0], second.result["machines"][0]
    assert "firmware" in cold["stages"]
    assert set(warm["stages"]) == {"frozen state loaded", "ready"}
    assert warm["ready_s"] < cold["ready_s"] / 3
    assert [step["outcome"] for step in second.result["steps"]] == [step["outcome"] for step in first.result["steps"]]
    then, now = (float(run.result["steps"][1]["command"]["stdout"].split()[0]) for run in (first, second))
    assert abs(now - then) < 5  # the uptime goes on from where it was frozen: nothing was booted


@pytest.mark.parametrize("option", [["--start", "cold"], ["--keep"]])
def test_who_wants_a_boot_gets_one_and_the_store_is_left_alone(program: Program, option: list[str]) -> None:
    before = [(path, path.joinpath("lock").stat().st_mtime_ns) for path in entries(program)]
    assert boots(program, *option) == []
    assert [(path, path.joinpath("lock").stat().st_mtime_ns) for path in entries(program)] == before


def test_of_starts_at_once_one_boots_and_the_others_wait_and_take_its_state(program: Program) -> None:
    empty(program)
    names = ["one", "two"]
    scripts = [program.script(SCRIPT.replace("small", name), f"{name}.yaml") for name in names]
    with program.start("run", program.script(SCRIPT)) as first:
        first.wait_for("power-on")
        others = program.run("run", "--jobs", "2", "--out", program.cwd / "others", *scripts)
        ended = first.end()
    assert (ended.status, others.status) == (0, 0), ended.text + others.text
    assert "machine waits: another start boots this machine just now and keeps its ready state" in others.text
    results = [json.loads(path.read_text()) for path in program.cwd.glob("others/*-*/result.json")]
    assert [run["machines"][0]["start"] for run in results] == ["warm", "warm"]
    assert (len(entries(program)), hidden(program)) == (1, [])


def shortened(name: str) -> Callable[[Path], None]:
    return lambda entry: os.truncate(entry / name, 100)


def changed(name: str) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        with (entry / name).open("r+b") as file:
            file.seek(90)
            byte = file.read(1)
            file.seek(90)
            file.write(bytes([byte[0] ^ 1]))

    return change


def gone(name: str) -> Callable[[Path], None]:
    return lambda entry: (entry / name).unlink()


def a_link(entry: Path) -> None:
    (entry / "memory").rename(entry / "elsewhere")
    (entry / "memory").symlink_to("elsewhere")


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (shortened("devices"), "its file devices has 100 bytes, and "),
    (changed("devices"), "its file devices was changed after it was written"),
    (changed("manifest.json"), "its manifest was changed after it was written|its manifest is damaged"),
    (shortened("manifest.json"), "its manifest is damaged"),
    (lambda entry: os.truncate(entry / "manifest.json", 0), "its manifest is damaged"),
    (gone("manifest.json"), "its manifest is gone"),
    (shortened("memory"), "its file memory has 100 bytes, and "),
    (a_link, "its file memory is no ordinary file"),
    (gone("memory"), "its file memory is gone"),
    (shortened("disk0.qcow2"), "its file disk0.qcow2 has 100 bytes, and "),
    (changed("disk0.new"), "its file disk0.new was changed after it was written"),
    (changed("variables.fd"), "its file variables.fd was changed after it was written"),
    (changed("console"), "its file console was changed after it was written"),
    (lambda entry: entry.chmod(0o777), "its folder can be written to by others"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_a_damaged_template_is_thrown_away_with_one_sentence(
    program: Program, damage: Callable[[Path], object], why: str
) -> None:
    (entry,) = entries(program)
    damage(entry)
    (said,) = boots(program)
    unusable = f"the template of machine is thrown away, and it boots: the frozen machine {entry.name} cannot be used: "
    assert said.startswith(unusable)
    assert re.match(why, said.removeprefix(unusable))
    assert (entries(program), hidden(program)) == ([], [])


def test_after_damage_a_run_passes_cold_and_the_next_one_warm(program: Program) -> None:
    (entry,) = entries(program)
    changed("devices")(entry)
    for how in ("cold", "warm"):
        run = program.run_script(SCRIPT)
        assert (run.status, starts(run)) == (0, [how]), run.text
    assert entries(program) != [entry]


def in_its_place(store: Path) -> None:
    shutil.rmtree(store)
    store.write_text("precious")


def open_to_others(store: Path) -> None:
    store.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "why"), [(in_its_place, "it is no folder"), (open_to_others, "it can be written to by others")]
)
def test_a_store_that_cannot_be_used_keeps_nobody_from_booting(program: Program, spoil: Callable[[Path], None], why: str) -> None:
    store = program.home / "cache" / "snapshots"
    spoil(store)
    said = f"machine boots, and is not kept: the store of frozen machines {store} is not used: {why}"
    assert boots(program) == [said]
    assert store.is_dir() or store.read_text() == "precious"


def test_a_store_that_was_copied_or_moved_is_not_used(program: Program) -> None:
    elsewhere = program.cwd / "elsewhere"
    _copy(program.home / "cache" / "snapshots", elsewhere)
    (entry,) = entries(program)
    (said,) = boots(program, ANIMA_QA_SNAPSHOTS=str(elsewhere))
    assert f"it was moved or copied from {entry}, and its disks work only there" in said
    assert entries(program) == [entry]


def test_another_qemu_boots_and_says_so(program: Program) -> None:
    other = shutil.copy(shutil.which("qemu-system-x86_64") or "", program.cwd / "qemu")
    said = boots(program, ANIMA_QA_QEMU=str(other))
    assert said == ["the template of machine does not fit any more, so it boots: QEMU changed"]
    assert starts(program.run_script(SCRIPT)) == ["warm"]


def test_a_store_without_room_keeps_nobody_from_booting(program: Program) -> None:
    store = program.home / "cache" / "snapshots"
    mount = f"mount -t tmpfs -o size=50M,mode=700 tmpfs '{store}'"
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    look = f"ls -A '{store}' >seen"
    ended = program.run(
        "run", program.script(SCRIPT),
        before=["unshare", *flags, "sh", "-c", f'{mount} && "$@"; status=$?; {look}; exit $status', "sh"],
    )  # fmt: skip
    assert (ended.status, starts(ended)) == (0, ["cold"]), ended.text
    said = f"the ready state of machine cannot be kept for later starts: no space is left for frozen machines in {store}"
    assert told(ended) == [said]
    assert (program.cwd / "seen").read_text() == ".lock\n"


def wait_for_draft(program: Program) -> None:
    assert eventually(lambda: any(name.startswith(".draft-") for name in hidden(program)), 5)


@pytest.mark.parametrize("moment", ["power-on", "draft"])
def test_a_killed_builder_leaves_nothing_that_is_used(program: Program, moment: str) -> None:
    empty(program)
    with program.start("run", program.script(SCRIPT)) as running:
        running.wait_for("machine: ready" if moment == "draft" else moment)
        if moment == "draft":
            wait_for_draft(program)
        running.signal(signal.SIGKILL)
        assert running.qemus_are_gone()
        running.end()
    assert entries(program) == []
    assert boots(program) == []
    assert program.run("gc").stdout == "nothing to remove\n"
    assert hidden(program) == []


def test_a_qemu_that_is_killed_while_its_state_is_kept_ends_the_run(program: Program) -> None:
    empty(program)
    with program.start("run", program.script(SCRIPT)) as running:
        running.wait_for("machine: ready")
        wait_for_draft(program)
        running.signal_qemu(signal.SIGKILL)
        ended = running.end()
    assert (ended.status, entries(program), hidden(program)) == (4, [], []), ended.text
    assert "machine: QEMU was killed by signal 9" in ended.text
    assert "Traceback" not in ended.text


MOMENTS = ["snapshot: a", "one] succeed", "one] restore", "two > x] succeed", "fork 1] succeed"]


def run_until(program: Program, moment: str, stop: Callable[[Running], None]) -> Ended:
    with program.start("run", program.script(FORKS)) as running:
        running.wait_for(moment)
        stop(running)
        ended = running.end()
        assert running.qemus_are_gone()
    assert "Traceback" not in ended.text
    return ended


@pytest.mark.parametrize("moment", MOMENTS)
def test_who_is_killed_among_forks_leaves_nothing(program: Program, moment: str) -> None:
    before = entries(program)
    run_until(program, moment, lambda running: running.signal(signal.SIGKILL))
    assert program.run("gc").status == 0
    assert (entries(program), hidden(program)) == (before, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_stopped_among_forks_writes_a_report_and_leaves_nothing(program: Program, number: signal.Signals) -> None:
    before = entries(program)
    ended = run_until(program, "two > x] succeed", lambda running: running.signal(number))
    assert (ended.status, ended.result["outcome"]) == (130, "interrupted")
    assert (ended.folder / "report.html").exists()
    assert (entries(program), hidden(program)) == (before, [])


def test_runs_at_once_that_are_stopped_leave_nothing(program: Program) -> None:
    before = entries(program)
    with program.start("run", "--repeat", "8", "--jobs", "4", program.script(SCRIPT.replace("'true'", "sleep 60"))) as running:
        for _ in range(2):
            running.wait_for("machine: ready")
        running.signal(signal.SIGTERM)
        ended = running.end()
        assert running.qemus_are_gone()
    assert ended.status == 130
    assert "Traceback" not in ended.text
    assert (entries(program), hidden(program)) == (before, [])


def test_a_limit_that_is_too_small_stops_nothing(program: Program) -> None:
    ended = program.run_script(FORKS, ANIMA_QA_SNAPSHOT_LIMIT="50M")
    assert (ended.status, starts(ended)[0]) == (0, "warm"), ended.text
    assert hidden(program) == []


def test_what_a_machine_runs_from_is_not_removed(program: Program) -> None:
    (entry,) = entries(program)
    with program.start("run", program.script(SCRIPT.replace("'true'", "sleep 3"))) as running:
        running.wait_for("machine: ready")
        removed = program.run("template", "remove", "--all")
        refused = program.run("template", "remove", entry.name)
        pruned = program.run("template", "prune", "--to", "0")
        assert entries(program) == [entry]
        assert running.end().status == 0
    assert "Traceback" not in removed.text + pruned.text
    assert refused.status == 3
    assert f"a machine is using {entry.name}" in refused.text
    assert program.run("template", "prune", "--to", "0").status == 0
    assert entries(program) == []


def test_a_store_that_is_removed_under_a_running_machine(program: Program) -> None:
    with program.start("run", program.script(FORKS.replace("echo base", "sleep 1; echo base"))) as running:
        running.wait_for("machine: ready")
        shutil.rmtree(program.home / "cache" / "snapshots")
        ended = running.end()
    assert ended.status == 3, ended.text
    assert "snapshot: a: machine cannot be frozen: what it runs from was removed from the store" in ended.text
    assert "Traceback" not in ended.text
    assert "defect" not in ended.text


def test_machines_in_any_state_can_be_frozen_and_forked(program: Program) -> None:
    ended = program.run_script(SHAPES)
    assert ended.status == 0, ended.text
    lanes = {lane["name"]: lane["outcome"] for step in ended.result["steps"] for lane in step["steps"]}
    assert lanes == {
        "goes on": "passed", "stays": "error", "shuts down": "passed", "crashes": "passed", "panics": "error",
        "ends by itself": "error", "is off": "passed", "was on": "passed",
    }  # fmt: skip


def test_a_home_of_any_name_and_one_that_is_moved(template: tuple[Path, Path, Ended], tmp_path: Path) -> None:
    folder = tmp_path / "a home, 100%s of 'q\" ümläut"
    program = Program(new_home(folder), tmp_path)
    shutil.copy(template[0] / "cache" / "qemu.json", folder / "cache")
    failing = FORKS + "  - succeed: grep -x CHANGED /tmp/f\n"
    first = program.run_script(failing)
    assert (first.status, starts(first)[0], first.result["kept"]["step"]) == (1, "cold", "6"), first.text
    program.script(failing.replace("CHANGED", "base"))
    resumed = program.run("run", "--resume", first.folder)
    assert (resumed.status, starts(resumed)) == (0, ["fork"]), resumed.text
    assert starts(program.run_script(SCRIPT)) == ["warm"]
    moved = Program(folder.rename(tmp_path / "moved"), tmp_path)
    said = boots(moved)
    assert "the template of machine" in said[0], said
    assert len(said) == 1, said
    assert moved.leftovers() == []
