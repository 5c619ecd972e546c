"""What a script needs of machines, and how its machines are opened at once and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from qa.errors import MachineError
from qa.operations.options import MachineOptions
from qa.scenario.script import MachinePlan
from qa.snapshots.manifest import Kind

CLOSE_LIMIT_S = 60.0
"""For closing machines, in which QEMU is killed when it does not end by itself: many times what that takes."""
FORCED_CLOSE_LIMIT_S = 10.0
"""After which what hangs in closing is left to ``gc``."""


class Frozen(Protocol):
    """A state of a machine that forks can be made of. It is kept alive until it is released."""

    @property
    def id(self) -> str:
        """Its name in the store."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    def release(self) -> None:
        """Let it go: whether it stays in the store is then the store's to decide."""


class ScriptMachine(Protocol):
    """What the runner itself needs of a machine; operations may need more."""

    name: str
    stages: dict[str, float]

    @property
    def ready_s(self) -> float | None:
        """Seconds from power-on to ready."""

    @property
    def ended(self) -> str:
        """Why it is off; empty while it is on."""

    @property
    def channel_name(self) -> str:
        """The way commands go."""

    @property
    def accel(self) -> str:
        """kvm or tcg."""

    @property
    def console_log(self) -> Path:
        """The raw serial console."""

    @property
    def qemu_log(self) -> Path:
        """What QEMU itself said."""

    async def execute(self, command: str) -> Any:
        """Run a command; its result is data."""

    async def screenshot(self, name: str | None = None) -> Path:
        """Take a picture of the screen."""

    def console_tail(self, lines: int = 40) -> str:
        """The last lines of the serial console."""

    async def freeze(self, kind: Kind, *, key: str = "", title: str = "") -> Frozen:
        """Keep the state of now; the machine goes on afterwards."""


class OpenMachine(Protocol):
    """Opens machines; inside the context a machine is ready, and after it nothing of it is left."""

    def __call__(
        self, name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any], /
    ) -> AbstractAsyncContextManager[Any]:
        """Boot the machine ``name`` from ``image``, with ``options`` and the script's ``cloud_init``."""

    def fork(self, frozen: Frozen, name: str, *, label: str = "") -> AbstractAsyncContextManager[Any]:
        """Continue as the machine ``name`` from ``frozen``. ``label`` goes into the names of its files."""

    async def find(self, kind: Kind, key: str) -> Frozen | None:
        """The newest state that was frozen under ``key``."""

    async def known(self, kind: Kind, keys: Collection[str]) -> Collection[str]:
        """Those of ``keys`` for which `find` may find something."""

    async def get(self, identity: str, /) -> Frozen:
        """The state of that id.

        Raises:
            SnapshotNotFound: there is none.
            SnapshotUnusable: it is damaged, or does not fit this host any more.
        """


@asynccontextmanager
async def booted(
    plans: Sequence[MachinePlan], open_machine: OpenMachine, opened: dict[str, ScriptMachine]
) -> AsyncIterator[None]:
    """All machines of a script, booted at once; see `together`."""
    opening = {plan.name: open_machine(plan.name, plan.image, plan.options, plan.cloud_init) for plan in plans}
    async with together(opening, opened):
        yield


@asynccontextmanager
async def together(
    opening: Mapping[str, AbstractAsyncContextManager[Any]], opened: dict[str, ScriptMachine]
) -> AsyncIterator[None]:
    """Machines that are opened at once, ready; ``opened`` gets each as soon as it is.

    Each is opened and closed by one task of its own. When one does not come up, the others are given up and its error is
    raised; an error from closing is raised when nothing else was.
    """
    end = asyncio.Event()
    ready = {name: asyncio.Event() for name in opening}

    async def keep(name: str) -> None:
        async with opening[name] as machine:
            opened[name] = machine
            ready[name].set()
            await end.wait()

    tasks = {name: asyncio.create_task(keep(name), name=f"machine {name}") for name in opening}
    try:
        await _all_ready(list(ready.values()), list(tasks.values()))
        yield
    finally:
        end.set()
        for name, task in tasks.items():
            if not ready[name].is_set():
                task.cancel()
        await _settle(list(tasks.values()))
        errors = [error for task in tasks.values() if not task.cancelled() and (error := task.exception())]
    if errors:
        raise errors[0]


async def _settle(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Until all tasks have ended. Being cancelled meanwhile does not cut it short: nothing of a machine may be left."""
    loop = asyncio.get_running_loop()
    limits = [CLOSE_LIMIT_S, FORCED_CLOSE_LIMIT_S]
    expires = loop.time() + limits.pop(0)
    pending = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        try:
            _, pending = await asyncio.wait(pending, timeout=max(0.0, expires - loop.time()))
        except asyncio.CancelledError as error:
            cancelled = error
            continue
        if pending and not limits:
            names = ", ".join(sorted(task.get_name() for task in pending))
            raise MachineError(f"{names} could not be closed", hint="anima-qa gc removes what is left behind")
        if pending:
            expires = loop.time() + limits.pop(0)
            for task in pending:
                task.cancel()
    if cancelled:
        raise cancelled


async def _all_ready(ready: Sequence[asyncio.Event], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Until each machine is ready; the first error of a machine that does not come up is raised."""

    async def all_events() -> None:
        for event in ready:
            await event.wait()

    waiting = asyncio.create_task(all_events())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        waiting.cancel()
