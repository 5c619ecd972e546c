"""The desk with real machines: saved, forked, taken back, and all gone at the end, however it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from machines import qemus

from qa.config import Config
from qa.errors import MachineOff
from qa.operations.desk import Desk
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.rules import Limits

SMALL = MachineOptions(cpus=1)


async def output(desk: Desk, name: str, command: str) -> str:
    with desk.get(name, "a").use() as machine:
        return (await machine.execute(command)).stdout_text.strip()


async def test_a_machine_is_saved_broken_forked_and_taken_back(shared_home: Paths, tmp_path: Path) -> None:
    before = set(qemus())
    async with Desk(shared_home, Config(accel="tcg"), base_folder=tmp_path) as desk:
        vm = await desk.boot("a", "builtin", name="web", options=SMALL)
        assert (vm.state, vm.facts().channel, vm.machine.name) == ("ready", "shell", "web")
        await output(desk, "web", "echo before > /tmp/note")
        saved = await desk.save(vm, "clean")
        assert saved.size > 0
        (fork,) = await desk.fork(vm, names=("attempt",))
        await asyncio.gather(
            output(desk, "web", "echo after > /tmp/note"), output(desk, "attempt", "rm /tmp/note; echo broken > /tmp/other")
        )
        assert await output(desk, "web", "cat /tmp/note; ls /tmp/other") == "after"
        (late,) = await desk.fork(vm, snapshot="clean")
        assert await output(desk, late.name, "cat /tmp/note") == "before"
        await desk.restore(vm, "clean")
        assert await output(desk, "web", "cat /tmp/note") == "before"
        await desk.forget(vm, "clean")
        assert vm.facts().snapshots == ()
        assert len(set(qemus()) - before) == 3
        await desk.destroy(fork)
        with pytest.raises(MachineOff, match="attempt is gone"), fork.use():
            pass
        works = list(desk.host.owner.folder.iterdir())
        assert not any("attempt" in folder.name for folder in works)
        with vm.use() as machine:
            await machine.crash()
        assert (vm.state, desk.news("a")) == ("off", ["web is off: crashed"])
    assert set(qemus()) == before
    assert list(shared_home.work.glob("owner-*/*web*")) == []


async def test_a_lease_ends_a_machine_and_a_cancelled_boot_leaves_none(shared_home: Paths, tmp_path: Path) -> None:
    before = set(qemus())
    config = Config(accel="tcg", limits=Limits(lease=0.5))
    async with Desk(shared_home, config, base_folder=tmp_path) as desk:
        vm = await desk.boot("a", "builtin", options=SMALL)
        task = asyncio.create_task(desk.boot("b", "builtin", options=SMALL))
        with vm.use() as machine:
            await machine.execute("sleep 1")
            assert vm.state == "ready"
        while not vm.is_gone:  # noqa: ASYNC110  # its lease ends by itself
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
    assert set(qemus()) == before
