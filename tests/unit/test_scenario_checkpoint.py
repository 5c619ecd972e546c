"""Runs that begin where the script was changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from frozen import put
from scenario_world import CATALOGUE, CommandResult, Opener, World, read, read_steps, write
from test_scenario_branches import notices, told
from test_scenario_resume import details

from qa.errors import SnapshotError, SnapshotUnusable
from qa.report.folder import ResultsFolder
from qa.scenario.chain import chain
from qa.scenario.reader import Given, read_script
from qa.scenario.results import RunResult
from qa.scenario.runner import Manner
from qa.scenario.script import Script
from qa.snapshots.store import Store

CHECKPOINT = Manner(checkpoint=True)


class Runs:
    """One run after the other, over one store of frozen machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(ResultsFolder.create(folder / "results", "run"))

    async def __call__(self, steps: str, **answers: CommandResult) -> RunResult:
        return await self.script(read_steps(self.folder, steps), **answers)

    async def script(self, script: Script, **answers: CommandResult) -> RunResult:
        folder = ResultsFolder.create(self.folder / "results", "run")
        self.world = World(folder, answers=dict(answers), cellar=self.world.cellar)
        result = await self.world.run(script, manner=CHECKPOINT)
        assert self.world.cellar.held == []
        return result


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def ran(result: RunResult) -> list[str]:
    return [index for index, outcome in told(result.steps).items() if outcome != "skipped"]


async def test_the_next_run_begins_at_the_first_step_that_changed(runs: Runs) -> None:
    first = await runs("- succeed: a\n- succeed: b\n- succeed: c\n- succeed: d")
    before = runs.world.folder.path
    second = await runs("- succeed: a\n- succeed: b\n- succeed: x\n- succeed: d")
    assert (ran(first), ran(second)) == (["1", "2", "3", "4"], ["3", "4"])
    assert details(second.steps)["1"] == f"unchanged since step 2 of script in {before}"
    assert runs.world.forks[0].memory == ("a", "b", "x", "d")
    assert (second.outcome, second.machines[0].start) == ("passed", "fork")


async def test_a_failed_step_is_run_again_from_the_state_before_it(runs: Runs) -> None:
    failed = await runs("- succeed: a\n- succeed: b\n- succeed: c", b=CommandResult("b", 1))
    assert failed.outcome == "failed"
    again = await runs("- succeed: a\n- succeed: b\n- succeed: c")
    assert (again.outcome, ran(again)) == ("passed", ["2", "3"])
    assert runs.world.forks[0].memory == ("a", "b", "c")


async def test_the_last_step_is_always_run(runs: Runs) -> None:
    await runs("- succeed: a\n- succeed: b")
    assert ran(await runs("- succeed: a\n- succeed: b")) == ["2"]
    assert ran(await runs("- succeed: a\n- succeed: b\n- succeed: c")) == ["3"]


async def test_without_checkpoints_every_step_is_run(runs: Runs) -> None:
    await runs("- succeed: a\n- succeed: b")
    script = read_steps(runs.folder, "- succeed: a\n- succeed: b")
    world = World(ResultsFolder.create(runs.folder / "results", "x"), cellar=runs.world.cellar)
    states = dict(world.cellar.states)
    assert ran(await world.run(script)) == ["1", "2"]
    assert world.cellar.states == states


async def test_a_failure_that_was_allowed_is_no_place_to_begin_behind(runs: Runs) -> None:
    steps = "- succeed: a\n- succeed: b\n  allow_failure: true\n- succeed: c"
    await runs(steps, b=CommandResult("b", 1), c=CommandResult("c", 1))
    assert ran(await runs(steps)) == ["2", "3"]


async def test_steps_whose_condition_is_false_are_no_place_to_begin_behind(runs: Runs) -> None:
    steps = "- succeed: a\n- succeed: b\n  when: ${image} == other\n- succeed: c"
    await runs(steps)
    assert len(runs.world.cellar.of_kind("checkpoint")) == 2
    result = await runs(steps)
    assert details(result.steps)["2"] == "not so: ${image} == other"


async def test_of_several_machines_each_is_kept_and_found_under_its_name(runs: Runs) -> None:
    text = "image: a\nmachines: {server: {}, client: {}}\nsteps: [{on: client, succeed: a}, succeed: b, succeed: %s]"
    await runs.script(read(runs.folder, text % "c"))
    result = await runs.script(read(runs.folder, text % "d"))
    assert ran(result) == ["3"]
    assert {fork.name: fork.memory for fork in runs.world.forks} == {"client": ("a",), "server": ("b", "d")}


