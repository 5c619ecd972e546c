"""Runs several scripts, as many at once as the host has room for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa.errors import UsageError
from qa.events import Bus
from qa.fleet.admission import Admission, Need
from qa.operations.gate import Door
from qa.report.eventlog import EventLog
from qa.report.folder import MAX_NAME, ResultsFolder
from qa.scenario.machines import OpenMachine
from qa.scenario.results import HostResult, RunResult
from qa.scenario.runner import Manner, run_script
from qa.scenario.script import Script
from qa.scenario.stop import Stop
from qa.scenario.verdict import PASSED

MAX_RUNS = 10_000
"""Of one command: each leaves a folder, and the overview of more would help nobody."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        name: unlike that of any other run of the command.
        round: counts the runs of the same script with the same combination, from 1.
    """

    name: str
    result: RunResult
    folder: ResultsFolder
    script: Script
    round: int = 1


OpenFor = Callable[[Script, ResultsFolder, Bus], OpenMachine]
"""How machines are booted for a script, with its results folder and the bus of its run."""


@dataclass(frozen=True)
class _Run:
    script: Script
    round: int
    name: str


async def run_scripts(
    scripts: Sequence[Script],
    *,
    open_for: OpenFor,
    out: Path,
    stop: Stop,
    admission: Admission | None = None,
    needs: Callable[[Script], Need] = lambda script: Need(0, 0),
    rounds: int = 1,
    until_fail: bool = False,
    tcg_factor: float = 1.0,
    describe_host: Callable[[], HostResult] = HostResult,
    follow: Callable[[Bus, str], None] = lambda bus, run: None,
    door: Door | None = None,
    manner: Manner = Manner(),  # noqa: B008  # it never changes
) -> list[Ended]:
    """Run ``scripts``; their results in the same order, those of each round together.

    Runs that had not begun when ``stop`` was wished are left out.

    Args:
        out: each run makes its folder in it.
        admission: says when a run may begin, and when there is room for forks; one run at a time where it is not given.
        needs: what a script's machines take.
        rounds: how often each script is run.
        until_fail: begin no further run once one has not passed.
        follow: told the bus and the name of each run before it begins.
        describe_host: asked at the end of each run what ran its machines.
        door: operations pass it; everything is let through where it is not given.
        manner: how each script is run.

    Raises:
        UsageError: ``out`` is a file, or these are too many runs.
        HostError: ``out`` cannot be written to.
    """
    if len(scripts) * rounds > MAX_RUNS:
        message = f"these would be {len(scripts) * rounds:,} runs, and at most {MAX_RUNS:,} are made by one command"
        raise UsageError(message, hint="repeat it less often, or give it fewer combinations")
    admission = admission or Admission(1)
    enough = False

    async def one(run: _Run) -> Ended | None:
        nonlocal enough
        async with admission.run(needs(run.script)):
            if stop.requested or enough:
                return None
            bus = Bus()
            follow(bus, run.name)
            folder = ResultsFolder.create(out, folder_name(run.name))
            log = EventLog(folder.events)
            bus.subscribe(log)
            try:
                result = await run_script(
                    run.script,
                    open_machine=open_for(run.script, folder, bus),
                    bus=bus,
                    folder=folder,
                    run=run.name,
                    stop=stop,
                    tcg_factor=tcg_factor,
                    describe_host=describe_host,
                    manner=manner,
                    admission=admission,
                    door=door,
                )
            finally:
                log.close()
            enough = enough or (until_fail and result.exit_status != PASSED)
            return Ended(run.name, result, folder, run.script, run.round)

    outcomes = await asyncio.gather(*(one(run) for run in _all_runs(scripts, rounds)), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Ended)]


def _all_runs(scripts: Sequence[Script], rounds: int) -> list[_Run]:
    names = unique_names([script.name for script in scripts])
    return [
        _Run(script, number, f"{name}, round {number}" if rounds > 1 else name)
        for number in range(1, rounds + 1)
        for script, name in zip(scripts, names, strict=True)
    ]


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


def folder_name(name: str) -> str:
    """``name`` so short that its end, which tells the runs of a script apart, is not cut off a folder's name."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 3]} {name[-(MAX_NAME - MAX_NAME // 3 - 1) :]}"
