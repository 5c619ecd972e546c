"""From a blueprint to a machine that is ready: out of its template, or by booting, which makes the template."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qa.errors import (
    DeadlineExceeded,
    GuestStalled,
    HostError,
    MachineError,
    NoSpace,
    QaError,
    SnapshotError,
    SnapshotNotFound,
    SnapshotUnusable,
)
from qa.events import Bus
from qa.machine import Machine, MachineSetup
from qa.machine.known import read_known, what_changed
from qa.machine.setup import BOOT_LIMIT, Login
from qa.operations.blueprint import Blueprint
from qa.snapshots.cleanup import Item
from qa.snapshots.record import read_record
from qa.snapshots.store import Broken, Entry, Store

if TYPE_CHECKING:
    from qa.operations.boot import Host, Place

SMALL_GUEST_LIMIT = 30.0
"""Seconds, before the factor, for a guest with the shell built in: it takes 7 s under software emulation on an idle host."""


@dataclass
class Starter:
    """Starts one machine. ``work`` is the folder for its files."""

    host: Host
    blueprint: Blueprint
    place: Place
    work: Path
    bus: Bus
    _waited: bool = False
    _told_why: bool = False

    @property
    def _store(self) -> Store:
        return self.host.store

    async def start(self, *, warm: bool) -> Machine:
        """The machine, ready.

        Raises:
            QaError: the guest did not come up.
        """
        if not warm or self.blueprint.options.channel == "none":  # what has no ready state begins at its beginning
            return await self._boot()
        if "file-migration" not in self.blueprint.qemu.features:
            version = self.blueprint.qemu.version_text
            self.bus.notice(f"{self.blueprint.name} boots: QEMU {version} cannot go on from a frozen state, 8.2 and newer can")
            return await self._boot()
        if machine := await self._from_template():
            return machine
        async with AsyncExitStack() as building:
            try:
                await building.enter_async_context(self._store.building(self.blueprint.key, self._tell_waiting))
            except (SnapshotError, NoSpace) as error:  # a machine that boots does not need the store
                self.bus.notice(f"{self.blueprint.name} boots, and is not kept: {error.message}", "warning")
                return await self._boot()
            if self._waited and (machine := await self._from_template()):
                return machine
            if not self._told_why:
                await self._tell_why_it_boots()
            return await self._boot_and_keep()

    async def go_on(self, entry: Entry, how: Literal["warm", "fork"]) -> Machine:
        """The machine, going on from ``entry``.

        Raises:
            SnapshotUnusable: the entry is damaged, does not fit, or QEMU does not take it.
            MachineError, DeadlineExceeded: the guest does not answer.
        """
        record = read_record(entry)
        known = read_known(record) if record.running else None
        machine = Machine(self._setup(_recall_ssh(known.ssh) if known else None), self.bus)
        try:
            await machine.begin_from(entry, how)
        except BaseException:
            await machine.destroy()
            raise
        return machine

    async def _from_template(self) -> Machine | None:
        """The machine from its template; None where there is none that works."""
        try:
            entry = await asyncio.to_thread(self._store.find, "template", self.blueprint.key)
        except SnapshotUnusable as error:
            self._throw_away(error.id, error)
            return None
        except SnapshotError:  # told where a template is to be made
            return None
        if entry is None:
            return None
        try:
            return await self.go_on(entry, "warm")
        except SnapshotNotFound:  # it was removed just now
            return None
        except (SnapshotError, MachineError, DeadlineExceeded) as error:
            self._throw_away(entry.id, error)
            self._clean()
            return None

    def _clean(self) -> None:
        """After a machine that did not go on, before one that boots."""
        self.place.console_log.unlink(missing_ok=True)
        for left in self.work.iterdir():  # above all the firmware's variables
            left.unlink()

    def _throw_away(self, identity: str, error: QaError) -> None:
        self._told_why = True
        gone = self._store.discard(identity)
        what = "is thrown away" if gone else "cannot be used now"
        self.bus.notice(f"the template of {self.blueprint.name} {what}, and it boots: {error.message}", "warning")

    def _tell_waiting(self) -> None:
        self._waited = True
        self.bus.notice(f"{self.blueprint.name} waits: another start boots this machine just now and keeps its ready state")

    async def _tell_why_it_boots(self) -> None:
        """Where there is a template that fitted once. One that cannot be used any more, as its image has changed, goes."""
        with suppress(SnapshotError):
            claims = self._store.survey()
            for entry in reversed(await asyncio.to_thread(self._store.entries)):
                if entry.id not in claims or not self._is_template_of_this(claims[entry.id]):
                    continue
                if isinstance(entry, Broken):
                    self._throw_away(entry.id, entry.error)
                    return
                if changed := self._changed_since(entry):
                    what = " and ".join(changed)
                    self.bus.notice(f"the template of {self.blueprint.name} does not fit any more, so it boots: {what} changed")
                    return

    def _is_template_of_this(self, item: Item) -> bool:
        """Whether it was made for a machine that looks like this one. Files of one name lie in many folders."""
        if (item.kind, item.title) != ("template", self.blueprint.title):
            return False
        image = self.blueprint.image
        return "/" not in image.reference or str(image.path.absolute()) in item.bases

    def _changed_since(self, entry: Entry) -> list[str]:
        """What a template depends on that is not as it was."""
        try:
            then = read_known(read_record(entry)).made_of
        except SnapshotUnusable:
            return ["anima-qa"]
        return what_changed(then, self.blueprint.made_of)

    async def _boot_and_keep(self) -> Machine:
        machine = await self._boot()
        try:
            kept = await machine.freeze("template", key=self.blueprint.key, title=self.blueprint.title)
        except (HostError, MachineError, DeadlineExceeded) as error:  # a machine that lives does not need its template
            try:
                machine.check_alive()
            except BaseException:
                await machine.destroy()
                raise
            self.bus.notice(f"the ready state of {machine.name} cannot be kept for later starts: {error.message}", "warning")
            return machine
        except BaseException:
            await machine.destroy()
            raise
        size = f"{kept.entry.size / (1 << 20):.0f} MB"
        self.bus.notice(f"the ready state of {machine.name} is kept ({size}): later starts take it instead of booting")
        try:
            await machine.share(kept)
        except (HostError, MachineError, DeadlineExceeded) as error:
            await machine.destroy()
            kept.release()
            self._throw_away(kept.id, error)
            self._clean()
            return await self._boot()
        except BaseException:
            await machine.destroy()
            raise
        finally:
            kept.release()
        return machine

    async def _boot(self) -> Machine:
        try:
            return await self._boot_once()
        except GuestStalled as error:  # a fault of the emulation: the guest did nothing wrong
            self.bus.notice(f"{self.blueprint.name} boots once more: {error.message}", "warning")
            self._clean()
            return await self._boot_once()

    async def _boot_once(self) -> Machine:
        ssh = _new_ssh_access(self.blueprint) if self.blueprint.wants_ssh else None
        await self.blueprint.make_disks(self.work, ssh)
        machine = Machine(self._setup(ssh), self.bus)
        try:
            await machine.boot(SMALL_GUEST_LIMIT if self.blueprint.image.shell else BOOT_LIMIT)
        except BaseException:
            await machine.destroy()
            raise
        return machine

    def _setup(self, ssh: Any) -> MachineSetup:
        blueprint, options, config = self.blueprint, self.blueprint.options, self.host.config
        return MachineSetup(
            name=self.place.called or blueprint.name,
            image=blueprint.image,
            qemu=blueprint.qemu,
            firmware=blueprint.firmware,
            accel=blueprint.choice.accel,
            accel_reason=blueprint.choice.reason,
            factor=config.tcg_factor if blueprint.choice.accel == "tcg" else 1.0,
            work=self.work,
            results=self.place.results,
            store=self._store,
            made_of=blueprint.made_of,
            memory=blueprint.memory,
            cpus=options.cpus,
            disks=blueprint.disks(self.work),
            console_log=self.place.console_log,
            qemu_log=self.place.qemu_log,
            network=options.network,
            forward=options.forward,
            smbios_strings=blueprint.strings(ssh),
            channel=options.channel,
            boot_menu=options.boot_menu,
            login=Login(options.login.user, options.login.password) if options.login else None,
            ssh=ssh,
            has_cloud_init_part=bool(blueprint.cloud_init),
            renew_identity=options.identity == "renew",
            bases=blueprint.bases,
            label=self.place.label,
            needles=self.place.needles,
            keyboard=options.keyboard,
            text_language=options.text_language,
            film=self.place.film,
        )


def _new_ssh_access(blueprint: Blueprint) -> Any:
    """Keys of the machine's own. The host key is pinned where the seed hands it to the guest; else the first seen counts."""
    from qa.guest.ssh import SshAccess  # noqa: PLC0415 -- costs 0.2 s, and the built-in guest does not need it

    login = blueprint.options.login
    return SshAccess.generate(login.user if login else "root", with_host_key=blueprint.seeded)


def _recall_ssh(known: dict[str, str] | None) -> Any:
    if known is None:
        return None
    from qa.guest.ssh import SshAccess  # noqa: PLC0415 -- see above

    try:
        return SshAccess.recall(known)
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotUnusable("the frozen machine's SSH keys cannot be read") from error
