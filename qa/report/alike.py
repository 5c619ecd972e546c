"""Failures that are alike: of forty, a person wants to know first how many different ones there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from qa.report.text import one_line, plain, tail
from qa.scenario.results import StepResult

SAID = 200
"""Characters of the last line of a command's output: enough to tell what it complained of."""

READ = 4000
"""Characters of an output's end in which that line is looked for."""

Way = tuple[str, ...]
"""How something failed. What failed for the same reason most likely has the same."""

Thing = TypeVar("Thing")
_NUMBER = re.compile(r"\d+")


def way_of(step: StepResult) -> Way:
    """The needle that was the nearest; or what the command said last, and its exit code; or else the sentence."""
    if step.screen and step.screen.candidates:
        return "needle", step.screen.candidates[0].needle
    if step.command and (last := said(step)):
        return "command", str(step.command.exit_code), without_numbers(last)
    return step.outcome, without_numbers(step.detail)


def without_numbers(text: str) -> str:
    """Times, counts and addresses differ from failure to failure."""
    return _NUMBER.sub("0", text)


def said(step: StepResult) -> str:
    """The last line of what the step's command printed, of its stderr first: what tells one exit code 1 from another.

    Empty where the exit code was 0: then something else was expected, and the step's sentence has it.
    """
    streams = (step.command.stderr, step.command.stdout) if step.command and step.command.exit_code != 0 else ()
    return next((line for text in streams if (line := one_line(tail(plain(text[-READ:]), 1), SAID))), "")


def grouped(things: Iterable[Thing], way: Callable[[Thing], Way]) -> list[list[Thing]]:
    """``things`` in groups of one way each: the largest first, and of equal ones that which came first."""
    groups: dict[Way, list[Thing]] = {}
    for thing in things:
        groups.setdefault(way(thing), []).append(thing)
    return sorted(groups.values(), key=len, reverse=True)


def told_alike(step: StepResult, others: Sequence[StepResult]) -> str:
    """How many of ``others`` failed in the same way as ``step``."""
    if not others:
        return ""
    same = sum(way_of(other) == way_of(step) for other in others)
    in_which = "all in the same way" if same == len(others) else f"{same} of them in the same way" if same else "in other ways"
    return f"{len(others)} more failed, {in_which}" if same else f"{len(others)} more failed {in_which}"
