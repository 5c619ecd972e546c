"""Switching a machine on and off, and its death."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import Driven, Original, original, qemus

from qa.errors import ChannelLost, GuestPanic, MachineOff
from qa.events import MachineEnded, MachineStage, Notice, QmpEvent
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    async with original(shared_home, tmp_path_factory.mktemp("original"), "builtin", network="none") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def qmp_event(vm: Driven, name: str) -> None:
    """Wait until QEMU tells it, without waiting for anything of the machine's."""
    came = asyncio.Event()
    unsubscribe = vm.machine.bus.subscribe(
        lambda event: came.set() if isinstance(event, QmpEvent) and event.name == name else None
    )
    try:
        await asyncio.wait_for(came.wait(), 60)
    finally:
        unsubscribe()


async def test_booting_a_machine_that_is_on_changes_nothing(vm: Driven) -> None:
    before = qemus()
    await vm("boot")
    assert qemus() == before
    assert len(before) == 1


async def test_a_reboot_starts_the_guest_anew_and_ends_what_ran(vm: Driven) -> None:
    await vm("succeed", "touch /tmp/before")
    running = asyncio.create_task(vm("execute", "touch /tmp/runs; sleep 1000"))
    await vm("wait_for_file", "/tmp/runs")
    await vm("reboot")
    with pytest.raises(ChannelLost, match="the guest was reset while it waited for the end of: touch /tmp/runs"):
        await running
    await vm("fail", "test -e /tmp/before")
    assert next(iter(vm.machine.stages)) == "reset"
    assert vm.machine.ready_s is not None


async def test_a_guest_that_the_emulation_stalls_after_a_reboot_is_reset_once_more(vm: Driven) -> None:
    before = len(vm.told)
    rebooting = asyncio.create_task(vm("reboot"))
    while not any(isinstance(event, MachineStage) and event.stage == "firmware" for event in vm.told[before:]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    vm.machine._console.data_received(b"rcu: rcu_preempt kthread timer wakeup didn't happen for 5250 jiffies!\r\n")
    await rebooting
    warnings = [event.message for event in vm.told[before:] if isinstance(event, Notice) and event.level == "warning"]
    assert ["is reset and boots once more" in message for message in warnings] == [True]
    assert [event.stage for event in vm.told[before:] if isinstance(event, MachineStage)].count("reset") == 2
    await vm("succeed", "true")
    assert vm.machine.ready_s is not None


async def test_a_guest_that_switches_itself_off_can_be_waited_for_late_and_booted_again(vm: Driven) -> None:
    off = asyncio.create_task(qmp_event(vm, "SHUTDOWN"))
    await vm("execute", "(sleep 0.2; poweroff) >/dev/null 2>&1 &")
    await off
    with pytest.raises(MachineOff, match="vm is off: guest shut down"):
        await vm("succeed", "true")
    await vm("wait_for_shutdown")
    await vm("wait_for_shutdown")
    await vm("shutdown")
    assert vm.machine.ended == "guest shut down"
    assert qemus() == []
    assert [event.reason for event in vm.told if isinstance(event, MachineEnded)] == ["guest shut down"]
    for verb in ("pause", "resume", "screenshot", "reboot"):
        with pytest.raises(MachineOff, match="vm is off: guest shut down"):
            await vm(verb)
    first_boot = vm.machine.console_log.stat().st_size
    await vm("boot")
    await vm("succeed", "true")
    assert vm.machine.console_log.stat().st_size > first_boot


async def test_a_clean_shutdown_runs_what_the_guest_runs_at_its_end(vm: Driven) -> None:
    running = asyncio.create_task(vm("execute", "touch /tmp/runs; sleep 1000"))
    await vm("wait_for_file", "/tmp/runs")
    await vm("shutdown")
    assert vm.machine.ended == "guest shut down"
    with pytest.raises(MachineOff, match="guest shut down"):
        await running
    assert b"anima-qa guest: going down" in vm.machine.console_log.read_bytes()


async def test_a_panic_ends_a_wait_and_is_told_with_the_console(vm: Driven) -> None:
    await vm("boot")
    running = asyncio.create_task(vm("wait_for_file", "/never"))
    await vm("succeed", "(sleep 0.3; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &")
    with pytest.raises(GuestPanic) as caught:
        await running
    assert caught.value.message == "vm: the guest's kernel panicked: sysrq triggered crash"
    assert "Kernel panic - not syncing: sysrq triggered crash" in caught.value.evidence["console, last lines"]
    for verb in ("wait_for_shutdown", "shutdown", "boot"):
        with pytest.raises(GuestPanic):
            await vm(verb)
    assert (await vm.machine.grab()).width > 0
    await vm("crash")
    assert vm.machine.ended == "guest panicked"
    assert qemus() == []
    await vm("crash")
