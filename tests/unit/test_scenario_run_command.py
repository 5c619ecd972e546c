from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from scenario_world import CATALOGUE, CommandResult, World, until, write

from qa.cli import run
from qa.errors import BootFailed, HostError, UsageError
from qa.fleet.admission import Admission, Need
from qa.host.resources import Resources
from qa.images.recipes import recipes
from qa.paths import Paths
from qa.report.folder import MAX_NAME, ResultsFolder
from qa.scenario.batch import folder_name, run_scripts, unique_names
from qa.scenario.needs import QEMU_MEMORY, needs_on
from qa.scenario.reader import read_runs, read_script
from qa.scenario.stop import Stop

Command = Callable[..., Result]


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, World]:
    """Scripts by name, to what their machines did; a world may be put in before the run."""
    worlds: dict[str, World] = {}

    def open_on(host: Any, door: Any) -> Any:
        def open_for(script: Any, folder: ResultsFolder, bus: Any) -> Any:
            world = worlds.setdefault(script.name, World(folder))
            world.folder, world.bus = folder, bus
            world.settings = (host.config, host.keep)  # type: ignore[attr-defined]
            return world.open_machine

        return open_for

    monkeypatch.setattr("qa.scenario.opening.open_on", open_on)
    monkeypatch.setattr("qa.operations.CATALOGUE", CATALOGUE)
    monkeypatch.setenv("ANIMA_QA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return worlds


@pytest.fixture
def command(worlds: dict[str, World]) -> Command:
    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(run.command, [str(one) for one in arguments], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result

    return call


def test_a_script_that_passes_ends_with_0_and_says_where_its_results_are(command: Command, tmp_path: Path) -> None:
    result = command(write(tmp_path, "name: Hello\nimage: a\nsteps: [reboot]"))
    assert result.return_value == 0
    assert result.stdout.startswith("PASSED Hello: 1 step")
    assert (tmp_path / "results/latest/report.html").is_file()
    assert (tmp_path / "results/latest/junit.xml").is_file()
    events = [json.loads(line)["event"] for line in (tmp_path / "results/latest/events.jsonl").read_text().splitlines()]
    assert events == ["RunStarted", "StepStarted", "StepFinished", "RunFinished"]


def test_no_script_runs_when_any_has_a_mistake(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    good = write(tmp_path, "image: a\nsteps: [reboot]", "good.yaml")
    bad = write(tmp_path, "image: a\nsteps: [reboo]", "bad.yaml")
    result = command(good, bad)
    assert (result.return_value, worlds, result.stdout) == (2, {}, "")
    assert f"{bad}:2:9: unknown verb 'reboo'" in result.stderr
    assert not (tmp_path / "results").exists()


def test_several_scripts_end_with_the_most_serious_status(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    names = ("fine", "failing", "dead")
    paths = [write(tmp_path, f"image: a\nsteps: [succeed: {name}]", f"{name}.yaml") for name in names]
    some = ResultsFolder.create(tmp_path / "unused", "x")
    worlds["failing"] = World(some, answers={"failing": CommandResult("failing", 1)})
    worlds["dead"] = World(some, boot_errors={"machine": BootFailed("grub>")})
    result = command(*paths, "--jobs", "2", "--json", "--out", tmp_path / "out")
    runs = json.loads(result.stdout)["runs"]
    assert [(one["name"], one["exit_status"]) for one in runs] == [("fine", 0), ("failing", 1), ("dead", 4)]
    assert all(Path(one["folder"]).parent == tmp_path / "out" for one in runs)
    assert result.return_value == 4


def test_the_command_line_replaces_what_scripts_and_settings_say(
    command: Command, worlds: dict[str, World], tmp_path: Path
) -> None:
    path = write(tmp_path, "image: a\nvars: {v: in}\nsteps: [{succeed: 'echo ${v}'}]")
    command(path, "--image", "./disk.img", "--var", "v=out", "--accel", "tcg", "--require-kvm", "--keep")
    world = worlds["script"]
    assert world.plans["machine"][0] == str(tmp_path / "disk.img")
    assert world.machines["machine"].commands == ["echo out"]
    config, keep = world.settings  # type: ignore[attr-defined]
    assert (config.accel, config.require_kvm, keep) == ("tcg", True, True)


@pytest.mark.parametrize("image", ["debian-13", "https://host/a.qcow2#sha256=0"])
def test_an_image_that_is_no_path_is_passed_on(command: Command, worlds: dict[str, World], tmp_path: Path, image: str) -> None:
    command(write(tmp_path, "steps: [reboot]"), "--image", image)
    assert worlds["script"].plans["machine"][0] == image


def test_a_script_is_needed(command: Command) -> None:
    with pytest.raises(UsageError, match="no script"):
        command()


def test_a_place_for_results_that_is_a_file_is_told(command: Command, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        command(write(tmp_path, "image: a\nsteps: [reboot]"), "--out", tmp_path / "out")


def test_runs_of_the_same_name_are_told_apart() -> None:
    assert unique_names(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]


async def test_scripts_that_had_not_begun_when_it_was_to_stop_are_left_out(tmp_path: Path) -> None:
    paths = [write(tmp_path, "image: a\nsteps: [wait_for_file: /x]", f"{n}.yaml") for n in range(3)]
    scripts = [read_script(path, CATALOGUE) for path in paths]
    worlds: list[World] = []
    stop = Stop()

    def open_for(script: Any, folder: ResultsFolder, bus: Any) -> Any:
        worlds.append(World(folder))
        return worlds[-1].open_machine

    task = asyncio.create_task(run_scripts(scripts, open_for=open_for, out=tmp_path / "out", stop=stop, admission=Admission(2)))
    await until(lambda: len(worlds) == 2 and all(one.machines for one in worlds))
    stop.request("enough")
    assert [one.result.outcome for one in await task] == ["interrupted", "interrupted"]
    assert [one.closed for one in worlds] == [["machine"], ["machine"]]


async def test_one_run_that_cannot_write_does_not_leave_machines_of_the_others(tmp_path: Path) -> None:
    scripts = [read_script(write(tmp_path, "image: a\nsteps: [reboot]", f"{n}.yaml"), CATALOGUE) for n in range(2)]
    world = World(ResultsFolder.create(tmp_path / "unused", "x"))

    def open_for(script: Any, folder: ResultsFolder, bus: Any) -> Any:
        if script is scripts[0]:
            raise HostError("no")
        world.folder = folder
        return world.open_machine

    with pytest.raises(HostError):
        await run_scripts(scripts, open_for=open_for, out=tmp_path / "out", stop=Stop(), admission=Admission(2))
    assert world.closed == ["machine"]


def test_losing_the_reader_is_no_error_for_a_run() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        console = Console(file=run.lasting(stream))
        console.print("to nobody")
        console.print("again")
        assert str(Path(f"/proc/self/fd/{stream.fileno()}").readlink()) == os.devnull


MATRIX = """
name: m
image: a
matrix: {cpus: [1, 2], word: [x, y]}
steps: [succeed: "${word} ${cpus}"]
"""


def test_a_matrix_runs_its_combinations_and_shows_them_side_by_side(
    command: Command, worlds: dict[str, World], tmp_path: Path
) -> None:
    some = ResultsFolder.create(tmp_path / "unused", "x")
    worlds["m (cpus=2, word=y)"] = World(some, answers={"y 2": CommandResult("y 2", 1)})
    result = command(write(tmp_path, MATRIX), "--json", "--out", tmp_path / "out")
    record = json.loads(result.stdout)
    names = ["m (cpus=1, word=x)", "m (cpus=1, word=y)", "m (cpus=2, word=x)", "m (cpus=2, word=y)"]
    assert [one["name"] for one in record["runs"]] == names
    assert [worlds[name].plans["machine"][1].cpus for name in names] == [1, 1, 2, 2]
    assert result.return_value == 1
    (script,) = record["overview"]["scripts"]
    assert [(one["name"], one["failed"]) for one in script["steps"]] == [("succeed: …", 1)]
    page = Path(record["overview"]["page"])
    assert page.parent == tmp_path / "out"
    assert json.loads(page.with_suffix(".json").read_text())["scripts"] == record["overview"]["scripts"]
    assert f"side by side: {page}" in result.stderr


def test_one_combination_that_is_left_is_one_run_without_an_overview(command: Command, tmp_path: Path) -> None:
    result = command(write(tmp_path, MATRIX), "--var", "cpus=2", "--var", "word=z")
    assert result.stdout.startswith("PASSED m (cpus=2, word=z): 1 step")
    assert not list((tmp_path / "results").glob("overview*"))


def test_repeat_tells_how_often_each_step_failed(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    answers = [CommandResult("b", code) for code in (0, 1, 0)]
    worlds["r"] = World(ResultsFolder.create(tmp_path / "unused", "x"), answers={"b": answers})
    result = command(write(tmp_path, "name: r\nimage: a\nsteps: [succeed: a, succeed: b, reboot]"), "--repeat", 3, "--jobs", 1)
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["PASSED r, round 1", "FAILED r, round 2", "PASSED r, round 3"]
    assert "        1 of 3  flaky  step 2  succeed: b" in lines
    assert len(list((tmp_path / "results").glob("r-round-*"))) == 3


def test_until_fail_begins_nothing_after_the_first_failure(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    answers = [CommandResult("b", code) for code in (0, 1)]
    worlds["r"] = World(ResultsFolder.create(tmp_path / "unused", "x"), answers={"b": answers})
    path = write(tmp_path, "name: r\nimage: a\nsteps: [succeed: b]")
    result = command(path, "--repeat", 9, "--until-fail", "--jobs", 1, "--json")
    record = json.loads(result.stdout)
    assert [one["outcome"] for one in record["runs"]] == ["passed", "failed"]
    assert record["overview"]["planned"] == 9
    assert result.return_value == 1


def test_until_fail_alone_is_a_mistake(command: Command, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--until-fail needs --repeat"):
        command(write(tmp_path, "image: a\nsteps: [reboot]"), "--until-fail")


def test_more_runs_than_anybody_reads_are_refused(command: Command, tmp_path: Path) -> None:
    values = ", ".join(map(str, range(11)))
    path = write(tmp_path, f"image: a\nmatrix: {{n: [{values}]}}\nsteps: [reboot]")
    with pytest.raises(UsageError, match="these would be 11,000 runs, and at most 10,000"):
        command(path, "--repeat", 1000)
    assert not (tmp_path / "results").exists()


def test_an_overview_that_cannot_be_written_is_told_and_hides_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> Path:
        raise HostError("no space left for the overview")

    monkeypatch.setattr("qa.report.overview_files.write_overview", full)
    result = command(write(tmp_path, "name: r\nimage: a\nsteps: [reboot]"), "--repeat", 2)
    assert result.return_value == 3
    assert "no space left for the overview" in result.stderr
    assert result.stdout.count("PASSED r, round") == 2


@pytest.mark.parametrize(("cpus", "at_once"), [(1, 2), (2, 1)])
async def test_runs_begin_as_the_host_has_room(tmp_path: Path, cpus: int, at_once: int) -> None:
    host = Resources(memory=1 << 33, memory_total=1 << 33, cpus=2)
    text = f"image: a\nmachine: {{cpus: {cpus}, memory: 1G}}\nmatrix: {{n: [1, 2, 3]}}\nsteps: [wait_for_file: /x]"
    scripts = read_runs(write(tmp_path, text), CATALOGUE)
    worlds: list[World] = []
    stop = Stop()

    def open_for(script: Any, folder: ResultsFolder, bus: Any) -> Any:
        worlds.append(World(folder))
        return worlds[-1].open_machine

    running = run_scripts(
        scripts,
        open_for=open_for,
        out=tmp_path / "out",
        stop=stop,
        admission=Admission(look=lambda: host),
        needs=needs_on(Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path)})),
    )
    task = asyncio.create_task(running)
    await until(lambda: len(worlds) == at_once and all(one.machines for one in worlds))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(worlds) == at_once
    stop.request("enough")
    assert len(await task) == at_once


async def test_forks_of_a_run_share_the_host_with_all_runs(tmp_path: Path) -> None:
    class Watched(Admission):
        asked: ClassVar[list[tuple[int, int]]] = []

        def room(self, memory: int, cpus: int) -> AbstractAsyncContextManager[None]:
            self.asked.append((memory, cpus))
            return super().room(memory, cpus)

    text = "image: a\nmachine: {memory: 1G, cpus: 1}\nsteps: [branches: {a: [reboot], b: [reboot]}]"
    world = World(ResultsFolder.create(tmp_path / "unused", "x"))
    scripts = [read_script(write(tmp_path, text), CATALOGUE)]
    (one,) = await run_scripts(
        scripts, open_for=lambda *_: world.open_machine, out=tmp_path / "out", stop=Stop(), admission=Watched(1)
    )
    assert (one.result.outcome, Watched.asked) == ("passed", [(1 << 30, 1)])


def test_what_a_script_needs_is_what_its_machines_take(tmp_path: Path) -> None:
    needs = needs_on(Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path)}))
    text = "image: builtin\nmachines: {a: {memory: 2G, cpus: 3}, b: {}, c: {image: /nowhere.qcow2}}\nsteps: [reboot]"
    need = needs(read_script(write(tmp_path, text), CATALOGUE))
    builtin = recipes()["builtin"].description.memory_mib << 20
    assert need == Need((2 << 30) + builtin + (1 << 30) + 3 * QEMU_MEMORY, 7)


def test_a_long_name_keeps_its_end_in_the_folder() -> None:
    name = folder_name("a script with a long name about everything (image=debian-13, cpus=2), round 17")
    assert len(name) <= MAX_NAME
    assert name.startswith("a script with")
    assert name.endswith("cpus=2), round 17")
