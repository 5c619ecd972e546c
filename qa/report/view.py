"""What ``report.html`` shows, worked out before the template sees it: the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qa.deadline import format_duration
from qa.report.alike import grouped, way_of
from qa.report.content import FlatStep, causes, flatten, main_cause, pictures
from qa.report.failures import counted
from qa.report.film_view import FilmView, make_films
from qa.report.folder import ResultsFolder
from qa.report.good_run import links_to_last_good
from qa.report.headline import Headline, headline_of
from qa.report.machine_view import MachineView, machine_view
from qa.report.moments import make_consoles
from qa.report.pictures import Album, Picture, make_album
from qa.report.step_view import StepView, href_of, step_view, word_of
from qa.report.text import one_line
from qa.scenario.results import RunResult, StepResult

ACCELERATORS = {"kvm": "KVM", "tcg": "TCG, software emulation"}


@dataclass(frozen=True)
class Sheet:
    """A picture that is drawn in several places, and the id under which it stands in the page once."""

    id: str
    picture: Picture


@dataclass(frozen=True)
class Frame:
    """One picture of the strip."""

    picture: Picture
    anchor: str
    label: str
    word: str
    tone: str


@dataclass(frozen=True)
class WayView:
    """Failures of one kind. ``same``: the headline is one of them."""

    steps: list[StepView]
    same: bool


@dataclass(frozen=True)
class Page:
    """Everything the template needs.

    Attributes:
        sheets: by the picture's name.
        causes: how many steps failed by themselves.
        good: by the step's index, where it is told in the report of the last run that passed.
    """

    title: str
    word: str
    tone: str
    reason: str
    summary: str
    context: str
    facts: list[tuple[str, str, str]]
    headline: Headline | None
    others: list[WayView]
    more_failed: int
    frames: list[Frame]
    album_note: str
    sheets: dict[str, Sheet]
    films: list[FilmView]
    causes: int
    good: dict[str, str]
    steps: list[StepView]
    machines: list[MachineView]
    files: list[tuple[str, str, str]]
    events: int
    version: str
    several_machines: bool
    several_outcomes: bool


def make_page(folder: ResultsFolder, result: RunResult) -> Page:
    """The page of ``result``, with pictures and texts read out of ``folder``."""
    flats = list(flatten(result.steps))
    cause = main_cause(result)
    failed = [flat for flat in causes(result) if cause is None or flat.step.index != cause.index]
    album = _album(folder, result, flats)
    words = {flat.step.index: word_of(flat.step.outcome, allowed=flat.step.allowed_failure) for flat in flats}
    consoles = make_consoles(folder, result)
    films = make_films(folder, result, flats, words, consoles)
    steps = [step_view(folder, result, album, flat, films.moments, consoles=consoles) for flat in flats]
    headline = headline_of(folder, result, album, films.moments)
    reason = one_line(result.reason, 1000)
    by_index = {step.index: step for step in steps}
    word, tone = word_of(result.outcome, allowed=False)
    return Page(
        title=one_line(result.name, 200),
        word=word,
        tone=tone,
        reason="" if headline and headline.detail in reason else reason,
        summary=f"{counted(result)} in {format_duration(result.duration_s)}",
        context=_context(result),
        facts=_facts(result),
        headline=headline,
        others=_ways(cause, [flat.step for flat in failed], by_index),
        more_failed=len(failed),
        frames=list(_frames(result, album, steps)),
        album_note=album.note,
        sheets=_sheets(steps),
        films=films.views,
        causes=sum(step.cause for step in steps),
        good=links_to_last_good(folder, result),
        steps=steps,
        machines=[machine_view(folder, machine) for machine in result.machines],
        files=_files(folder),
        events=_count_lines(folder.events),
        version=one_line(result.host.anima_qa),
        several_machines=len({machine.name for machine in result.machines}) > 1,
        several_outcomes=0 < sum(step.bad for step in steps) < len(steps),
    )


def _ways(cause: StepResult | None, failed: list[StepResult], views: Mapping[str, StepView]) -> list[WayView]:
    """The other failures in groups, those like ``cause`` first."""
    first = way_of(cause) if cause else None
    groups = sorted(grouped(failed, way_of), key=lambda group: way_of(group[0]) != first)
    return [WayView([views[step.index] for step in group], way_of(group[0]) == first) for group in groups]


def _album(folder: ResultsFolder, result: RunResult, flats: list[FlatStep]) -> Album:
    names = [name for flat in flats for name in _pictures_of(flat.step)] + pictures(result.evidence)
    important = [name for flat in flats if flat.failed for name in _pictures_of(flat.step)] + pictures(result.evidence)
    return make_album(folder, names, important)


def _pictures_of(step: StepResult) -> list[str]:
    """Most telling first: the frame that was compared, the best needle, screenshots, other needles."""
    if step.screen is None:
        return pictures(step.evidence)
    needles = [one.picture for one in step.screen.candidates if one.picture]
    return [step.screen.frame, *needles[:1], *pictures(step.evidence), *needles[1:]]


def _sheets(steps: Iterable[StepView]) -> dict[str, Sheet]:
    """All pictures that are compared with each other: the same needle may have been looked for forty times."""
    found: dict[str, Sheet] = {}
    for step in steps:
        if step.screen:
            for picture in (step.screen.seen, *(candidate.picture for candidate in step.screen.candidates)):
                if picture.full and picture.name not in found:
                    found[picture.name] = Sheet(f"sheet-{len(found) + 1}", picture)
    return found


def _context(result: RunResult) -> str:
    images = ", ".join(dict.fromkeys(machine.image for machine in result.machines))
    return one_line(" · ".join(filter(None, (images, ACCELERATORS.get(result.host.accel, result.host.accel), _started(result)))))


def _started(result: RunResult) -> str:
    return result.started.replace("T", " ").replace("+00:00", " UTC")


def _facts(result: RunResult) -> list[tuple[str, str, str]]:
    """Label, value and a note below it."""
    host = result.host
    variables = ", ".join(f"{name}={value}" for name, value in result.variables.items())
    facts = [
        ("Accelerator", ACCELERATORS.get(host.accel, host.accel), host.accel_reason),
        ("Host", host.system, ", ".join(filter(None, (f"QEMU {host.qemu}" if host.qemu else "", host.firmware)))),
        ("Script", result.script, variables),
        ("Went on from", result.resumed_from, ""),
        ("Started", _started(result), f"took {format_duration(result.duration_s)}, exit status {result.exit_status}"),
    ]
    return [(label, one_line(value), one_line(note, 500)) for label, value, note in facts if value]


def _frames(result: RunResult, album: Album, steps: Iterable[StepView]) -> Iterable[Frame]:
    for step in steps:
        for shot in ([step.screen.seen] if step.screen else []) + step.shots:
            if shot.thumb:
                word, tone = ("workaround", "soft") if step.soft else (step.word, step.tone)
                yield Frame(shot, step.anchor, f"{step.index} {step.name}", word, tone)
    word, tone = word_of(result.outcome, allowed=False)
    for name in pictures(result.evidence):
        if album.pictures[name].thumb:
            yield Frame(album.pictures[name], "top", "at the end", word, tone)


def _files(folder: ResultsFolder) -> list[tuple[str, str, str]]:
    """Name, link and size of the files next to the page."""
    names = sorted(path.name for path in folder.path.iterdir() if path.suffix in (".json", ".jsonl", ".xml", ".log"))
    return [(one_line(name), href_of(name), _size((folder.path / name).stat().st_size)) for name in names if folder.find(name)]


def _size(size: int) -> str:
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return 0
