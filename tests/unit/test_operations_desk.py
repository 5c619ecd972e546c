"""The desk: machines of clients, by name, for as long as somebody uses them, and none left at the end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from desks import GIB, PlayedMachine, failing, play, played
from scenario_world import until

from qa.config import Config
from qa.errors import HostError, LimitReached, MachineOff, NoSpace, QaError, UsageError
from qa.events import Notice
from qa.host.resources import Resources
from qa.operations.desk import Desk
from qa.operations.options import MachineOptions
from qa.operations.vm import Vm
from qa.paths import Paths
from qa.rules import Limits

SMALL = MachineOptions(memory=128 << 20)


def limited(**limits: Any) -> Config:
    return Config(limits=Limits.model_validate(limits))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as machines know it, in its only element."""
    now = [1000.0]
    monkeypatch.setattr("qa.operations.vm._now", lambda: now[0])
    return now


async def test_a_machine_is_booting_then_ready_then_gone(home: Paths) -> None:
    desk, host = played(home)
    host.gate.clear()
    async with desk:
        vm = desk.begin("a", "builtin")
        assert (vm.name, vm.state) == ("vm1", "booting")
        with pytest.raises(MachineOff, match="still booting"):
            vm.machine  # noqa: B018
        host.gate.set()
        assert (await vm.wait_ready()).name == "vm1"
        assert (vm.state, desk.get("vm1", "a"), host.open) == ("ready", vm, ["vm1"])
        await desk.destroy(vm)
        assert (vm.state, host.open, desk.of("a")) == ("gone", [], [])
        with pytest.raises(UsageError, match="vm1 is gone: it was destroyed"):
            desk.get("vm1", "a")
        with pytest.raises(MachineOff, match="vm1 is gone: it was destroyed"):
            vm.machine  # noqa: B018


async def test_nothing_is_made_before_the_first_machine(home: Paths) -> None:
    async with Desk(home, Config(), base_folder=home.state) as desk:
        assert desk.facts() == []
    assert not home.cache.exists()
    assert not home.state.exists()


async def test_at_the_end_all_machines_are_gone(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        await desk.boot("a", "builtin")
        await desk.boot("b", "builtin")
        host.gate.clear()
        desk.begin("a", "builtin")
        await until(lambda: len(host.open) == 3)
    assert host.open == []
    with pytest.raises(HostError, match="the server ends"):
        desk.begin("a", "builtin")


async def test_the_end_is_not_cut_short_by_being_cancelled(home: Paths) -> None:
    desk, host = played(home)
    host.slow_end.clear()

    async def serve() -> None:
        async with desk:
            await desk.boot("a", "builtin")

    task = asyncio.create_task(serve())
    await until(lambda: desk.of() and desk.of()[0].is_gone)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    cut_short = task.done()
    host.slow_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (cut_short, host.open) == (False, [])


async def test_a_boot_that_is_cancelled_leaves_nothing(home: Paths) -> None:
    desk, host = played(home)
    host.gate.clear()
    async with desk:
        task = asyncio.create_task(desk.boot("a", "builtin"))
        await until(lambda: host.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (host.open, desk.of()) == ([], [])
        with pytest.raises(UsageError, match="its start was cancelled"):
            desk.get("vm1", "a")


async def test_a_second_wish_to_end_does_not_cut_the_first_short(home: Paths) -> None:
    desk, host = played(home)
    host.gate.clear()
    host.slow_end.clear()
    async with desk:
        vm = desk.begin("a", "builtin")
        await until(lambda: host.open)
        ends = []
        for _ in range(3):
            ends.append(asyncio.create_task(desk.destroy(vm)))
            for _ in range(5):
                await asyncio.sleep(0)
        host.slow_end.set()
        await asyncio.gather(*ends)
        assert host.open == []


async def test_waiting_for_a_machine_may_be_given_up(home: Paths) -> None:
    desk, host = played(home)
    host.gate.clear()
    async with desk:
        vm = desk.begin("a", "builtin")
        task = asyncio.create_task(vm.wait_ready())
        await until(lambda: host.open)
        task.cancel()
        await asyncio.wait({task})
        host.gate.set()
        await vm.wait_ready()
        assert vm.state == "ready"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (failing("the guest did not come up"), QaError, "the guest did not come up"),
        (OSError(28, "No space left on device"), NoSpace, "No space left"),
        (OSError(5, "Input/output error"), HostError, "Input/output error"),
        (RuntimeError("x"), QaError, "defect of anima-qa: RuntimeError: x"),
    ],
)
async def test_a_machine_that_does_not_come_up_says_why(home: Paths, error: Exception, kind: Any, message: str) -> None:
    desk, host = played(home)
    host.fails["vm1"] = error
    async with desk:
        with pytest.raises(kind, match=message):
            await desk.boot("a", "builtin")
        assert (host.open, desk.of(), desk.quota.taken) == ([], [], [])
        with pytest.raises(UsageError, match=message):
            desk.get("vm1", "a")


