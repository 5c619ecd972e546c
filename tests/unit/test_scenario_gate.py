"""Scripts pass the gate: each step, and each machine that they open."""

from __future__ import annotations

import json
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
