"""One call of a tool: who makes it, what it works on, how long it may take, and how the client is kept informed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qa.events import Bus
from qa.mcp.describe import under_way
from qa.mcp.pictures import View
from qa.mcp.tool import Reply
from qa.operations.calls import Caller
from qa.operations.desk import Desk
from qa.operations.jobs import Job, Jobs
from qa.operations.vm import Vm
from qa.screen.frames import Frame

if TYPE_CHECKING:
    from qa.mcp.server import Office

T = TypeVar("T")

LONGEST_WAIT = 45.0
"""Seconds of one call. Many clients give up after 60, and never learn what came of it."""

DEFAULT_WAIT = 30.0

SIGN_OF_LIFE = 4.0
"""Seconds between two reports of progress: some clients give up when they hear nothing for long."""

Tell = Callable[[float, str], Awaitable[None]]
"""Reports progress: seconds since the call began, and a sentence."""


@dataclass
class Looked:
    """What a client saw last of a machine's screen.

    Attributes:
        view: as it was drawn.
        wished: the scale that was asked for; the picture may have been made smaller to fit.
        at: monotonic seconds.
    """

    frame: Frame
    view: View
    wished: float
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Call:
    """A call that is under way."""

    caller: Caller
    office: Office
    tell: Tell
    began: float = field(default_factory=time.monotonic)

    @property
    def desk(self) -> Desk:
        """The machines."""
        return self.office.desk

    @property
    def jobs(self) -> Jobs:
        """The jobs."""
        return self.office.jobs

    @property
    def client(self) -> str:
        """Who has the machines and jobs that are meant."""
        return self.caller.client

    def vm(self, name: str) -> Vm:
        """The machine of that name.

        Raises:
            UsageError: there is none.
        """
        return self.desk.get(name, self.client)

    def job(self, identity: str) -> Job:
        """The job of that id.

        Raises:
            UsageError: there is none.
        """
        return self.jobs.get(identity, self.client)

    def start(
        self,
        what: str,
        work: Callable[[Job], Coroutine[Any, Any, Any]],
        *,
        vm: Vm | None = None,
        output: Path | None = None,
        bus: Bus | None = None,
    ) -> Job:
        """Begin work that may take longer than this call. The machine's lease does not run out meanwhile."""

        async def keep(job: Job) -> Any:
            if vm is None:
                return await work(job)
            with vm.busy():
                return await work(job)

        bus = bus or (vm.bus if vm else None)
        return self.jobs.start(self.client, what, keep, vm=vm.name if vm else "", output=output, bus=bus)

    async def wait(self, job: Job, wait_s: float, *, own: bool = True, cursor: int | None = None) -> bool:
        """Wait for ``job``, but no longer than ``wait_s`` seconds, and report progress; whether it has ended.

        Args:
            own: this call began it: when the client cancels the call, the job ends too.
            cursor: output behind it is enough, where the job has output.
        """
        until = time.monotonic() + min(wait_s, LONGEST_WAIT)
        try:
            while job.running and (left := until - time.monotonic()) > 0:
                step = min(SIGN_OF_LIFE, left)
                if cursor is None or job.output is None:
                    await self.jobs.wait(job, step)
                else:
                    await self.jobs.wait_for_output(job, cursor, step)
                    if job.output.readable > cursor:
                        break
                if job.running and until > time.monotonic():
                    await self.tell(time.monotonic() - self.began, f"{job.what}: {job.said or 'under way'}")
        except asyncio.CancelledError:
            if own:
                await self.jobs.cancel(job)
            raise
        return not job.running

    async def outcome(self, job: Job, wait_s: float, vm: Vm | None = None) -> Reply:
        """What came of ``job``, which this call began; or, where it goes on beyond the call, how to go on waiting for it."""
        if await self.wait(job, wait_s):
            ended: Reply = job.outcome()
            return ended
        return Reply({**({"vm": vm.name} if vm else {}), **under_way(job)})

    async def report_while(self, doing: Awaitable[T], what: str) -> T:
        """Await ``doing``, and give signs of life meanwhile."""
        task = asyncio.ensure_future(doing)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=SIGN_OF_LIFE)
                if not task.done():
                    await self.tell(time.monotonic() - self.began, what)
            return task.result()
        finally:
            task.cancel()

    def looked(self, vm: Vm) -> Looked | None:
        """What the client saw last of the machine's screen."""
        seen = vm.last_frame
        return seen if isinstance(seen, Looked) else None
