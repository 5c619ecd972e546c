"""A machine that is not there, and scripts to run with it."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa.deadline import Deadline
from qa.errors import CommandFailed, MachineOff
from qa.events import Bus, Event
from qa.operations.operation import Catalogue, operation_of
from qa.operations.options import MachineOptions
from qa.report.folder import ResultsFolder
from qa.scenario.problems import ScriptRejected
from qa.scenario.reader import NOTHING, Given, read_script
from qa.scenario.results import RunResult
from qa.scenario.runner import run_script
from qa.scenario.schema import Duration
from qa.scenario.script import Script


@dataclass(frozen=True)
class CommandResult:
    """The shape of a command's result."""

    command: str
    exit_code: int | None = 0
    stdout: bytes = b""
    stderr: bytes = b""
    duration_s: float = 0.001
    truncated: bool = False


class FakeMachine:
    """Answers commands out of a table; ``boom`` and ``hang`` do what they say."""

    def __init__(self, name: str, folder: ResultsFolder, answers: Mapping[str, Any]) -> None:
        self.name, self._folder, self._answers = name, folder, answers
        self.stages: dict[str, float] = {"firmware": 0.5, "ready": 1.5}
        self.ready_s: float | None = 1.5
        self.ended = ""
        self.channel_name = "shell"
        self.accel = "tcg"
        self.console_log = folder.console_log()
        self.qemu_log = folder.qemu_log()
        self.commands: list[str] = []

    async def execute(self, command: str, user: str = "root", timeout: Duration = 60.0) -> CommandResult:
        """Run a command; its result is data.

        Args:
            command: what to run.
        """
        self.commands.append(command)
        if command == "hang":
            await Deadline.after(timeout).wait_for(asyncio.Event().wait(), "the end of 'hang'")
        answer = self._answers.get(command, CommandResult(command))
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, CommandResult)
        return answer

    async def succeed(self, command: str, timeout: Duration = 60.0) -> CommandResult:
        """Run a command that must end with 0."""
        result = await self.execute(command, timeout=timeout)
        if result.exit_code != 0:
            error = CommandFailed(f"the command ended with {result.exit_code}")
            error.result = result  # type: ignore[attr-defined]
            raise error
        return result

    async def wait_for_file(self, path: str) -> None:
        """Wait for a file that never comes."""
        self.commands.append(f"wait_for_file {path}")
        await asyncio.Event().wait()

    async def wait_for_open_port(self, port: int, timeout: Duration = 30.0) -> None:
        """Wait until a port is open."""
        self.commands.append(f"port {port}")

    async def read_console(self) -> str:
        """What the console shows."""
        return "login:\n"

    async def reboot(self) -> None:
        """Reboot."""
        self.commands.append("reboot")

    async def screenshot(self, name: str | None = None) -> Path:
        """Take a picture."""
        if self.ended:
            raise MachineOff("the machine is off")
        path = self._folder.shots / f"{name or 'shot'}.png"
        path.write_bytes(b"png")
        return path

    def console_tail(self, lines: int = 40) -> str:
        """The console's last lines."""
        return "Welcome\nlogin:"

    async def copy_to(self, source: Path, target: str) -> None:
        """Copy a file."""


CATALOGUE = Catalogue(
    [
        operation_of(FakeMachine.succeed, group="commands", bare="command"),
        operation_of(FakeMachine.execute, group="commands", bare="command"),
        operation_of(FakeMachine.wait_for_file, group="waiting", bare="path"),
        operation_of(FakeMachine.wait_for_open_port, group="waiting", bare="port"),
        operation_of(FakeMachine.read_console, group="looking"),
        operation_of(FakeMachine.screenshot, group="looking", bare="name"),
        operation_of(FakeMachine.copy_to, group="files"),
        operation_of(FakeMachine.reboot, group="power"),
    ]
)


def write(folder: Path, text: str, name: str = "script.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def read(folder: Path, text: str, given: Given = NOTHING) -> Script:
    return read_script(write(folder, text), CATALOGUE, given)


def read_steps(folder: Path, steps: str) -> Script:
    return read(folder, "image: builtin\nsteps:\n" + textwrap.indent(textwrap.dedent(steps).strip("\n"), "  "))


def mistakes(folder: Path, text: str, given: Given = NOTHING) -> list[str]:
    """``line:column message -> hint`` of all that is wrong."""
    try:
        read(folder, text, given)
    except ScriptRejected as error:
        return [
            f"{one.place.line}:{one.place.column} {one.message}" + (f" -> {one.hint}" if one.hint else "")
            for one in error.problems
        ]
    return []


def step_mistakes(folder: Path, steps: str) -> list[str]:
    """As `mistakes`, with the lines of ``steps`` counted from 1."""
    text = "image: builtin\nsteps:\n" + textwrap.indent(textwrap.dedent(steps).strip("\n"), "  ")
    found = []
    for line in mistakes(folder, text):
        number, _, rest = line.partition(":")
        found.append(f"{int(number) - 2}:{rest}")
    return found


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until ``condition`` is true."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


@dataclass
class World:
    """Where fake machines run."""

    folder: ResultsFolder
    answers: dict[str, Any] = field(default_factory=dict)
    boot_errors: dict[str, BaseException] = field(default_factory=dict)
    close_errors: dict[str, BaseException] = field(default_factory=dict)
    hanging_boots: set[str] = field(default_factory=set)
    machines: dict[str, FakeMachine] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    booting: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    plans: dict[str, tuple[str, MachineOptions, Mapping[str, Any]]] = field(default_factory=dict)
    bus: Bus = field(default_factory=Bus)

    def __post_init__(self) -> None:
        self.bus.subscribe(self.events.append)

    @asynccontextmanager
    async def open_machine(
        self, name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any]
    ) -> AsyncIterator[FakeMachine]:
        self.plans[name] = (image, options, cloud_init)
        self.booting.append(name)
        try:
            if name in self.hanging_boots:
                await asyncio.Event().wait()
            if name in self.boot_errors:
                raise self.boot_errors[name]
            self.machines[name] = FakeMachine(name, self.folder, self.answers)
            yield self.machines[name]
            await asyncio.sleep(0)
            if name in self.close_errors:
                raise self.close_errors[name]
        finally:
            self.closed.append(name)

    async def run(self, script: Script, **more: Any) -> RunResult:
        return await run_script(script, open_machine=self.open_machine, bus=self.bus, folder=self.folder, **more)
