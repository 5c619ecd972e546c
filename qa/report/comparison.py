"""What was compared on the screen, in words: the same for a page, a terminal and a CI system."""

from __future__ import annotations

from collections.abc import Sequence

from qa.report.text import one_line
from qa.scenario.results import AreaResult, CandidateResult, ScreenResult, StepResult
from qa.screen.telling import alike, lowest, percent, percent_wanted, tile, worst

AREAS = 12
"""Areas of a needle that are told in words: few have more, and the page has all."""


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
    lines += [_line(number, area) for number, area in numbered(best.areas)[:AREAS]]
    lines += [f"and {len(best.areas) - AREAS} other areas"] if len(best.areas) > AREAS else []
    return one_line(screen.note) + "\n" * bool(screen.note) + "\n".join(one_line(line) for line in lines)


def numbered(areas: Sequence[AreaResult]) -> list[tuple[int, AreaResult]]:
    """Areas with their numbers in the needle; an older result has none."""
    return [(area.number or place, area) for place, area in enumerate(areas, 1)]


def _line(number: int, area: AreaResult) -> str:
    place = f"{number}  {area.width}x{area.height} at {area.x},{area.y}"
    if area.similarity is None:
        return f"{place}: {'left out' if area.kind == 'exclude' else 'not read'}"
    read = f", reads {area.text!r}" if area.text else ""
    if area.matched:
        return f"{place}: {percent(area.similarity)} alike, matches{read}"
    in_tile = f"; {tile(area.worst_tile)}" if area.worst_tile else ""
    return f"{place}: {percent(area.similarity)} alike, differs, {percent_wanted(area)} wanted{in_tile}{read}"


def summary_of(candidate: CandidateResult) -> str:
    """``1 of 3 areas differs, the worst is 82.3 % alike``."""
    counting = [area for area in candidate.areas if area.similarity is not None]
    differ = sum(not area.matched for area in counting)
    nearest = worst(counting)
    if nearest is None:
        unread = any(area.kind == "text" for area in candidate.areas)
        return "its text was not read" if unread else "it has no area that is compared"
    told = f"{percent(lowest(nearest))} alike"
    if not differ:
        return f"all {len(counting)} areas match, the worst is {told}" if len(counting) > 1 else f"its area is {told}"
    if len(counting) == 1:
        return f"its area is {alike(nearest)}"
    return f"{differ} of {len(counting)} areas differ{'s' if differ == 1 else ''}, the worst is {told}"