async def test_an_image_that_is_not_there_is_an_error_of_the_boot(home: Paths) -> None:
    desk, host = played(home)
    host.fails["nope"] = UsageError("there is no image")
    async with desk:
        with pytest.raises(UsageError, match="there is no image"):
            await desk.boot("a", "nope")
        assert desk.of() == []


# names


async def test_names_are_unique_for_each_client_and_numbers_are_never_used_again(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        first = await desk.boot("a", "builtin")
        await desk.boot("b", "builtin")
        await desk.boot("a", "builtin", name="vm2")
        await desk.destroy(first)
        chosen = await desk.boot("b", "builtin", name="vm2")
        await desk.destroy(chosen)
        assert (await desk.boot("b", "builtin")).name == "vm3"
        fourth = await desk.boot("a", "builtin")
        assert [vm.name for vm in desk.of("a")] == ["vm2", "vm3"]
        assert (fourth.name, [vm.name for vm in desk.of("b")]) == ("vm3", ["vm1", "vm3"])
        with pytest.raises(UsageError, match="there is a machine 'vm2' already"):
            await desk.boot("a", "builtin", name="vm2")
        with pytest.raises(UsageError, match="there is no machine 'vm4'") as caught:
            desk.get("vm4", "b")
        assert caught.value.hint == "there are: vm1, vm3"


@pytest.mark.parametrize("name", ["", "Web", "-a", "a-", "a b", "../a", "a/b", "a" * 33, "ä", "a\n"])
async def test_what_is_no_name_is_refused(home: Paths, name: str) -> None:
    desk, host = played(home)
    async with desk:
        with pytest.raises(UsageError, match="is no name for a machine"):
            await desk.boot("a", "builtin", name=name)
        assert host.opened == 0


async def test_guests_are_called_the_same_so_that_they_share_a_template(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        one = await desk.boot("a", "builtin", name="web")
        assert one.blueprint
        assert one.blueprint.name == "machine"
        assert host.places[0].called == "web"


async def test_each_machine_has_a_folder_of_its_own_also_after_another_of_its_name(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        first = await desk.boot("a/../b", "builtin", name="web")
        await desk.destroy(first)
        second = await desk.boot("a/../b", "builtin", name="web")
        other = await desk.boot("a b", "builtin", name="web")
        folders = {vm.results for vm in (first, second, other)}
        assert len(folders) == 3
        assert all(folder.is_dir() and folder.is_relative_to(home.sessions) for folder in folders)


# forks and restore points


async def test_forks_are_machines_of_their_own(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin", name="web")
        forks = await desk.fork(vm, count=3, names=("left",))
        assert [(one.name, one.forked_from, one.state) for one in forks] == [
            ("left", "web", "ready"), ("web-fork1", "web", "ready"), ("web-fork2", "web", "ready"),
        ]  # fmt: skip
        (again,) = await desk.fork(vm)
        assert again.name == "web-fork3"
        assert isinstance(vm.machine, PlayedMachine)
        assert [point.held for point in vm.machine.frozen] == [0, 0], "nobody needs the frozen state any more"
        await desk.destroy(vm)
        assert [one.state for one in forks] == ["ready"] * 3
    assert host.open == []


async def test_forks_go_on_from_a_restore_point_where_one_is_named(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        await desk.save(vm, "clean")
        await desk.fork(vm, snapshot="clean")
        assert [point.name for point in host.seen_points] == ["clean"]
        with pytest.raises(UsageError, match="no snapshot 'dirty'") as caught:
            await desk.fork(vm, snapshot="dirty")
        assert caught.value.hint == "there are: clean"


async def test_when_one_fork_fails_none_is_left(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin", name="web")
        host.fails["bad"] = failing("it does not answer")
        with pytest.raises(QaError, match="it does not answer"):
            await desk.fork(vm, names=("good", "bad", "other"))
        assert (host.open, [one.name for one in desk.of()]) == (["web"], ["web"])


async def test_forks_that_are_cancelled_are_gone(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        host.gate.clear()
        task = asyncio.create_task(desk.fork(vm, count=2))
        await until(lambda: len(host.open) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert host.open == ["vm1"]
        assert isinstance(vm.machine, PlayedMachine)
        assert [point.held for point in vm.machine.frozen] == [0]


async def test_a_fork_whose_name_was_taken_meanwhile_leaves_no_others(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        machine: Any = vm.machine
        freeze = machine.freeze

        async def slowly(kind: str, *, title: str) -> Any:
            await desk.boot("a", "builtin", name="two")
            return await freeze(kind, title=title)

        machine.freeze = slowly
        with pytest.raises(UsageError, match="there is a machine 'two' already"):
            await desk.fork(vm, names=("one", "two"))
        assert [one.name for one in desk.of()] == ["vm1", "two"]
        assert host.open == ["vm1", "two"]


@pytest.mark.parametrize("names", [("a", "a"), ("vm1",), ("no name",)])
async def test_forks_with_wrong_names_are_refused_before_anything_is_frozen(home: Paths, names: tuple[str, ...]) -> None:
    desk, host = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        with pytest.raises(UsageError):
            await desk.fork(vm, names=names)
        with pytest.raises(UsageError):
            await desk.fork(vm, count=0)
        assert isinstance(vm.machine, PlayedMachine)
        assert (vm.machine.frozen, host.open) == ([], ["vm1"])


async def test_restore_points_are_saved_listed_restored_and_forgotten(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        facts = await desk.save(vm, "clean")
        assert (facts.name, facts.size) == ("clean", 1000)
        assert [one.name for one in vm.facts().snapshots] == ["clean"]
        vm.last_frame = "a picture of what is undone"
        await desk.restore(vm, "clean")
        assert vm.last_frame is None
        await desk.forget(vm, "clean")
        assert vm.facts().snapshots == ()


# limits


async def test_no_more_machines_than_are_allowed(home: Paths) -> None:
    desk, host = played(home, limited(machines=2))
    async with desk:
        vm = await desk.boot("a", "builtin")
        with pytest.raises(LimitReached):
            await desk.fork(vm, count=2)
        assert isinstance(vm.machine, PlayedMachine)
        assert vm.machine.frozen == []
        await desk.fork(vm)
        with pytest.raises(LimitReached, match="2 machines are here already") as caught:
            await desk.boot("b", "builtin")
        assert "limits" in (caught.value.hint or "")
        assert len(host.open) == 2
        await desk.destroy(vm)
        await desk.boot("b", "builtin")


async def test_machines_that_begin_at_once_do_not_pass_the_limit_together(home: Paths) -> None:
    desk, host = played(home, limited(machines=2))
    async with desk:
        outcomes = await asyncio.gather(*(desk.boot("a", "builtin") for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(one, LimitReached) for one in outcomes) == 3
        assert len(host.open) == 2


async def test_one_too_many_is_refused_before_its_image_is_looked_for(home: Paths) -> None:
    desk, _ = played(home, limited(machines=1))
    async with desk:
        await desk.boot("a", "builtin")
        with pytest.raises(LimitReached):
            desk.begin("a", "builtin")
        assert [vm.name for vm in desk.of("a")] == ["vm1"]


async def test_memory_is_promised_only_once(home: Paths) -> None:
    desk, _ = played(home, limited(memory="3G"))
    async with desk:
        vm = await desk.boot("a", "builtin", options=MachineOptions(memory=2 * GIB))
        with pytest.raises(LimitReached, match=r"2.0 GiB of 3.0 GiB are promised"):
            await desk.boot("a", "builtin", options=MachineOptions(memory=2 * GIB))
        await desk.boot("a", "builtin", options=MachineOptions(memory=1 * GIB))
        await desk.destroy(vm)
        assert sum(one.memory for one in desk.quota.taken) == GIB


async def test_a_machine_larger_than_what_is_free_is_refused_and_forks_are_not(home: Paths) -> None:
    desk, _ = played(home, free=GIB)
    async with desk:
        vm = await desk.boot("a", "builtin")
        desk.quota.look = lambda: Resources(GIB // 2, GIB, 8)
        with pytest.raises(LimitReached, match="to spare"):
            await desk.boot("a", "builtin")
        await desk.fork(vm)


async def test_no_machine_begins_on_a_full_disk(home: Paths) -> None:
    desk, _ = played(home)
    desk.quota.space = lambda folder: 1 << 20
    async with desk:
        with pytest.raises(LimitReached, match="are free on the disk"):
            await desk.boot("a", "builtin")


async def test_machines_that_fill_the_disk_are_paused_and_their_client_told(home: Paths) -> None:
    desk, _ = played(home, limited(disk="1M"))
    home.work.mkdir(parents=True)
    async with desk:
        vm = await desk.boot("a", "builtin")
        (home.work / "disk").write_bytes(b"x" * (2 << 20))
        desk._caretaker.look()
        await until(lambda: vm.state == "paused")
        assert "are allowed" in vm.why
        assert any("vm1 is paused" in sentence for sentence in desk.news("a"))
        with pytest.raises(LimitReached, match="machines take"):
            await desk.boot("a", "builtin")


async def test_what_machines_leave_and_can_go_back_to_counts_as_theirs(home: Paths) -> None:
    desk, _ = played(home, limited(disk="1M"))
    home.work.mkdir(parents=True)
    async with desk:
        vm = await desk.boot("a", "builtin")
        assert desk.quota.used() == 0
        (vm.results / "output").write_bytes(b"x" * (600 << 10))
        assert 600 << 10 <= desk.quota.used() < 700 << 10
        assert isinstance(vm.machine, PlayedMachine)
        await desk.save(vm, "s")
        vm.machine.restore_points["s"].size = 600 << 10
        with pytest.raises(LimitReached, match="machines take"):
            await desk.boot("a", "builtin")
        desk._caretaker.look()
        await until(lambda: vm.state == "paused")


async def test_what_is_left_of_machines_and_clients_that_are_gone_keeps_no_machine_from_booting(home: Paths) -> None:
    desk, _ = played(home, limited(disk="1M"))
    home.work.mkdir(parents=True)
    async with desk:
        for ends in (desk.destroy, lambda vm: desk.leave(vm.client), desk.destroy):
            vm = await desk.boot("a", "builtin")
            (vm.results / "console.log").write_bytes(b"x" * (2 << 20))
            assert desk.quota.used() >= 2 << 20
            await ends(vm)
            assert desk.quota.used() == 0
            assert (vm.results / "console.log").exists(), "a person may want to look"


async def test_a_client_that_has_gone_has_no_folder_and_a_later_one_of_its_name_gets_another(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        first = await desk.boot("a", "builtin")
        await desk.leave("a")
        assert desk.folders_of("a") == ()
        later = await desk.boot("a", "builtin")
        assert later.results.parent not in first.results.parents
        assert desk.folders_of("a") == (later.results.parent,)


async def test_two_clients_never_share_a_folder(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        names = ["a/b", "a-b", "x" * 60 + "/1", "x" * 60 + "/2"]
        assert desk.folders_of("a/b") == (), "there is none before it is needed"
        folders = [desk.folder_of(name) for name in names]
        assert len(set(folders)) == 4
        assert desk.folder_of("a-b") == folders[1]
        assert desk.folders_of("a-b") == (folders[1],)
        vm = await desk.boot("a-b", "builtin")
        assert vm.results.parent == folders[1]


async def test_machines_that_are_destroyed_though_nobody_asked_are_told_of(home: Paths, clock: list[float]) -> None:
    ended: list[tuple[str, str, str]] = []

    async def tell(vm: Vm, why: str) -> None:
        ended.append((vm.client, vm.name, why))

    desk = Desk(home, limited(lease="1h"), base_folder=home.state, ended=tell)
    play(desk)
    async with desk:
        old = await desk.boot("a", "builtin")
        clock[0] += 3601
        desk._caretaker.look()
        await until(lambda: old.state == "gone" and ended)
        assert ended == [("a", "vm1", "nobody used it for 1 h 00 min")]
        await desk.boot("b", "builtin", name="left")
        await desk.leave("b")
        assert ended[1:] == [("b", "left", "its client has gone")]
        await desk.destroy(await desk.boot("c", "builtin", name="wished"))
        await desk.boot("c", "builtin", name="last")
    assert ended[2:] == [("c", "last", "the server ends")]


# leases


async def test_a_machine_that_nobody_uses_is_destroyed_and_its_client_told(home: Paths, clock: list[float]) -> None:
    desk, host = played(home, limited(lease="1h"))
    async with desk:
        vm = await desk.boot("a", "builtin")
        assert vm.facts().lease_ends_s == 3600
        clock[0] += 3601
        desk._caretaker.look()
        await until(lambda: not desk.of())
        assert host.open == []
        assert desk.news("a") == ["vm1 was destroyed: nobody used it for 1 h 00 min"]
        assert desk.news("a") == []
        with pytest.raises(UsageError, match="nobody used it for 1 h"):
            desk.get("vm1", "a")


async def test_each_use_renews_the_lease_and_holds_it(home: Paths, clock: list[float]) -> None:
    desk, host = played(home, limited(lease="1h"))
    async with desk:
        vm = await desk.boot("a", "builtin")
        clock[0] += 3000
        with vm.use():
            clock[0] += 5000
            assert vm.expired() == ""
        clock[0] += 3599
        assert vm.expired() == ""
        assert host.open
        clock[0] += 1
        assert "nobody used it" in vm.expired()


async def test_booting_counts_as_use(home: Paths, clock: list[float]) -> None:
    desk, host = played(home, limited(lease="1m"))
    host.gate.clear()
    async with desk:
        vm = desk.begin("a", "builtin")
        await until(lambda: host.open)
        clock[0] += 300
        assert vm.expired() == ""
        host.gate.set()
        await vm.wait_ready()
        assert vm.facts().lease_ends_s == 60


async def test_no_machine_lives_longer_than_is_allowed(home: Paths, clock: list[float]) -> None:
    desk, host = played(home, limited(run_time="10m"))
    async with desk:
        vm = await desk.boot("a", "builtin")
        with vm.use():
            clock[0] += 601
            desk._caretaker.look()
            await until(lambda: not host.open)
        assert "which is the most that is allowed" in desk.news("a")[0]


async def test_a_lease_ends_without_anybody_looking(home: Paths) -> None:
    desk, host = played(home, limited(lease=0.05))
    async with desk:
        await desk.boot("a", "builtin")
        await until(lambda: not host.open)


async def test_by_default_leases_are_two_hours_and_machines_sixteen(home: Paths) -> None:
    desk, _ = played(home)
    assert (desk.quota.limits.lease, desk.quota.limits.machines) == (7200.0, 16)


# clients


async def test_a_client_that_goes_takes_its_machines_along(home: Paths) -> None:
    desk, host = played(home)
    async with desk:
        await desk.boot("a", "builtin")
        await desk.boot("b", "builtin", name="stays")
        desk.get("vm1", "a").bus.emit(Notice(message="its clock is wrong", level="warning"))
        await desk.leave("a")
        assert host.open == ["stays"]
        assert desk.news("a") == []


async def test_what_happens_by_itself_is_told_once(home: Paths) -> None:
    desk, _ = played(home)
    async with desk:
        vm = await desk.boot("a", "builtin")
        await desk.boot("b", "builtin")
        vm.bus.emit(Notice(message="its clock is wrong", level="warning"))
        vm.bus.emit(Notice(message="nothing"))
        assert isinstance(vm.machine, PlayedMachine)
        vm.machine.power_state, vm.machine.ended = "dead", "guest panicked"
        assert desk.news("b") == []
        assert desk.news("a") == ["its clock is wrong", "vm1 is dead: guest panicked"]
        assert desk.news("a") == []
        assert vm.facts().state == "dead"


async def test_many_at_once_end_in_order(home: Paths) -> None:
    desk, host = played(home, limited(machines=100))
    async with desk:

        async def life(client: str) -> None:
            vm = await desk.boot(client, "builtin")
            forks = await desk.fork(vm, count=2)
            await desk.save(vm, "x")
            with contextlib.suppress(MachineOff):
                await asyncio.gather(desk.restore(vm, "x"), desk.fork(vm), desk.destroy(vm))
            await asyncio.gather(*(desk.destroy(one) for one in forks))

        await asyncio.gather(*(life(str(number)) for number in range(10)))
        for number in range(10):
            await desk.leave(str(number))
        assert host.open == []
    assert desk.quota.taken == []
