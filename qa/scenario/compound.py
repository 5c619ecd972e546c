"""Steps that hold others and are more than one after the other: the rounds of a repeat, and branches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from qa.report.folder import MAX_NAME, slug
from qa.scenario import evidence
from qa.scenario.lanes import Forks
from qa.scenario.results import StepResult
from qa.scenario.running import Running
from qa.scenario.script import Group, Lane, Step
from qa.scenario.variables import ROUND
from qa.scenario.verdict import Verdict, judge, worst

if TYPE_CHECKING:
    from qa.scenario.steps import StepRunner

NAMED = 6
"""Branches that failed are named, so many of them: all are told as steps of their own, and forty names are no sentence."""


async def run_rounds(runner: StepRunner, running: Running, group: Group) -> None:
    """Each round is a step of its own in the results."""
    count, start, into = group.rounds or 1, running.start, running.done.steps
    parts = [replace(running.step, name=f"round {number} of {count}") for number in range(1, count + 1)]
    if start:
        runner.skip(parts[: start.number - 1], into, f"{running.index}.", start.why)
    for number in range(len(into) + 1, count + 1):
        inside = _part(running, number, parts[number - 1], {ROUND: str(number)}, into)
        inside.start = start.inside if start and number == start.number else None
        runner.started(inside)
        try:
            verdict = await runner.sequence(group.steps, inside.done.steps, around=inside, start=inside.start)
        except asyncio.CancelledError:
            runner.cut_short(inside)
            raise
        inside.done.blame(verdict)
        runner.finished(inside, verdict.outcome if verdict else "passed")
        if verdict:
            running.done.blame(verdict)
            return
        if start and number == start.number and start.cut:
            runner.skip(parts[number:], into, f"{running.index}.", start.cut)
            return


async def run_branches(runner: StepRunner, running: Running, lanes: Sequence[Lane]) -> None:
    """Each branch is a step of its own in the results, in the order of the script."""
    into: list[list[StepResult]] = [[] for _ in lanes]
    parts = [
        _part(running, number, replace(running.step, name=lane.name), lane.values, into[number - 1])
        for number, lane in enumerate(lanes, 1)
    ]
    verdicts: dict[int, Verdict] = {}

    async def go(number: int, forks: Forks) -> None:
        verdicts.update({number: verdict} if (verdict := await _run_lane(runner, parts[number], lanes[number], forks)) else {})

    why = "the step ended before it began"
    try:
        if start := running.start:
            why = start.cut
            parts[start.number - 1].start = start.inside
            await go(start.number - 1, nullcontext(runner.machines))
        else:
            title = f"before step {running.index} of {runner.keeper.of}"
            await runner.forking.each(runner.machines, [_label(part, running.attempts) for part in parts], go, title=title)
    finally:
        for part in parts:
            if not part.into:
                part.done.detail = why
                runner.finished(part, "skipped")
            running.done.steps += part.into
    if verdicts:
        failed = [lanes[number].name for number in sorted(verdicts)]
        running.done.verdict = replace(worst([verdicts[number] for number in sorted(verdicts)]), error=None)
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        running.done.detail = f"{len(failed)} of {len(lanes)} did not pass: {', '.join(failed[:NAMED])}{more}"


async def _run_lane(runner: StepRunner, part: Running, lane: Lane, forks: Forks) -> Verdict | None:
    """One branch, in ``forks``; its verdict, where it did not pass."""
    part.began = time.monotonic()
    runner.started(part)
    verdict: Verdict | None = None
    try:
        async with forks as machines:
            inside = replace(runner, machines=machines, branch=f"{runner.branch} > {lane.name}".removeprefix(" > "))
            verdict = await inside.sequence(lane.steps, part.done.steps, around=part, start=part.start)
            part.done.blame(verdict)
            if verdict and not part.tolerant:
                await runner.keeper.keep(machines, part.done.steps, verdict)
    except asyncio.CancelledError:
        runner.cut_short(part)
        raise
    except Exception as error:  # no fork came up, or one could not be closed
        if verdict is None:
            part.done.verdict = judge(error, in_step=True)
            verdict = replace(part.done.verdict, reason=f"step {part.index} ({lane.name}): {part.done.verdict.reason}")
            part.done.evidence += await evidence.collect(runner.folder, part.index, None, verdict.evidence)
    runner.finished(part, verdict.outcome if verdict else "passed")
    return verdict


def _part(around: Running, number: int, step: Step, values: Mapping[str, str], into: list[StepResult]) -> Running:
    """A round or a branch of a step, which is reported like a step. It is tried again only as a part of it."""
    step = replace(step, modifiers=step.modifiers.model_copy(update={"retry": None}))
    return Running(step, f"{around.index}.{number}", into, {**around.values, **values}, tolerant=around.tolerates)


def _label(part: Running, attempt: int) -> str:
    """Tells the files of one branch from those of any other in the run; fit for a file name, and never too long for `slug`."""
    again = f"-try-{attempt}" if attempt > 1 else ""
    return slug(slug(f"{part.index}-{part.step.name}")[: MAX_NAME - len(again)]) + again
