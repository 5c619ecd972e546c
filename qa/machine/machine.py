"""The machine with its whole vocabulary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from qa.errors import UsageError
from qa.events import Bus
from qa.machine.filming import Filming
from qa.machine.freezing import Freezing
from qa.machine.pointing import Pointing
from qa.machine.setup import MachineSetup
from qa.machine.stillness import Stillness


class Machine(Freezing, Stillness, Filming, Pointing):
    """A virtual machine to be tested. Its public methods are the verbs of scripts."""

    def __init__(self, setup: MachineSetup, bus: Bus) -> None:
        super().__init__(setup, bus)
        self._forks: list[Machine] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, setup: MachineSetup, bus: Bus) -> AsyncGenerator[Machine]:
        """A machine that is off, and that is off again and gone when the block ends, however it ends."""
        machine = cls(setup, bus)
        try:
            yield machine
        finally:
            await machine.destroy()

    async def fork(self, count: int = 1) -> list[Machine]:
        """Machines that go on from this moment, each on its own; this one goes on too. They live as long as it does.

        Each has its own memory, disks, firmware variables, network, forwards and logs. They are called as this one is, with a
        number: ``web-fork1``. On a machine of which ``identity: renew`` is asked, guests get names and keys of their own.

        Raises:
            UsageError: less than one is asked for.
            SnapshotError, NoSpace: the store cannot keep this moment.
            MachineError: the guest or QEMU failed; those forks that had begun are gone again.
        """
        if count < 1:
            raise UsageError(f"{count} forks cannot be made", hint="ask for 1 or more")
        kept = await self.freeze("snapshot", title=f"fork of {self.name}")
        first = len(self._forks) + 1
        forks = [Machine(self._fork_setup(number), self.bus) for number in range(first, first + count)]
        self._forks += forks
        try:
            async with asyncio.TaskGroup() as starting:
                for fork in forks:
                    starting.create_task(fork.begin_from(kept.entry, "fork"))
        except BaseException as error:
            for fork in forks:
                await asyncio.shield(fork.destroy())
            raise error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error from None
        finally:
            kept.release()
        return forks

    def _fork_setup(self, number: int) -> MachineSetup:
        """That of this machine under another name, with files of its own beside this one's."""
        setup, tag = self.setup, f"fork{number}"
        work = setup.work / tag
        work.mkdir()

        def beside(log: Path) -> Path:
            return log.with_name(f"{log.stem}-{tag}{log.suffix}")

        return replace(
            setup,
            name=f"{self.name}-{tag}",
            work=work,
            console_log=beside(setup.console_log),
            qemu_log=beside(setup.qemu_log),
            film=None,
        )

    @property
    def _busy(self) -> bool:
        return self._changing.locked()

    async def end(self) -> None:
        """Switch off for good; its files are still there."""
        await self._switch_off("destroyed")

    async def destroy(self) -> None:
        """Switch off, with all forks; let go of frozen states, close the logs. A log that could not be written whole is told."""
        forks, self._forks = self._forks, []
        for fork in forks:
            await fork.destroy()
        await self._stop_filming()
        await self.end()
        await self._let_go()
        if error := self._console.error:
            self.bus.notice(f"the console log of {self.name} is not complete: {error.strerror}", "warning")
        self._console.close()
