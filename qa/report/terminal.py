"""Progress of runs: a live display on a terminal, plain lines elsewhere, so that the log of a CI job shows life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from qa.deadline import format_duration
from qa.errors import QaError
from qa.events import (
    Bus,
    CommandOutput,
    ConsoleLine,
    Event,
    MachineEnded,
    MachineStage,
    Notice,
    Progress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from qa.report.failures import WORDS, print_failures, print_summary, say
from qa.report.folder import ResultsFolder
from qa.report.text import middle, one_line, plain
from qa.scenario.results import RunResult

HEARTBEAT_S = 30.0
"""Silence after which plain output says what is awaited. CI systems kill jobs that are silent for ten minutes; people lose
patience sooner."""

REFRESH_S = 0.25
"""Between two drawings of the live display: seconds that run are seen running, and the terminal's line stays idle."""

PROGRESS_S = 10.0
"""Between two plain lines about the same long task."""

NAME = 48
"""Characters of a run's name before its lines. Names end in what tells the runs of a script apart."""

MARKS = {
    "passed": ("ok", "green"),
    "failed": ("FAILED", "bold red"),
    "error": ("ERROR", "bold red"),
    "timeout": ("TIMEOUT", "bold red"),
    "interrupted": ("STOPPED", "bold yellow"),
    "skipped": ("skipped", "dim"),
}


@dataclass
class _Run:
    """What one run is doing now."""

    name: str
    since: float
    steps: int = 0
    current: dict[str, tuple[str, float]] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    def waits_for(self) -> str:
        """The innermost step, and how far machines have come that are not ready."""
        step = list(self.current.values())[-1][0] if self.current else "its machines"
        stages = ", ".join(f"{machine}: {stage}{self.lines.get(machine, '')}" for machine, stage in self.stages.items())
        return f"{step} ({stages})" if stages else step

    def current_since(self) -> float:
        """When the innermost step began."""
        return list(self.current.values())[-1][1] if self.current else self.since


