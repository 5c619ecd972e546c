"""A machine that is not there, and scripts to run with it."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qa.deadline import Deadline
from qa.errors import CommandFailed, MachineOff, SnapshotNotFound
from qa.events import Bus, Event
from qa.operations.operation import Catalogue, operation_of
from qa.operations.options import MachineOptions
from qa.report.folder import ResultsFolder
from qa.scenario.machines import Frozen
from qa.scenario.problems import ScriptRejected
from qa.scenario.reader import NOTHING, Given, read_script
from qa.scenario.results import RunResult
from qa.scenario.runner import run_script
from qa.scenario.schema import Duration
from qa.scenario.script import Script
from qa.screen.sight import Sight


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
    """Answers commands out of a table; ``boom`` and ``hang`` do what they say.

    ``memory`` is what a real machine's memory would hold: the commands that were run, in it and in those that it was forked from.
    """

    start = "cold"

    def __init__(
        self, name: str, folder: ResultsFolder, answers: Mapping[str, Any], cellar: Cellar | None = None, label: str = ""
    ) -> None:
        self.name, self._folder, self._answers, self.label = name, folder, answers, label
        self.cellar = Cellar() if cellar is None else cellar
        self.memory: tuple[str, ...] = ()
        self.restore_points: dict[str, tuple[str, ...]] = {}
        self.stages: dict[str, float] = {"firmware": 0.5, "ready": 1.5}
        self.ready_s: float | None = 1.5
        self.ended = ""
        self.channel_name = "shell"
        self.accel = "tcg"
        self.console_log = folder.console_log()
        self.qemu_log = folder.qemu_log()
        self.commands: list[str] = []
        self.console_moments: list[tuple[float, int]] = []

    async def execute(self, command: str, user: str = "root", timeout: Duration = 60.0) -> CommandResult:
        """Run a command; its result is data.

        Args:
            command: what to run.
        """
        self.commands.append(command)
        self.memory += (command,)
        for _ in range(3):  # it prints something at each
            self.console_moments.append((time.monotonic(), len(self.console_moments) + 1))
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

    async def send_key(self, keys: str) -> None:
        """Press a key."""
        self.commands.append(keys)

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

    async def look(self, at: str) -> Sight:
        """Look for something on the screen."""
        answer = self._answers[at]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Sight)
        return answer

    async def copy_to(self, source: Path, target: str) -> None:
        """Copy a file."""
        self.memory += (source.read_text(),)

    async def copy_from(self, source: str, target: Path) -> Path:
        """Copy a file out of the guest."""
        target = self._folder.path / target
        target.write_text(source)
        return target

    async def snapshot(self, name: str) -> None:
        """Make a restore point."""
        self.restore_points[name] = self.memory

    async def restore(self, name: str) -> None:
        """Go back to a restore point."""
        self.memory = self.restore_points[name]

    async def freeze(self, kind: str, *, key: str = "", title: str = "") -> FakeFrozen:
        """Keep the state of now."""
        if self.cellar.error:
            raise self.cellar.error
        return self.cellar.put(
            FakeFrozen(self.cellar, f"{len(self.cellar.states):016x}", kind, key, title, self.name, self.memory, self.ended)
        )


@dataclass
class FakeFrozen:
    """What a machine's memory was."""

    cellar: Cellar
    id: str
    kind: str
    key: str
    title: str
    machine: str
    memory: tuple[str, ...]
    ended: str

    def hold(self) -> FakeFrozen:
        self.cellar.held.append(self.id)
        return self

    def release(self) -> None:
        self.cellar.held.remove(self.id)


@dataclass
class Cellar:
    """Where frozen machines are: ``held`` has the ids of those that nobody let go."""

    states: dict[str, FakeFrozen] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def put(self, state: FakeFrozen) -> FakeFrozen:
        self.states[state.id] = state
        return state.hold()

    def of_kind(self, kind: str) -> list[FakeFrozen]:
        return [state for state in self.states.values() if state.kind == kind]