async def test_where_one_machines_state_is_missing_an_earlier_one_is_taken(runs: Runs) -> None:
    text = "image: a\nmachines: {server: {}, client: {}}\nsteps: [succeed: a, succeed: b, succeed: c]"
    script = read(runs.folder, text)
    await runs.script(script)
    states = runs.world.cellar.states
    second = [state.id for state in runs.world.cellar.of_kind("checkpoint") if state.title.startswith("step 2")]
    del states[second[1]]
    assert ran(await runs.script(script)) == ["2", "3"]


async def test_a_state_that_cannot_be_kept_is_a_notice(runs: Runs) -> None:
    runs.world.cellar.error = SnapshotError("its memory is not in a file")
    result = await runs("- succeed: a")
    assert result.outcome == "passed"
    assert notices(runs.world) == ["the state after step 1 could not be kept: its memory is not in a file"]


async def test_states_that_cannot_be_used_are_told_once_and_the_run_begins_at_its_first_step(runs: Runs) -> None:
    steps = "- succeed: a\n- succeed: b\n- succeed: c"
    await runs(steps)
    world = World(ResultsFolder.create(runs.folder / "results", "x"), cellar=runs.world.cellar)
    world.find_error = SnapshotUnusable("a byte was changed")
    result = await world.run(read_steps(runs.folder, steps), manner=CHECKPOINT)
    assert (result.outcome, ran(result)) == ("passed", ["1", "2", "3"])
    assert notices(world) == ["a state that was kept cannot be used: a byte was changed"]


async def test_a_store_that_cannot_be_read_is_a_notice(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(kind: str, keys: object) -> set[str]:
        raise SnapshotError("the folder belongs to somebody else")

    monkeypatch.setattr(Opener, "known", staticmethod(refuse))
    result = await runs("- succeed: a\n- succeed: b")
    assert result.outcome == "passed"
    assert notices(runs.world) == ["a state that was kept cannot be used: the folder belongs to somebody else"]


def test_the_store_knows_keys_of_what_is_sound_and_of_what_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "snapshots", 1 << 40)
    put(store, kind="checkpoint", key="sound")
    broken = put(store, kind="checkpoint", key="broken")
    (broken.folder / "manifest.json").write_bytes(b"")
    put(store, kind="template", key="template")
    assert store.known("checkpoint", ["sound", "broken", "template", "none"]) == {"sound", "broken"}


async def test_a_state_that_does_not_load_is_a_notice_and_the_run_begins_at_its_first_step(runs: Runs) -> None:
    text = "image: a\nmachines: {server: {}, client: {}}\nsteps: [succeed: a, succeed: b]"
    await runs.script(read(runs.folder, text))
    world = World(ResultsFolder.create(runs.folder / "results", "x"), cellar=runs.world.cellar)
    world.fork_errors["client"] = SnapshotUnusable("QEMU is another one")
    result = await world.run(read(runs.folder, text), manner=CHECKPOINT)
    assert (result.outcome, ran(result)) == ("passed", ["1", "2"])
    assert notices(world) == ["the run begins with its first step: QEMU is another one"]
    assert (world.cellar.held, world.open_now) == ([], [])
    assert set(world.machines) == {"server", "client"}


async def test_from_the_first_step_on_that_uses_the_results_folder_nothing_is_kept(runs: Runs) -> None:
    steps = "- succeed: a\n- succeed: 'ls ${run_dir}'\n- succeed: b"
    await runs(steps)
    assert ([state.title[:6] for state in runs.world.cellar.of_kind("checkpoint")], notices(runs.world)) == (["step 1"], [])
    assert ran(await runs(steps)) == ["2", "3"]


def same(folder: Path, steps: str, other: str) -> int:
    """After how many steps the two scripts have the same state."""
    chains = [chain(read_steps(folder, text), "tcg") for text in (steps, other)]
    return next((number for number, (one, two) in enumerate(zip(*chains, strict=False)) if one != two), min(map(len, chains)))