class TerminalReport:
    """Listens to runs and shows them. Use it as an async context manager around the runs::

        async with TerminalReport(bus, Console(stderr=True), jobs=2) as report:
            await run_all(...)

    Args:
        bus: the bus of the command; events that name no run (stages, notices) are shown as they come.
        console: where progress and failures go: stderr.
        jobs: runs at once; from 2 on each line begins with its run's name.
        verbose: show what commands in the guest print.
        summary: where the last line of each run goes (stdout, unless that belongs to JSON); default: ``console``.
        live: draw a live display; default: when ``console`` is a terminal that can.
        clock: seconds, monotonic.
        runs: how many there will be: the end of each says how many are done.
    """

    def __init__(
        self,
        bus: Bus,
        console: Console,
        jobs: int = 1,
        verbose: bool = False,
        *,
        summary: Console | None = None,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        runs: int = 1,
    ) -> None:
        self._console = console
        self._summary = summary or console
        self._many = jobs > 1
        self._verbose = verbose
        self._clock = clock
        self._planned = runs
        self._is_live = can_draw(console) if live is None else live
        self._live: Live | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._runs: dict[str, _Run] = {}
        self._tasks: dict[str, tuple[Progress, float]] = {}
        self._ended: list[tuple[RunResult, ResultsFolder]] = []
        self._notes: dict[str, str | None] = {}
        self._last_line = clock()
        self._unsubscribe = [bus.subscribe(self.listener())]

    def follow(self, bus: Bus, run: str) -> None:
        """Listen to ``bus`` as well, whose events all belong to ``run``: then stages of parallel runs say whose they are."""
        self._unsubscribe.append(bus.subscribe(self.listener(run)))

    def listener(self, run: str | None = None) -> Callable[[Event], None]:
        """The function that shows events, for those that come over no bus."""

        def listen(event: Event) -> None:
            self._show(event, getattr(event, "run", run))

        return listen

    async def __aenter__(self) -> Self:
        if self._is_live:
            # stdout stays untouched: what is written there may be for a program
            self._live = Live(
                console=self._console,
                get_renderable=self._picture,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()
        if self._ticker:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        if self._live:
            self._live.stop()
        for result, folder in self._ended:
            print_summary(result, self._summary, folder)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            if self._live:
                self._live.refresh()
            else:
                self.heartbeat()

    def heartbeat(self) -> None:
        """Say what is awaited, if nothing was said for long."""
        now = self._clock()
        if now - self._last_line < HEARTBEAT_S:
            return
        for run in self._runs.values():
            waited = format_duration(now - run.current_since())
            self._line(run.name, ("...", "dim"), waited, f"still waiting for {run.waits_for()}")

    def _show(self, event: Event, run: str | None) -> None:
        if run is None and len(self._runs) == 1:
            run = next(iter(self._runs))
        match event:
            case RunStarted():
                self._runs[event.run] = _Run(event.run, self._clock(), event.steps)
                name = "" if self._many else f"{one_line(event.run)}: "
                self._say(event.run, (name, "bold"), f"{_count(event.steps)} -> {event.folder}")
            case RunFinished():
                self._runs.pop(event.run, None)
                self._finish(event)
            case StepStarted() if event.run in self._runs:
                self._runs[event.run].current[event.index] = (one_line(event.name, 120), self._clock())
            case StepFinished():
                self._finish_step(event)
            case MachineStage() | ConsoleLine():
                self._stage(event, run)
            case MachineEnded():
                self._line(run, ("-", "dim"), "", f"{event.machine} is off: {one_line(event.reason)}")
            case Notice():
                self._notice(event, run)
            case Progress():
                self._progress(event, run)
            case CommandOutput() if self._verbose:
                for line in plain(event.text).splitlines():
                    self._say(run, ("        | ", "dim"), line)
            case _:
                pass

    def _notice(self, event: Notice, run: str | None) -> None:
        """Runs of one command share a host: what one was told of it need not be read again for each."""
        if event.level == "info" and event.message in self._notes and self._notes[event.message] != run:
            return
        self._notes[event.message] = run
        word = ("warning: ", "yellow") if event.level == "warning" else ("note: ", "dim")
        self._say(run, word, one_line(event.message, 1000))

    def _finish(self, event: RunFinished) -> None:
        folder = ResultsFolder(Path(event.folder))
        try:
            result = folder.read_result()
        except QaError as error:  # the runner wrote it a moment ago: tell what is known, and why it is not more
            word, style = WORDS[event.outcome]
            self._say(event.run, (word, style), f" {one_line(event.run)}: {one_line(event.reason)} ({error.message})")
            return
        result = result.model_copy(update={"name": event.run})  # of several runs of a script each is called differently
        self._ended.append((result, folder))
        print_failures(result, self._console, folder)
        if self._many or self._planned > 1:
            done = f", {len(self._ended)} of {self._planned}" if self._planned > 1 else ""
            self._line(event.run, MARKS[event.outcome], format_duration(event.duration_s), f"the run has ended{done}")
        self._last_line = self._clock()

    def _finish_step(self, event: StepFinished) -> None:
        if run := self._runs.get(event.run):
            run.current.pop(event.index, None)
            run.stages.clear()
            run.lines.clear()
        branch = f"[{one_line(event.branch, 60)}] " if event.branch else ""
        text = "  " * event.index.count(".") + branch + one_line(event.name, 160)
        if event.detail and event.outcome != "passed":
            text += f": {one_line(event.detail)}"
        duration = "" if event.outcome == "skipped" else format_duration(event.duration_s)
        mark = ("allowed", "yellow") if event.allowed_failure else MARKS[event.outcome]
        self._line(event.run, mark, duration, text)

    def _stage(self, event: MachineStage | ConsoleLine, run: str | None) -> None:
        if isinstance(event, ConsoleLine):
            if run in self._runs:
                self._runs[run].lines[event.machine] = f", console: {one_line(event.text, 80)}"
            return
        detail = f" ({one_line(event.detail)})" if event.detail else ""
        if run in self._runs:
            self._runs[run].stages[event.machine] = event.stage
        self._line(run, ("-", "dim"), format_duration(event.elapsed_s), f"{event.machine}: {one_line(event.stage)}{detail}")

    def _progress(self, event: Progress, run: str | None) -> None:
        ended = event.total is not None and event.done >= event.total
        told = self._tasks.get(event.task)
        if ended:
            self._tasks.pop(event.task, None)
        elif self._live or not told:
            self._tasks[event.task] = (event, self._clock())
        if self._live and not ended:
            return
        if ended or not told or self._clock() - told[1] >= PROGRESS_S:
            self._line(run, ("ok", "green") if ended else ("...", "dim"), "", f"{one_line(event.task)}: {amount(event)}")
            if not ended:
                self._tasks[event.task] = (event, self._clock())

    def _line(self, run: str | None, mark: tuple[str, str], duration: str, text: str) -> None:
        word, style = mark
        self._say(run, (f"{word:<7}", style), (f" {duration:>8}  ", "dim"), text)

    def _say(self, run: str | None, *parts: str | tuple[str, str]) -> None:
        prefix = [(f"{middle(run, NAME)} | ", "cyan")] if self._many and run else []
        say(self._console, *prefix, *parts)
        self._last_line = self._clock()

    def _picture(self) -> Text:
        """The live part, below the lines that stay: what each run does now, and long tasks."""
        now = self._clock()
        lines = [Text(f"  {one_line(task.task, 60)}: {amount(task)}") for task, _ in tuple(self._tasks.values())]
        for run in tuple(self._runs.values()):
            line = Text("  ")
            if self._many:
                line.append(f"{middle(run.name, NAME)} | ", "cyan")
            line.append(f"{_whole(now - run.current_since()):>8}  ", "dim").append(one_line(run.waits_for(), 200))
            lines.append(line)
        for line in lines:
            line.truncate(max(self._console.width - 1, 10), overflow="crop" if self._console.options.ascii_only else "ellipsis")
        return Text("\n").join(lines)


def can_draw(console: Console) -> bool:
    """Whether ``console`` is a terminal on which lines can be drawn over: forced colours in a CI log do not make it one."""
    isatty = getattr(console.file, "isatty", None)
    return bool(isatty and isatty()) and console.is_terminal and not console.is_dumb_terminal


def amount(progress: Progress) -> str:
    """How far a task is: ``45 of 320 MB (14 %)``."""
    unit, scale = {"bytes": ("MB", 1e6), "steps": ("", 1.0), "seconds": ("s", 1.0)}[progress.unit]
    done = f"{progress.done / scale:.0f}"
    if progress.total is None:
        return f"{done} {unit}".rstrip()
    percent = f" ({100 * progress.done / progress.total:.0f} %)" if progress.total else ""
    return " ".join(filter(None, (f"{done} of {progress.total / scale:.0f}", unit))) + percent


def _whole(seconds: float) -> str:
    """Seconds that run: tenths of them would flicker."""
    return f"{int(seconds)} s" if seconds < 60 else format_duration(seconds)


def _count(steps: int) -> str:
    return f"{steps} step{'' if steps == 1 else 's'}"
