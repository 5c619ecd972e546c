"""Scripts pass the gate: each step, and each machine that they open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scenario_world import World, read, read_steps

from qa.config import Config
from qa.errors import PolicyRefused
from qa.events import Bus
from qa.operations.calls import Caller
from qa.operations.gate import Door, Gate
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.report.folder import ResultsFolder
from qa.scenario.opening import open_on
from qa.scenario.reader import Given


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ResultsFolder.create(tmp_path / "out", "script"))


def door(home: Paths, caller: str = "run", audit: str = "none", **rules: Any) -> Door:
    config = Config.model_validate({"policy": rules, "audit": {"of": audit}})
    return Door(Gate.of(home, config), Caller(caller, "somebody"))


async def test_a_step_that_the_policy_refuses_is_not_done_and_ends_the_run(world: World, tmp_path: Path, home: Paths) -> None:
    script = read_steps(tmp_path, "- succeed: ls\n- succeed: rm -rf /\n- succeed: id")
    result = await world.run(script, door=door(home, deny_commands=[r"\brm\b"]))
    assert [step.outcome for step in result.steps] == ["passed", "error", "skipped"]
    assert result.exit_status == 2
    assert "/\\brm\\b/" in result.reason
    assert "deny_commands" in result.hint
    assert world.machines["machine"].commands == ["ls"]


@pytest.mark.parametrize(
    ("steps", "rules"),
    [
        ("- record: {name: x, command: id}", {"allow_commands": ["ls"]}),
        ("- reboot", {"read_only": True}),
        ("- copy_to: {source: secret.txt, target: /x}", {"deny_paths": ["/"]}),
        ("- branches: {one: [{succeed: id}]}", {"deny_commands": ["^id"]}),
        ("- repeat: {count: 2, steps: [{succeed: id}]}", {"deny_commands": ["^id"]}),
        ("- subtest: {name: in it, steps: [{succeed: id}]}", {"deny_commands": ["^id"]}),
        ("- read_console", {"deny_operations": ["read_*"]}),
    ],
)
async def test_there_is_no_step_without_the_gate(world: World, tmp_path: Path, home: Paths, steps: str, rules: Any) -> None:
    (tmp_path / "secret.txt").write_text("x")
    result = await world.run(read_steps(tmp_path, steps), door=door(home, **rules))
    assert result.exit_status == 2, result
    assert [machine.commands for machine in (*world.machines.values(), *world.forks)] == [[] for _ in world.forks] + [[]]
    assert all("secret" not in machine.memory for machine in world.machines.values())


async def test_without_a_policy_all_is_done_and_nothing_written_down(world: World, tmp_path: Path, home: Paths) -> None:
    result = await world.run(
        read_steps(tmp_path, "- succeed: rm -rf /\n- snapshot: a\n- restore: a"), door=door(home, audit="agents")
    )
    assert result.outcome == "passed"
    assert not home.audit.exists()


async def test_a_script_of_an_agent_asks_nobody_about_its_own_machines(world: World, tmp_path: Path, home: Paths) -> None:
    result = await world.run(read_steps(tmp_path, "- snapshot: a\n- restore: a"), door=door(home, "mcp"))
    assert result.outcome == "passed"


@pytest.mark.parametrize(
    ("target", "caller", "outcome"),
    [
        ("taken", "mcp", "error"),
        ("new", "mcp", "error"),
        ("project/new", "mcp", "passed"),
        ("project/taken", "mcp", "error"),
        ("project/nix/../taken", "mcp", "error"),
        ("taken", "run", "passed"),
        ("new", "run", "passed"),
    ],
)
async def test_a_script_of_an_agent_replaces_no_files_of_this_host_and_makes_none_where_it_is_not_at_home(
    world: World, tmp_path: Path, home: Paths, monkeypatch: pytest.MonkeyPatch, target: str, caller: str, outcome: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "project").mkdir()
    for name in ("taken", "project/taken"):
        (tmp_path / name).write_text("precious")
    way = door(home, caller, audit="all")
    way = replace(way, gate=way.gate.at(tmp_path / "project", theirs=lambda _: (world.folder.path,)))
    result = await world.run(read_steps(tmp_path, f"- copy_from: {{source: /root/x, target: {tmp_path / target}}}"), door=way)
    assert result.outcome == outcome
    place = (tmp_path / target).resolve()
    there = place.read_text() if place.exists() else ""
    assert there == ("/root/x" if outcome == "passed" else "precious" if "taken" in target else "")
    if outcome == "error":
        assert "results folder" in result.hint
        assert json.loads(home.audit.read_text())["outcome"] == "refused"


async def test_a_step_whose_target_there_cannot_be_is_written_down(world: World, tmp_path: Path, home: Paths) -> None:
    steps = "- copy_from: {source: /root/x, target: ~nobody-of-that-name/x}"
    result = await world.run(read_steps(tmp_path, steps), door=door(home, "mcp", audit="all"))
    assert (result.outcome, result.exit_status) == ("error", 2)
    assert "the home folder of ~nobody-of-that-name is not known" in result.reason
    assert json.loads(home.audit.read_text())["outcome"] == "error"


async def test_a_script_of_an_agent_may_replace_what_it_has_written_itself(world: World, tmp_path: Path, home: Paths) -> None:
    twice = "- copy_from: {source: /root/x, target: log}\n- copy_from: {source: /root/y, target: log}"
    way = door(home, "mcp")
    way = replace(way, gate=way.gate.at(theirs=lambda _: (world.folder.path,)))
    assert (await world.run(read_steps(tmp_path, twice), door=way)).outcome == "passed"


async def test_what_a_script_includes_is_read_only_where_it_may_be_also_when_it_is_read_late(
    world: World, tmp_path: Path, home: Paths
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.yaml").write_text("- succeed: ls")
    way = door(home, "mcp")
    read_now = read(
        tmp_path,
        "image: builtin\nsteps: [{repeat: {count: 2, steps: [{include: 'parts/${round}.yaml'}]}}]",
        Given({}, may_read=way.may_read),
    )
    (tmp_path / "parts" / "2.yaml").symlink_to(home.config / "config.toml")
    result = await world.run(read_now, door=way)
    assert result.exit_status == 2
    assert "may not be read" in result.reason


async def test_each_step_is_written_down_where_that_is_wished(world: World, tmp_path: Path, home: Paths) -> None:
    script = read_steps(tmp_path, "- succeed: mysql --password=geheim9\n- record: {name: x, command: id}\n- reboot")
    await world.run(script, door=door(home, audit="all"))
    lines = [json.loads(line) for line in home.audit.read_text().splitlines()]
    assert [line["tool"] for line in lines] == ["succeed", "record", "reboot"]
    assert {(line["surface"], line["client"], line["outcome"]) for line in lines} == {("run", "somebody", "ok")}
    assert lines[0]["arguments"]["vm"] == "machine"
    assert "geheim9" not in home.audit.read_text()


class Planner:
    """A host that plans machines."""

    def __init__(self, folder: Path) -> None:
        self.owner, self.config = SimpleNamespace(folder=folder), Config(film=False)
        self.planned: list[str] = []

    async def blueprint(self, name: str, image: str, *_: Any, **__: Any) -> Any:
        self.planned.append(image)
        raise RuntimeError("planned")


@pytest.mark.parametrize(
    ("image", "options", "cloud_init", "rules"),
    [
        ("./other/disk.qcow2", {}, {}, {"allow_paths": ["/nowhere"]}),
        ("debian-13", {"disks": [{"path": "other/disk.qcow2"}]}, {}, {"allow_paths": ["/nowhere"]}),
        ("debian-13", {}, {"runcmd": ["true"]}, {"allow_commands": ["ls"]}),
        ("debian-13", {}, {}, {"deny_operations": ["boot"]}),
    ],
)
async def test_machines_that_the_policy_refuses_are_not_even_planned(
    tmp_path: Path, home: Paths, image: str, options: Any, cloud_init: Any, rules: Any
) -> None:
    host, script = Planner(tmp_path), read(tmp_path, "image: builtin\nsteps: [reboot]")
    folder = ResultsFolder.create(tmp_path / "out", "x")
    for rule, error, planned in ((rules, PolicyRefused, []), ({}, RuntimeError, [image])):
        opener = open_on(host, door(home, **rule))(script, folder, Bus())  # type: ignore[arg-type]
        with pytest.raises(error):
            async with opener("web", image, MachineOptions.model_validate(options), cloud_init):
                pass
        assert host.planned == planned
