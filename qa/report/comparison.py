"""What was compared on the screen, in words: the same for a page, a terminal and a CI system."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qa.report.text import one_line
from qa.scenario.results import AreaResult, CandidateResult, ScreenResult, StepResult

AREAS = 12
"""Areas of a needle that are told in words: few have more, and the page has all."""


def told_alike(step: StepResult, others: Sequence[StepResult]) -> str:
    """How many of ``others`` failed in the same way as ``step``: with the same sentence, or the same needle as the nearest."""
    if not others:
        return ""
    same = sum(_way(other) == _way(step) for other in others)
    in_which = "all in the same way" if same == len(others) else f"{same} of them in the same way" if same else "in other ways"
    return f"{len(others)} more failed, {in_which}" if same else f"{len(others)} more failed {in_which}"


def _way(step: StepResult) -> tuple[str, str]:
    if step.screen and step.screen.candidates:
        return "needle", step.screen.candidates[0].needle
    return step.outcome, step.detail


def workaround(step: StepResult) -> str:
    """The known defect that the needle stands for with which ``step`` passed; empty where it is an ordinary one."""
    if step.screen is None or step.outcome != "passed":
        return ""
    match = next((one for one in step.screen.candidates if one.matched), None)
    return "" if match is None or match.workaround is None else match.workaround or "a known defect"


def screen_text(screen: ScreenResult) -> str:
    """The best candidate and its areas, a line each; empty where no needle was compared."""
    if not screen.candidates:
        return screen.note
    best, *others = screen.candidates
    more = f", the best of {len(others) + 1}" if others else ""
    lines = [f"{best.needle}{more}: {summary_of(best)}"]
    lines += [_line(number, area) for number, area in enumerate(best.areas[:AREAS], 1)]
    lines += [f"and {len(best.areas) - AREAS} other areas"] if len(best.areas) > AREAS else []
    return one_line(screen.note) + "\n" * bool(screen.note) + "\n".join(one_line(line) for line in lines)


def _line(number: int, area: AreaResult) -> str:
    place = f"{number}  {area.width}x{area.height} at {area.x},{area.y}"
    if area.kind == "exclude":
        return f"{place}: left out"
    verdict = "matches" if area.matched else f"differs, {percent(area.wanted)} wanted"
    read = f", reads {area.text!r}" if area.text else ""
    return f"{place}: {percent(area.similarity)} alike, {verdict}{read}"


def percent(similarity: float) -> str:
    """``82.3 %``, rounded down: what does not match never looks as if it did."""
    return f"{math.floor(similarity * 1000 + 1e-6) / 10:g} %"


def worst(areas: Sequence[AreaResult]) -> AreaResult | None:
    """The area that lacks most of what is wanted of it."""
    counting = [area for area in areas if area.kind != "exclude"]
    return min(counting, key=lambda area: area.similarity - area.wanted, default=None)


def summary_of(candidate: CandidateResult) -> str:
    """``1 of 3 areas differs, the worst is 82.3 % alike``."""
    counting = [area for area in candidate.areas if area.kind != "exclude"]
    differ = sum(not area.matched for area in counting)
    lowest = worst(candidate.areas)
    if lowest is None:
        return "it has no area that is compared"
    alike = f"{percent(lowest.similarity)} alike"
    if not differ:
        return f"all {len(counting)} areas match, the worst is {alike}" if len(counting) > 1 else f"its area is {alike}"
    if len(counting) == 1:
        return f"its area is {alike}, {percent(lowest.wanted)} wanted"
    return f"{differ} of {len(counting)} areas differ{'s' if differ == 1 else ''}, the worst is {alike}"
