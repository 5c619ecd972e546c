"""What a step saw on the screen, as ``report.html`` shows it: the frame, the needles over it, and their areas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from qa.report.comparison import numbered, summary_of
from qa.report.pictures import Album, Picture
from qa.report.text import one_line
from qa.scenario.results import AreaResult, CandidateResult, ScreenResult
from qa.screen.telling import lowest, percent, percent_wanted, tile, worst

AROUND = 12
"""Pixels around an area that its close-up shows as well: what moved is then seen to have moved."""


@dataclass(frozen=True)
class BoxView:
    """A rectangle on the stage, in pixels of the frame. ``tone``: good, bad, or quiet for what does not count."""

    x: int
    y: int
    width: int
    height: int
    label: str
    tone: str


@dataclass(frozen=True)
class AreaView:
    """An area of a needle.

    Attributes:
        close: viewBox of the close-up in the frame; empty where the area matches.
        expected: viewBox of the same place in the needle's picture.
    """

    box: BoxView
    number: int
    kind: str
    percent: str
    wanted: str
    tile: str
    word: str
    place: str
    moved: str
    text: str
    close: str = ""
    expected: str = ""
    tile_box: BoxView | None = None


@dataclass(frozen=True)
class CandidateView:
    """A needle over the frame.

    Attributes:
        alike: the similarity of its worst area.
        dx, dy: where its picture's top left corner comes to lie.
        start: how much of it is shown at first, in percent from the left: up to the middle of what differs most.
    """

    name: str
    word: str
    tone: str
    alike: str
    summary: str
    workaround: str
    picture: Picture
    dx: int
    dy: int
    start: int
    areas: list[AreaView]

    @property
    def boxes(self) -> list[BoxView]:
        """What is drawn over the frame."""
        return [*(one.box for one in self.areas), *(one.tile_box for one in self.areas if one.tile_box)]


@dataclass(frozen=True)
class ScreenView:
    """A frame and what was looked for in it. ``candidates`` come best first."""

    anchor: str
    wanted: str
    note: str
    width: int
    height: int
    seen: Picture
    candidates: list[CandidateView]
    marks: list[BoxView]

    @property
    def letter(self) -> float:
        """Size of the boxes' labels, in pixels of the frame: readable where the frame is shown at half its size."""
        return round(max(self.width / 52, 9), 1)


def screen_view(screen: ScreenResult, anchor: str, album: Album) -> ScreenView:
    """The view of ``screen``, with the pictures that ``album`` has."""
    return ScreenView(
        anchor=anchor,
        wanted=one_line(screen.wanted),
        note=one_line(screen.note),
        width=max(screen.width, 1),
        height=max(screen.height, 1),
        seen=album.get(screen.frame),
        candidates=[_candidate(one, album, screen.width) for one in screen.candidates],
        marks=[BoxView(one.x, one.y, one.width, one.height, one_line(one.label, 60), "late") for one in screen.marks],
    )


def _candidate(candidate: CandidateResult, album: Album, width: int) -> CandidateView:
    shift = _shift(candidate)
    nearest = worst(candidate.areas)
    soft = candidate.workaround is not None
    word, tone = ("matches", "good") if candidate.matched else ("differs", "bad")
    return CandidateView(
        name=one_line(candidate.needle, 120),
        word="matches, a workaround" if soft and candidate.matched else word,
        tone="late" if soft and candidate.matched else tone,
        alike=percent(lowest(nearest)) if nearest else "",
        summary=summary_of(candidate),
        workaround=one_line(candidate.workaround or "no reason is given", 300) if soft else "",
        picture=album.get(candidate.picture),
        dx=shift[0],
        dy=shift[1],
        start=_start(nearest, shift, width),
        areas=sorted((_area(number, area, shift) for number, area in numbered(candidate.areas)), key=lambda one: not one.close),
    )


def _shift(candidate: CandidateResult) -> tuple[int, int]:
    """By how much the needle's picture has moved on the screen: as most of what matches has."""
    shifts = Counter(
        (area.x - area.from_x, area.y - area.from_y) for area in candidate.areas if _is_compared(area) and area.matched
    )
    return shifts.most_common(1)[0][0] if shifts else (0, 0)


def _is_compared(area: AreaResult) -> bool:
    return area.similarity is not None


def _start(nearest: AreaResult | None, shift: tuple[int, int], width: int) -> int:
    if nearest is None or nearest.matched:
        return 50
    return max(0, min(100, round(100 * (nearest.from_x + shift[0] + nearest.width / 2) / max(width, 1))))


def _area(number: int, area: AreaResult, shift: tuple[int, int]) -> AreaView:
    """An area where it was found; one that differs where it should have been: what is like it by chance is elsewhere."""
    compared = _is_compared(area)
    differs = compared and not area.matched
    word, tone = ("differs", "bad") if differs else ("matches", "good")
    if not compared:
        word, tone = ("left out" if area.kind == "exclude" else "not read"), "quiet"
    alike = "" if area.similarity is None else percent(area.similarity)
    x, y = (area.from_x + shift[0], area.from_y + shift[1]) if differs else (area.x, area.y)
    return AreaView(
        box=BoxView(x, y, area.width, area.height, f"{number}: {alike or word}", tone),
        number=number,
        kind={"match": "", "exclude": "", "text": "text"}[area.kind],
        percent=alike,
        wanted=percent_wanted(area) if compared else "",
        word=word,
        place=f"{area.width}x{area.height} at {x},{y}",
        tile=tile(area.worst_tile) if differs and area.worst_tile else "",
        moved=_moved(area, x, y) if compared else "",
        text=one_line(area.text, 200),
        close=_view_box(x, y, area) if differs else "",
        expected=_view_box(area.from_x, area.from_y, area) if differs else "",
        tile_box=_tile_box(area, x, y) if differs else None,
    )


def _tile_box(area: AreaResult, x: int, y: int) -> BoxView | None:
    """The worst tile of an area that is shown at ``x``, ``y``; None where it is not what differs."""
    tile = area.worst_tile
    if tile is None or tile.similarity >= tile.wanted:
        return None
    return BoxView(tile.x - area.x + x, tile.y - area.y + y, tile.width, tile.height, percent(tile.similarity), "bad")


def _moved(area: AreaResult, x: int, y: int) -> str:
    parts = [f"moved by {x - area.from_x},{y - area.from_y}".replace("-", "−")] if (x, y) != (area.from_x, area.from_y) else []
    parts += [f"most alike at {area.x},{area.y}"] if (x, y) != (area.x, area.y) else []
    return ", ".join(parts)


def _view_box(x: int, y: int, area: AreaResult) -> str:
    return f"{x - AROUND} {y - AROUND} {area.width + 2 * AROUND} {area.height + 2 * AROUND}"
