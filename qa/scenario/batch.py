"""Runs several scripts, some of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa.events import Bus
from qa.report.eventlog import EventLog
from qa.report.folder import ResultsFolder
from qa.scenario.machines import OpenMachine
from qa.scenario.results import HostResult, RunResult
from qa.scenario.runner import run_script
from qa.scenario.script import Script
from qa.scenario.stop import Stop


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    result: RunResult
    folder: ResultsFolder


OpenFor = Callable[[Script, ResultsFolder, Bus], OpenMachine]
"""How machines are booted for a script, with its results folder and the bus of its run."""


async def run_scripts(
    scripts: Sequence[Script],
    *,
    open_for: OpenFor,
    out: Path,
    stop: Stop,
    jobs: int = 1,
    tcg_factor: float = 1.0,
    describe_host: Callable[[], HostResult] = HostResult,
    follow: Callable[[Bus, str], None] = lambda bus, run: None,
) -> list[Ended]:
    """Run ``scripts``, ``jobs`` of them at once; their results in the same order.

    Scripts that had not begun when ``stop`` was wished are left out.

    Args:
        out: each run makes its folder in it.
        follow: told the bus and the name of each run before it begins.
        describe_host: asked at the end of each run what ran its machines.

    Raises:
        UsageError: ``out`` is a file.
        HostError: ``out`` cannot be written to.
    """
    free = asyncio.Semaphore(jobs)
    names = unique_names([script.name for script in scripts])

    async def one(script: Script, name: str) -> Ended | None:
        async with free:
            if stop.requested:
                return None
            bus = Bus()
            follow(bus, name)
            folder = ResultsFolder.create(out, name)
            log = EventLog(folder.events)
            bus.subscribe(log)
            try:
                result = await run_script(
                    script,
                    open_machine=open_for(script, folder, bus),
                    bus=bus,
                    folder=folder,
                    run=name,
                    stop=stop,
                    tcg_factor=tcg_factor,
                    describe_host=describe_host,
                )
            finally:
                log.close()
            return Ended(result, folder)

    outcomes = await asyncio.gather(*(one(*pair) for pair in zip(scripts, names, strict=True)), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Ended)]


def unique_names(names: Sequence[str]) -> list[str]:
    """``names`` with numbers behind those that were there before: ``hello``, ``hello (2)``."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique:
            number += 1
            candidate = f"{name} ({number})"
        unique.append(candidate)
    return unique
