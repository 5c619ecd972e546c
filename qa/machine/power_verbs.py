"""Switching on and off."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from qa.deadline import Deadline
from qa.errors import CheckFailed, GuestStalled, MachineOff
from qa.events import ConsoleLine, MachineEnded, MachineStage
from qa.guest.entry import find_way_in
from qa.guest.readiness import READY, Ladder, cloud_init_errors, wait_for_system
from qa.machine.base import WAIT_LIMIT, Duration
from qa.machine.setup import BOOT_LIMIT
from qa.machine.waiting import Waiting

if TYPE_CHECKING:
    from qa.machine.power import PowerCycle

Wait = Annotated[bool, Field(description="false: do not wait until the guest is ready; wait_for_ready does it later.")]

SHUTDOWN_LIMIT = 90.0
"""Seconds for a clean shutdown: systemd gives a stubborn service 90 s by default."""


class Power(Waiting):
    """Verbs of power."""

    _ladder: Ladder | None = None
    _started = 0.0

    async def boot(self, timeout: Duration = BOOT_LIMIT, wait: Wait = True) -> None:
        """Switch the machine on and wait until it is ready. A machine that was shut down boots its own disks again.

        With ``wait: false`` the steps go on at power-on, to see the firmware, the boot loader and the kernel. ``wait_for_ready``
        waits later; until then the guest may stop where it wants, in the UEFI shell or at ``grub>``.
        """
        await self._put_away()
        if self._power is None:
            await self.power_on()
            if not wait:
                self._on().vitals.await_boot(False)
        power = self._on()
        if wait and not power.paused:
            await self.wait_for_ready(timeout)

    async def power_on(self) -> None:
        """Switch on without waiting for anything."""
        from qa.machine.power import PowerCycle  # noqa: PLC0415 -- loads QEMU's monitor

        self.stages, self.ready_s, self.ended, self._channel = {}, None, "", None
        self._started = time.monotonic()
        self._ladder = Ladder(self._console, self._reach, self._tell_line)
        try:
            self._power = await PowerCycle.start(self.setup, self._console, self.bus, disks=self.disks, forwards=self.forwards)
        except BaseException:
            self._ladder.close()
            self.ended = "QEMU did not start"
            raise
        self._tell_forwards()
        self._reach("power-on")

    def _tell_forwards(self) -> None:
        before, self.forwards = self.forwards, dict(self._on().forwards)
        for port in self.setup.forward:
            if before.get(port) == self.forwards[port]:
                continue
            self.bus.notice(f"port {port} of {self.name} is 127.0.0.1:{self.forwards[port]} on this host")

    async def wait_for_ready(self, timeout: Duration = BOOT_LIMIT) -> None:
        """Wait until the guest can be worked with: there is a way in, and its init system has finished booting."""
        power = self._on()
        if self.ready_s is not None:
            return
        power.vitals.await_boot(True)
        await power.vitals.guard(
            self._become_ready(power, self._deadline(timeout)), self._deadline(timeout), "readiness", seen=self._seen
        )

    async def _become_ready(self, power: PowerCycle, deadline: Deadline) -> None:
        if self.setup.channel == "none":
            self._be_ready_as_it_is(power)
            return
        self._channel = await find_way_in(
            self.setup.channel,
            shell=power.shell,
            ssh=self.setup.ssh,
            ssh_port=power.forwards.get(22),
            login=self.setup.login,
            console=self._console,
            vitals=power.vitals,
            factor=self.setup.factor,
            tried=self._tried,
        )
        self.channel_name = self._channel.name
        self._reach(f"{self._channel.name} channel")
        failed = await wait_for_system(self._channel, deadline.remaining)
        if failed:
            self.bus.notice(f"{self.name} is up, but these units failed: {', '.join(failed)}", "warning")
        if self.setup.has_cloud_init_part and (errors := await cloud_init_errors(self._channel, deadline.remaining)):
            raise CheckFailed(
                f"{self.name}: cloud-init could not do what the script asks for", evidence={"cloud-init status": errors}
            )
        self._note_ready(power)

    def _be_ready_as_it_is(self, power: PowerCycle) -> None:
        """Without a way in nothing tells how far the guest is: it may stop where it wants."""
        power.vitals.await_boot(False)
        self._note_ready(power)

    def _note_ready(self, power: PowerCycle) -> None:
        self.ready_s = time.monotonic() - self._started
        self._reach(READY)
        power.vitals.booted()
        if self._ladder:
            self._ladder.close()

    def _seen(self) -> str:
        """What is known about a boot that does not end: the last rung, the ways in that were tried, and the console."""
        rung = list(self.stages)[-1] if self.stages else "nothing"
        ways = "".join(f"\n{way}: {how}" for way, how in self._tried.items())
        return f"last stage reached: {rung}{ways}\nconsole:\n{self.console_tail(12)}"

    def _reach(self, stage: str) -> None:
        elapsed = time.monotonic() - self._started
        self.stages[stage] = round(elapsed, 3)
        self.bus.emit(MachineStage(machine=self.name, stage=stage, elapsed_s=elapsed))

    async def wait_for_shutdown(self, timeout: Duration = WAIT_LIMIT) -> None:
        """Wait until the guest has switched itself off."""
        if self._power is None and self.ended.startswith("guest shut down"):
            return
        power = self._power or self._on()  # one that is off already is what is waited for
        await power.vitals.guard(power.vitals.off(), self._deadline(timeout), "shutdown", off_is_fine=True)
        await self._switch_off("guest shut down")

    def _tell_line(self, text: str) -> None:
        self.bus.emit(ConsoleLine(machine=self.name, text=text))

    async def shutdown(self, timeout: Duration = SHUTDOWN_LIMIT) -> None:
        """Shut the guest down cleanly and wait until it is off. A machine that is off already stays off."""
        await self._put_away()
        if self._power is None:
            return
        power = self._running()
        await self._ask_guest_to("poweroff", power)
        await power.vitals.guard(power.vitals.off(), self._deadline(timeout), "shutdown", off_is_fine=True)
        await self._switch_off("guest shut down")

    async def reboot(self, timeout: Duration = BOOT_LIMIT, wait: Wait = True) -> None:
        """Restart the guest cleanly and wait until it is ready again.

        With ``wait: false`` the steps go on when it was reset, as with ``boot``. A guest that software emulation stalls while it
        comes up is reset once more, with a warning.
        """
        power = self._running()
        deadline = self._deadline(timeout)
        if not wait:
            power.vitals.await_boot(False)
        before = power.vitals.resets
        self._started = time.monotonic()
        self.stages, self.ready_s = {}, None
        self._console.mark()
        await self._ask_guest_to("reboot", power)
        await power.vitals.guard(power.vitals.reset_after(before), deadline, "the reboot")
        await self._was_reset()
        if not wait:
            return
        power.vitals.await_boot(True)
        try:
            await self._come_up(power, deadline)
        except GuestStalled as error:  # a fault of the emulation: the guest did nothing wrong
            self.bus.notice(f"{self.name} is reset and boots once more: {error.message}", "warning")
            power.vitals.forgive()
            self._console.mark()
            await power.monitor.execute("system_reset")
            await self._was_reset()
            await self._come_up(power, self._deadline(timeout))

    async def _was_reset(self) -> None:
        if self._ladder:
            self._ladder.close()
        await self._drop_channel()
        self._ladder = Ladder(self._console, self._reach, self._tell_line)
        self._reach("reset")

    async def _come_up(self, power: PowerCycle, deadline: Deadline) -> None:
        await power.vitals.guard(self._become_ready(power, deadline), deadline, "readiness after the reboot", seen=self._seen)

    def _running(self) -> PowerCycle:
        power = self._on()
        if power.paused:
            raise MachineOff(f"{self.name} is paused", hint="resume it first")
        return power

    async def _put_away(self) -> None:
        """What is left of a machine whose guest has switched itself off."""
        if self._power and self._power.vitals.ended == "guest shut down" and not self._power.vitals.failure:
            await self._switch_off("guest shut down")

    async def _ask_guest_to(self, action: str, power: PowerCycle) -> None:
        """By its own command where there is a way in (it works without an ACPI daemon), else by button or keys."""
        if self._channel is not None:
            command = f"(sleep 0.1; {action}) >/dev/null 2>&1 &"
            await self._channel.run(command, limit=self._deadline(30).remaining)
        elif action == "poweroff":
            await power.monitor.execute("system_powerdown")
        else:
            await power.keyboard.press(("ctrl", "alt", "delete"))

    async def _drop_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def crash(self) -> None:
        """Cut the power: the guest has no chance to write anything. ``boot`` starts it again."""
        if self._power is not None:
            await self._switch_off("crashed")

    async def pause(self) -> None:
        """Stop the machine's processors; its clock stands still."""
        power = self._on()
        await power.monitor.execute("stop")
        power.paused = True

    async def resume(self) -> None:
        """Let a paused machine go on."""
        power = self._on()
        await power.monitor.execute("cont")
        power.paused = False

    async def _switch_off(self, reason: str, *, tell: bool = True) -> None:
        power, self._power = self._power, None
        if power is None:
            return
        if self._ladder:
            self._ladder.close()
        await self._drop_channel()
        await asyncio.shield(power.stop(reason))
        self.ended = power.vitals.ended or reason
        if tell:
            self.bus.emit(MachineEnded(machine=self.name, reason=self.ended))