CATALOGUE = Catalogue(
    [
        operation_of(FakeMachine.succeed, group="commands", bare="command"),
        operation_of(FakeMachine.execute, group="commands", bare="command"),
        operation_of(FakeMachine.wait_for_file, group="waiting", bare="path"),
        operation_of(FakeMachine.wait_for_open_port, group="waiting", bare="port"),
        operation_of(FakeMachine.read_console, group="looking"),
        operation_of(FakeMachine.screenshot, group="looking", bare="name"),
        operation_of(FakeMachine.look, group="looking", bare="at"),
        operation_of(FakeMachine.send_key, group="hands", bare="keys"),
        operation_of(FakeMachine.copy_to, group="files"),
        operation_of(FakeMachine.copy_from, group="files"),
        operation_of(FakeMachine.reboot, group="power"),
        operation_of(FakeMachine.snapshot, group="state", bare="name"),
        operation_of(FakeMachine.restore, group="state", bare="name"),
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
    cellar: Cellar = field(default_factory=Cellar)
    forks: list[FakeMachine] = field(default_factory=list)
    fork_errors: dict[str, BaseException] = field(default_factory=dict)
    fork_close_errors: dict[str, BaseException] = field(default_factory=dict)
    find_error: BaseException | None = None
    open_now: list[FakeMachine] = field(default_factory=list)
    most_open: int = 0
    open_machine: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.open_machine = Opener(self)
        self.bus.subscribe(self.events.append)

    def machine(self, name: str, label: str = "") -> FakeMachine:
        """The machine of that name, or the fork of it for the branch that ``label`` ends with."""
        (found,) = [one for one in self.forks if one.name == name and one.label.endswith(label)]
        return found

    async def run(self, script: Script, **more: Any) -> RunResult:
        return await run_script(script, open_machine=self.open_machine, bus=self.bus, folder=self.folder, **more)


@dataclass
class Opener:
    """How machines of a world are opened."""

    world: World

    @asynccontextmanager
    async def __call__(
        self, name: str, image: str, options: MachineOptions, cloud_init: Mapping[str, Any], /
    ) -> AsyncIterator[FakeMachine]:
        world = self.world
        world.plans[name] = (image, options, cloud_init)
        world.booting.append(name)
        try:
            if name in world.hanging_boots:
                await asyncio.Event().wait()
            if name in world.boot_errors:
                raise world.boot_errors[name]
            world.machines[name] = FakeMachine(name, world.folder, world.answers, world.cellar)
            yield world.machines[name]
            await asyncio.sleep(0)
            if name in world.close_errors:
                raise world.close_errors[name]
        finally:
            world.closed.append(name)

    @asynccontextmanager
    async def fork(self, frozen: Frozen, name: str, *, label: str = "") -> AsyncIterator[FakeMachine]:
        world = self.world
        if error := world.fork_errors.get(label or name):
            raise error
        state = world.cellar.states[frozen.id]
        assert state.id in world.cellar.held
        machine = FakeMachine(name, world.folder, world.answers, world.cellar, label)
        machine.memory, machine.ended, machine.start = state.memory, state.ended, "fork"
        world.forks.append(machine)
        world.open_now.append(machine)
        world.most_open = max(world.most_open, len(world.open_now))
        await asyncio.sleep(0)
        try:
            yield machine
        finally:
            world.open_now.remove(machine)
        if label in world.fork_close_errors:
            raise world.fork_close_errors[label]

    async def find(self, kind: str, key: str) -> Frozen | None:
        if self.world.find_error:
            raise self.world.find_error
        found = [state for state in self.world.cellar.of_kind(kind) if state.key == key]
        return found[-1].hold() if found else None

    async def known(self, kind: str, keys: Collection[str]) -> set[str]:
        if self.world.find_error:
            return set(keys)
        return {state.key for state in self.world.cellar.of_kind(kind)} & set(keys)

    async def get(self, identity: str, /) -> Frozen:
        if identity not in self.world.cellar.states:
            raise SnapshotNotFound(f"there is no {identity}")
        return self.world.cellar.states[identity].hold()
