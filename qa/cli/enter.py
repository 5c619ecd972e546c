"""Opens a machine as it was when a step failed, for a person to look into."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from qa.cli.progress import shown
from qa.errors import Interrupted

if TYPE_CHECKING:
    from qa.cli.entering import Entering
    from qa.config import Config
    from qa.events import Bus
    from qa.machine import Machine
    from qa.paths import Paths
    from qa.scenario.resume import KeptRun
    from qa.scenario.script import Script


def enter(entering: Entering, kept: KeptRun, script: Script, config: Config, paths: Paths) -> int:
    """Open a fork of the moment in ``kept`` until the person leaves; the exit status.

    Args:
        script: tells what the machine is made of.

    Raises:
        QaError: it does not come up, or dies meanwhile.
        Interrupted: the process was asked to end.
    """
    try:
        asyncio.run(_enter(entering, kept, script, config, paths))
    except asyncio.CancelledError:
        raise Interrupted("interrupted") from None
    return 0


async def _enter(entering: Entering, kept: KeptRun, script: Script, config: Config, paths: Paths) -> None:
    from qa.cli import terminal_session

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with kept_machine(kept, script, kept.machine(entering.on), config, paths) as (machine, bus):
        if entering.shell:
            await terminal_session.shell(machine, bus)
        else:
            await terminal_session.console(machine)


@asynccontextmanager
async def kept_machine(
    kept: KeptRun, script: Script, name: str, config: Config, paths: Paths
) -> AsyncGenerator[tuple[Machine, Bus]]:
    """A fork of the machine ``name`` as ``kept`` has it, and the bus on which it tells what it does; gone when the block ends.

    Args:
        script: tells what the machine is made of.

    Raises:
        QaError: it does not come up.
    """
    from qa.fleet import Owner
    from qa.operations.boot import Host
    from qa.report.folder import ResultsFolder
    from qa.scenario.opening import open_on

    with Owner.register(paths) as owner, shown() as bus, ExitStack() as held:
        folder = ResultsFolder(owner.folder / "results")
        folder.shots.mkdir(parents=True)
        opener = open_on(Host(paths, config, owner))(script, folder, bus)
        state = await opener.get(kept.kept.machines[name])
        held.callback(state.release)
        async with opener.fork(state, name) as machine:
            yield machine, bus
