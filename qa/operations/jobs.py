"""Work that takes longer than a call may: it gets a handle, and is picked up later."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from qa.errors import LimitReached, QaError, UsageError
from qa.events import Bus, Event, Progress
from qa.operations.output import Output, Piece

__all__ = ["Job", "Jobs", "Output", "Piece", "describe_error"]

State = Literal["running", "done", "failed", "cancelled"]

MOST_RUNNING = 64
"""Jobs of a client that run at once: several for each machine that it may have, and a bound on what runs away."""

KEPT = 100
"""Jobs of a client that have ended, of which somebody may still want to know. The oldest go."""


@dataclass(eq=False)
class Job:
    """Work that goes on by itself.

    Attributes:
        id: short, and never used again.
        what: in a few words: ``boot vm1``.
        vm: the machine that it is about; empty where it is about none.
        output: what it prints; None where it prints nothing.
        said: the newest sign of life, in words.
        done, total: how far it is, where that is known.
        collected: somebody was given its result.
        stopping: it was asked to end.
    """

    id: str
    client: str
    what: str
    vm: str = ""
    output: Output | None = None
    state: State = "running"
    result: Any = None
    error: BaseException | None = None
    said: str = ""
    done: float = 0.0
    total: float | None = None
    collected: bool = False
    stopping: bool = False
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.monotonic)
    _ended: float | None = None
    task: asyncio.Task[Any] | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds that it took, or has taken so far."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.state == "running"

    def stop(self) -> None:
        """Have it end as soon as it has cleaned up. Asking once more does not cut that short."""
        if self.task is not None and self.running and not self.stopping:
            self.stopping = True
            self.task.cancel()

    def end(self, task: asyncio.Task[Any]) -> None:
        """Take what became of it. Whoever picks it up is told, also of defects."""
        self._ended = time.monotonic()
        if task.cancelled():
            self.state = "cancelled"
        elif error := task.exception():
            self.error, self.state = error, "failed"
        else:
            self.result, self.state = task.result(), "done"
        if self.output:
            self.output.close()

    def listen(self, event: Event) -> None:
        """A listener for buses: progress, and other signs of life."""
        if isinstance(event, Progress):
            self.done, self.total, self.said = event.done, event.total, event.task
        elif said := _words(event):
            self.said = said

    def outcome(self) -> Any:
        """Its result.

        Raises:
            UsageError: it has none yet, or was cancelled.
            QaError: what ended it.
        """
        self.collected = self.collected or not self.running
        if self.running:
            raise UsageError(f"{self.id} ({self.what}) is still running", hint="wait for it")
        if self.state == "cancelled":
            raise UsageError(f"{self.id} ({self.what}) was cancelled", hint="start it again")
        if self.error is not None:
            raise self.error
        return self.result


class Jobs:
    """The jobs of a server. A context: at its end all are cancelled."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._count = 0

    async def __aenter__(self) -> Jobs:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cancel_all(list(self._jobs.values()))

    def start(
        self,
        client: str,
        what: str,
        work: Callable[[Job], Coroutine[Any, Any, Any]],
        *,
        vm: str = "",
        output: Path | None = None,
        bus: Bus | None = None,
    ) -> Job:
        """Begin ``work``, which is given its job. It goes on when the caller is cancelled.

        Args:
            output: the folder for the file of what it prints (see `Job.output`); None where it prints nothing.
            bus: its events are signs of life.

        Raises:
            LimitReached: the client has too many that run.
        """
        self.check_room(client)
        self._count += 1
        job = Job(f"job{self._count}", client, what, vm)
        if output is not None:
            job.output = Output(output / f"{job.id}.log")
        unsubscribe = bus.subscribe(job.listen) if bus else None

        def ended(task: asyncio.Task[Any]) -> None:
            job.end(task)
            if unsubscribe:
                unsubscribe()

        job.task = asyncio.create_task(work(job), name=f"{job.id} {what}")
        job.task.add_done_callback(ended)
        self._jobs[job.id] = job
        self._forget(client)
        return job

    def check_room(self, client: str) -> None:
        """See whether the client may begin another one.

        Raises:
            LimitReached: it has too many that run.
        """
        running = [job.id for job in self.of(client) if job.running]
        if len(running) >= MOST_RUNNING:
            hint = f"wait for one with vm_wait, or cancel it; the oldest is {running[0]}"
            raise LimitReached(f"{len(running)} jobs are running, and no more are begun at once", hint=hint)

    def get(self, identity: str, client: str) -> Job:
        """The job of that id.

        Raises:
            UsageError: the client has none of that id.
        """
        job = self._jobs.get(identity)
        if job is None or job.client != client:
            mine = ", ".join(one.id for one in self.of(client) if one.running) or "none"
            raise UsageError(f"there is no job {identity!r}", hint=f"running jobs: {mine}")
        return job

    def of(self, client: str) -> list[Job]:
        """Those of a client, the oldest first."""
        return [job for job in self._jobs.values() if job.client == client]

    async def wait(self, job: Job, wait_s: float) -> bool:
        """Wait until it has ended, but no longer than ``wait_s`` seconds; whether it has. Being cancelled does not end it."""
        assert job.task is not None
        await asyncio.wait({job.task}, timeout=wait_s)
        return not job.running

    async def wait_for_output(self, job: Job, cursor: int, wait_s: float) -> None:
        """Wait until it has printed something behind ``cursor`` or has ended, but no longer than ``wait_s`` seconds."""
        assert job.output is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await job.output.news(cursor)

    async def cancel(self, job: Job) -> None:
        """End it, and wait until it has cleaned up. One that has ended stays as it is."""
        await self._cancel_all([job])

    async def leave(self, client: str, *, vm: str | None = None) -> None:
        """End all jobs of a client, which has gone, and forget them; or end those about one machine."""
        jobs = [job for job in self.of(client) if vm is None or job.vm == vm]
        await self._cancel_all(jobs)
        if vm is None:
            for job in jobs:
                self._jobs.pop(job.id, None)

    async def _cancel_all(self, jobs: list[Job]) -> None:
        others = [job for job in jobs if job.running and job.task is not asyncio.current_task()]
        for job in others:
            job.stop()
        if tasks := {job.task for job in others if job.task is not None}:
            await asyncio.wait(tasks)

    def _forget(self, client: str) -> None:
        ended = [job for job in self.of(client) if not job.running]
        for job in ended[: max(0, len(ended) - KEPT)]:
            del self._jobs[job.id]


def _words(event: Event) -> str:
    """A sign of life in words; empty where it is none."""
    for name in ("stage", "message", "text"):
        if value := getattr(event, name, ""):
            lines = [line for line in str(value).splitlines() if line.strip()]
            return lines[-1].strip()[:200] if lines else ""
    return ""


def describe_error(error: BaseException) -> str:
    """What went wrong, with the next step, in one paragraph."""
    if isinstance(error, QaError):
        return f"{error.message}{f' ({error.hint})' if error.hint else ''}"
    return f"{type(error).__name__}: {error}"