@pytest.mark.parametrize(
    ("steps", "other", "unchanged"),
    [
        ("- succeed: a\n- succeed: b", "- succeed: b\n- succeed: a", 0),
        ("- succeed: a\n- succeed: b", "- succeed: a\n- execute: b", 1),
        ("- succeed: a\n- succeed: b", "# told\n- succeed: {command: a}\n\n- name: another name\n  succeed: b\n  timeout: 9", 2),
        ("- succeed: a\n- wait_for_file: f", "- succeed: a\n- wait_for_file: f\n  timeout: 9", 2),
        ("- execute: a", "- execute: a\n  expect: {exit_code: 0}", 0),
        ("- subtest: {steps: [reboot, succeed: a]}", "- subtest: {steps: [reboot, succeed: b]}", 0),
        ("- repeat: {count: 2, steps: [succeed: 'a ${round}']}", "- repeat: {count: 2, steps: [succeed: 'a ${round}']}", 1),
        ("- repeat: {count: 2, steps: [succeed: 'a ${round}']}", "- repeat: {count: 2, steps: [succeed: 'b ${round}']}", 0),
        ("- repeat: {count: 2, steps: [succeed: a]}", "- repeat: {count: 3, steps: [succeed: a]}", 0),
        ("- fork: {count: 2, steps: [succeed: 'a ${fork}']}", "- fork: {count: 2, steps: [succeed: 'b ${fork}']}", 0),
        ("- branches: {a: [succeed: x]}", "- branches: {a: [succeed: y]}", 0),
        ("- record: a\n- record: {command: x}", "- record: b\n- record: {command: x}", 0),
        ("- succeed: x\n- succeed: 'ls ${run_dir}'\n- reboot", "- succeed: x\n- succeed: 'ls ${run_dir}'\n- reboot", 1),
        ("- succeed: 'a ${accel}'", "- succeed: 'a ${accel}'", 1),
        ("- succeed: a\n  when: ${accel} == kvm", "- succeed: a\n  when: ${accel} == tcg", 0),
    ],
)
def test_what_changes_a_step_and_what_does_not(tmp_path: Path, steps: str, other: str, unchanged: int) -> None:
    assert same(tmp_path, steps, other) == unchanged


def test_variables_and_included_files_are_part_of_it(tmp_path: Path) -> None:
    text = "image: a\nvars: {v: 1}\nsteps: [reboot, succeed: 'x ${v}', include: other.yaml]"
    write(tmp_path, "- succeed: a", "other.yaml")
    path = write(tmp_path, text)
    first = chain(read_script(path, CATALOGUE), "tcg")
    condition = write(tmp_path, "image: a\nvars: {v: 1}\nsteps: [{reboot: , when: '${v} == 1'}]", "condition.yaml")
    assert len({chain(read_script(condition, CATALOGUE, Given({"v": v})), "tcg")[0] for v in "12"}) == 2
    assert chain(read_script(path, CATALOGUE, Given({"v": "1"})), "tcg") == first
    with_other_value = chain(read_script(path, CATALOGUE, Given({"v": "2"})), "tcg")
    assert [one == two for one, two in zip(first, with_other_value, strict=True)] == [True, False, False]
    write(tmp_path, "- succeed: b", "other.yaml")
    with_other_file = chain(read_script(path, CATALOGUE), "tcg")
    assert [one == two for one, two in zip(first, with_other_file, strict=True)] == [True, True, False]


def test_the_accelerator_is_part_of_it_where_a_step_uses_it(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- reboot\n- succeed: 'x ${accel}'")
    one, two = chain(script, "tcg"), chain(script, "kvm")
    assert (one[0] == two[0], one[1] == two[1]) == (True, False)


def test_files_that_are_copied_are_part_of_it(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- copy_to: {source: data, target: /d}")
    seen = {tuple(chain(script, "tcg"))}
    data = tmp_path / "data"
    data.write_text("one")
    seen.add(tuple(chain(script, "tcg")))
    data.write_text("two")
    seen.add(tuple(chain(script, "tcg")))
    data.chmod(0o700)
    seen.add(tuple(chain(script, "tcg")))
    data.unlink()
    data.mkdir()
    seen.add(tuple(chain(script, "tcg")))
    (data / "b").symlink_to("/nowhere")
    seen.add(tuple(chain(script, "tcg")))
    (data / "b").unlink()
    (data / "b").write_text("")
    seen.add(tuple(chain(script, "tcg")))
    (data / "b").rename(data / "c")
    seen.add(tuple(chain(script, "tcg")))
    assert len(seen) == 8
    assert tuple(chain(script, "tcg")) in seen


@pytest.mark.parametrize(
    "text",
    [
        "image: b\nsteps: [reboot]",
        "image: a\nmachine: {memory: 1G}\nsteps: [reboot]",
        "image: a\ncloud_init: {packages: [x]}\nsteps: [reboot]",
        "image: a\nstart: cold\nsteps: [reboot]",
        "machines: {server: {image: a}}\nsteps: [reboot]",
    ],
)
def test_the_machines_are_part_of_it(tmp_path: Path, text: str) -> None:
    assert chain(read(tmp_path, "image: a\nsteps: [reboot]"), "tcg") != chain(read(tmp_path, text), "tcg")


def test_each_script_has_states_of_its_own(tmp_path: Path) -> None:
    """An image beside the script is another one beside another script."""
    paths = [write(tmp_path, "image: ./a.img\nsteps: [reboot]", name) for name in ("one.yaml", "two.yaml")]
    one, two = [chain(read_script(path, CATALOGUE), "tcg") for path in paths]
    assert one != two
