"""Every wait ends when the guest ends, and says why."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from qa.console import SerialConsole
from qa.deadline import Deadline
from qa.errors import BootFailed, ChannelLost, DeadlineExceeded, GuestPanic, MachineOff, NoSpace, QaError, QemuExited, QemuFailed
from qa.guest import vitals as vitals_module
from qa.guest.vitals import Vitals

PANIC = b"[    9.1] x\r\nKernel panic - not syncing: sysrq triggered crash\r\n"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[SerialConsole]:
    console = SerialConsole(tmp_path / "console.log")
    yield console
    console.close()


@pytest.fixture
async def vitals(console: SerialConsole, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vitals]:
    monkeypatch.setattr(vitals_module, "LAST_WORDS", 0.02)
    vitals = Vitals("vm", console)
    yield vitals
    vitals.close()


def never() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def end_of_wait(vitals: Vitals, tell: Any, **options: Any) -> QaError:
    """What ends a wait for something that never comes, when ``tell`` is called meanwhile."""
    guarded = asyncio.create_task(vitals.guard(never(), Deadline.after(20), "the impossible", **options))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tell()
    with pytest.raises(QaError) as caught:
        await guarded
    return caught.value


async def test_what_is_waited_for_is_returned(vitals: Vitals) -> None:
    assert await vitals.guard(asyncio.sleep(0, "done"), Deadline.after(5), "it") == "done"


async def test_an_error_of_what_is_waited_for_comes_through(vitals: Vitals) -> None:
    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await vitals.guard(fails(), Deadline.after(5), "it")


async def test_a_panic_on_the_console_ends_a_wait_with_the_consoles_tail(vitals: Vitals, console: SerialConsole) -> None:
    def panic() -> None:
        console.data_received(b"before\r\n" + PANIC)
        console.data_received(b"Call Trace:\r\n <TASK>\r\n---[ end Kernel panic ]---\r\n")

    error = await end_of_wait(vitals, panic)
    assert isinstance(error, GuestPanic)
    assert error.message == "vm: the guest's kernel panicked: sysrq triggered crash"
    assert error.evidence["console, last lines"].splitlines()[-1] == "---[ end Kernel panic ]---"
    assert vitals.ended == "guest panicked"


async def test_what_the_guest_still_prints_after_the_first_sign_is_evidence(vitals: Vitals, console: SerialConsole) -> None:
    asyncio.get_running_loop().call_later(0.005, console.data_received, b"RIP: 0010:sysrq_handle_crash\r\n")
    error = await end_of_wait(vitals, lambda: console.data_received(PANIC))
    assert "RIP: 0010:sysrq_handle_crash" in error.evidence["console, last lines"]


async def test_a_panic_that_only_the_device_tells(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_qmp("GUEST_PANICKED", {"action": "pause"}))
    assert isinstance(error, GuestPanic)


async def test_the_consoles_words_for_a_panic_win_over_the_devices(vitals: Vitals, console: SerialConsole) -> None:
    def both() -> None:
        console.data_received(PANIC)
        vitals.on_qmp("GUEST_PANICKED", {"action": "pause"})
        vitals.on_qmp("SHUTDOWN", {"guest": True, "reason": "guest-panic"})

    assert "sysrq triggered crash" in (await end_of_wait(vitals, both)).message


async def test_a_boot_that_fails_ends_a_wait(vitals: Vitals, console: SerialConsole) -> None:
    error = await end_of_wait(vitals, lambda: console.data_received(b"\r\nBdsDxe: No bootable option or device was found.\r\n"))
    assert isinstance(error, BootFailed)
    assert error.hint is not None


async def test_after_the_boot_a_prompt_in_the_output_is_harmless(vitals: Vitals, console: SerialConsole) -> None:
    vitals.booted()
    console.data_received(b"\r\ngrub> ")
    await asyncio.sleep(0.05)
    vitals.check()


async def test_the_guests_shutdown_ends_a_wait(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_qmp("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}))
    assert isinstance(error, MachineOff)
    assert "guest shut down" in error.message


async def test_a_shutdown_may_be_what_is_waited_for(vitals: Vitals) -> None:
    waiting = asyncio.create_task(vitals.guard(vitals.off(), Deadline.after(20), "shutdown", off_is_fine=True))
    await asyncio.sleep(0)
    vitals.on_qmp("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
    await waiting


@pytest.mark.parametrize("early", [True, False], ids=["before", "during"])
async def test_a_panic_is_no_shutdown(vitals: Vitals, console: SerialConsole, early: bool) -> None:
    if early:
        console.data_received(PANIC)
    waiting = asyncio.create_task(vitals.guard(vitals.off(), Deadline.after(20), "shutdown", off_is_fine=True))
    await asyncio.sleep(0)
    if not early:
        console.data_received(PANIC)
        vitals.on_qmp("GUEST_PANICKED", {})
    with pytest.raises(GuestPanic):
        await waiting


async def test_a_qemu_that_dies_is_no_shutdown(vitals: Vitals) -> None:
    for _ in range(5):  # the order of those that wait is not ours
        waiting = [
            asyncio.create_task(vitals.guard(vitals.off(), Deadline.after(20), "shutdown", off_is_fine=True)) for _ in range(4)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        vitals.on_exit(-9, "")
        assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {QemuExited}


async def test_a_reset_ends_a_command(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_qmp("RESET", {"guest": True}), reset_is_fine=False)
    assert isinstance(error, ChannelLost)
    assert "the guest was reset while it waited for the impossible" in error.message


async def test_a_reset_does_not_end_other_waits(vitals: Vitals) -> None:
    guarded = asyncio.create_task(vitals.guard(vitals.reset_after(0), Deadline.after(20), "the reboot"))
    await asyncio.sleep(0)
    vitals.on_qmp("RESET", {"guest": False})  # our own, at power-on
    await asyncio.sleep(0)
    assert not guarded.done()
    vitals.on_qmp("RESET", {"guest": True})
    await guarded
    assert vitals.resets == 1


async def test_the_end_of_qemu_ends_a_wait_with_its_last_messages(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_exit(1, "qemu: could not lock"))
    assert isinstance(error, QemuExited)
    assert error.message == "vm: QEMU exited with status 1"
    assert error.evidence["QEMU's last messages"] == "qemu: could not lock"


async def test_a_killed_qemu_is_told_with_the_signal(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_exit(-9, ""))
    assert error.message == "vm: QEMU was killed by signal 9"
    assert error.hint == "its own messages are in qemu.log"


async def test_a_qemu_whose_memory_cannot_be_had_is_told_with_what_to_look_at(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, lambda: vitals.on_exit(-signal.SIGBUS, ""))
    assert "file system of the frozen machines in memory, and full" in str(error.hint)


async def test_an_internal_error_ends_a_wait(vitals: Vitals) -> None:
    error = await end_of_wait(vitals, vitals.on_internal_error)
    assert isinstance(error, QemuFailed)
    assert "internal error" in error.message


@pytest.mark.parametrize(("no_space", "kind"), [(True, NoSpace), (False, QemuFailed)])
async def test_a_disk_that_the_host_cannot_write_ends_a_wait(vitals: Vitals, no_space: bool, kind: type[QaError]) -> None:
    assert isinstance(await end_of_wait(vitals, lambda: vitals.on_io_error(no_space=no_space)), kind)


async def test_the_first_failure_is_the_one_that_is_told(vitals: Vitals, console: SerialConsole) -> None:
    first = await end_of_wait(vitals, vitals.on_internal_error)
    vitals.on_exit(-9, "")
    console.data_received(PANIC)
    with pytest.raises(QemuFailed) as caught:
        vitals.check()
    assert caught.value is first


async def test_our_own_stop_is_no_failure(vitals: Vitals) -> None:
    vitals.on_stop("crashed")
    vitals.on_exit(-9, "")
    assert vitals.failure is None
    with pytest.raises(MachineOff, match="vm is off: crashed"):
        vitals.check()


async def test_a_deadline_says_what_was_waited_for_how_long_and_what_was_seen(vitals: Vitals, console: SerialConsole) -> None:
    console.data_received(b"Starting nginx...\r\n")
    with pytest.raises(DeadlineExceeded) as caught:
        await vitals.guard(never(), Deadline.after(0.01, 5), "unit nginx")
    assert caught.value.message == "vm: unit nginx did not happen within 50 ms (10 ms x 5 under software emulation)"
    assert caught.value.evidence == {"seen last": "Starting nginx..."}


async def test_a_wait_can_tell_itself_what_it_saw_last(vitals: Vitals) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await vitals.guard(never(), Deadline.after(0.01), "readiness", seen=lambda: "the kernel")
    assert caught.value.evidence == {"seen last": "the kernel"}


async def test_what_was_waited_for_is_cancelled_before_the_wait_returns(vitals: Vitals) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    with pytest.raises(DeadlineExceeded):
        await vitals.guard(slow(), Deadline.after(0.01), "it")
    assert ended == ["cleaned up"]


async def test_a_wait_that_is_cancelled_leaves_nothing(vitals: Vitals) -> None:
    inner = never()
    guarded = asyncio.create_task(vitals.guard(inner, Deadline.after(20), "it"))
    await asyncio.sleep(0)
    guarded.cancel()
    await asyncio.wait({guarded})
    assert inner.cancelled()
    assert vitals._waiters == set()


async def test_a_wait_on_a_machine_that_is_off_does_not_begin(vitals: Vitals) -> None:
    vitals.on_stop("crashed")
    begun: list[int] = []

    async def begin() -> None:
        begun.append(1)

    with pytest.raises(MachineOff):
        await vitals.guard(begin(), Deadline.after(5), "it")
    assert begun == []


async def test_a_guest_that_nobody_waits_for_may_stop_where_it_wants(vitals: Vitals, console: SerialConsole) -> None:
    vitals.await_boot(False)
    console.data_received(b"\r\nUEFI Interactive Shell v2.2\r\n")
    vitals.on_qmp("RESET", {"guest": True})
    console.data_received(b"\r\ngrub> ")
    await asyncio.sleep(0.05)
    vitals.check()
    error = await end_of_wait(vitals, lambda: console.data_received(PANIC))
    assert isinstance(error, GuestPanic)


async def test_who_waits_later_is_told_what_stops_the_boot_from_then_on(vitals: Vitals, console: SerialConsole) -> None:
    vitals.await_boot(False)
    console.data_received(b"\r\ngrub> ")
    vitals.await_boot(True)
    error = await end_of_wait(vitals, lambda: console.data_received(b"\r\nUEFI Interactive Shell v2.2\r\n"))
    assert "UEFI shell" in error.message


async def test_a_reset_begins_a_new_boot_whose_failures_count(vitals: Vitals, console: SerialConsole) -> None:
    vitals.booted()
    vitals.on_qmp("RESET", {"guest": True})
    error = await end_of_wait(vitals, lambda: console.data_received(b"You are in emergency mode."))
    assert isinstance(error, BootFailed)
