"""Typed events on one bus: what happens is told once, and log, report and progress only listen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

Outcome = Literal["passed", "failed", "error", "timeout", "interrupted", "skipped"]
"""How a step or a run ended. ``failed``: an expectation; ``error``: guest, QEMU or host."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. ``at`` is wall-clock time in seconds since the epoch."""

    at: float = dataclasses.field(default_factory=time.time)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """A sentence for the person who watches, for example why a slower way was taken."""

    message: str
    level: Literal["info", "warning"] = "info"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Work that takes long. ``total`` is None while it is not known; ``done == total`` ends the task."""

    task: str
    done: float
    total: float | None = None
    unit: Literal["bytes", "steps", "seconds"] = "steps"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineStage(Event):
    """A machine reached a rung of the ladder to readiness. ``elapsed_s`` counts from power-on."""

    machine: str
    stage: str
    elapsed_s: float
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsoleLine(Event):
    """The newest line on a machine's serial console, told now and then while it boots: a sign of life."""

    machine: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineEnded(Event):
    """A machine is off. ``reason`` is, for example, ``guest shut down`` or ``guest panicked``."""

    machine: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class QmpEvent(Event):
    """An event that QEMU sent over its monitor."""

    machine: str
    name: str
    data: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandOutput(Event):
    """A piece of what a command in the guest printed, while it runs."""

    machine: str
    stream: Literal["stdout", "stderr"]
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A script starts. ``run`` is the run's name, unique among those of one command; ``steps`` counts its top-level steps."""

    run: str
    script: str
    steps: int
    folder: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A script has ended and its results folder is complete."""

    run: str
    outcome: Outcome
    reason: str
    duration_s: float
    folder: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A step begins. ``index`` counts from 1; nested steps have dotted ones (``3.1``). ``branch`` is the one it is inside of."""

    run: str
    index: str
    name: str
    verb: str
    machine: str | None
    branch: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """A step has ended. ``detail`` is one sentence, empty where there is nothing to say."""

    run: str
    index: str
    name: str
    verb: str
    machine: str | None
    outcome: Outcome
    duration_s: float
    detail: str = ""
    allowed_failure: bool = False
    branch: str = ""


Listener = Callable[[Event], None]


class Bus:
    """Hands each event to every listener, at once and in the order of subscription.

    A listener must be quick and must not raise; it runs inside whoever tells the event.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add ``listener``; the function returned takes it away again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        """Tell ``event`` to all listeners."""
        for listener in tuple(self._listeners):
            listener(event)

    def notice(self, message: str, level: Literal["info", "warning"] = "info") -> None:
        """Shorthand for the commonest event."""
        self.emit(Notice(message=message, level=level))


def as_record(event: Event) -> dict[str, Any]:
    """The event as plain data for ``events.jsonl``: its fields, and its type's name under ``event``."""
    return {"event": type(event).__name__, **dataclasses.asdict(event)}
