"""One step of ``report.html``: what it was, what it gave, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from qa.deadline import format_duration
from qa.report.alike import said
from qa.report.comparison import workaround
from qa.report.content import BAD, FlatStep, is_picture, pictures
from qa.report.folder import ResultsFolder, evidence_title
from qa.report.moments import Consoles, console_at_end
from qa.report.pictures import Album, Picture
from qa.report.screen_view import ScreenView, screen_view
from qa.report.text import Clip, Line, clip, coloured_lines, one_line, plain, read_clip
from qa.scenario.results import RunResult, StepResult

OUTPUT_HEAD, OUTPUT_TAIL = 8 << 10, 24 << 10
"""Of an output or a text of evidence, what is in the page: a few hundred lines, most of them the last ones."""

WORDS = {"interrupted": "stopped", "skipped": "not run"}
TONES = {"passed": "good", "skipped": "quiet", "timeout": "late", "interrupted": "late"}


@dataclass(frozen=True)
class Text:
    """A text, clipped and clean: its lines, and what was cut between ``head`` and ``tail``."""

    title: str
    head: list[Line]
    tail: list[Line] = field(default_factory=list)
    cut: int = 0
    href: str = ""


@dataclass(frozen=True)
class Bar:
    """A stretch of time, in percent of a whole."""

    start: float
    width: float

    @classmethod
    def of(cls, start: float, length: float, whole: float) -> Bar:
        """The bar from ``start`` on; never so short that it cannot be seen, never outside the whole."""
        whole = max(whole, 1e-9)
        width = min(100.0, max(0.6, 100 * length / whole))
        return cls(round(max(0.0, min(100 - width, 100 * start / whole)), 2), round(width, 2))


@dataclass(frozen=True)
class StepView:
    """One row of the steps.

    Attributes:
        bad: it counts as a failure; ``cause``: and it failed by itself.
        soft: the known defect that a needle stands for with which it passed; empty where there is none.
        said: the last line of what its command printed, where it failed.
        film: number of the film that shows its machine, from 1, and ``moment``: its picture when the step ended; 0 for none.
    """

    index: str
    anchor: str
    depth: int
    name: str
    word: str
    tone: str
    bad: bool
    cause: bool
    soft: str
    verb: str
    machine: str
    detail: str
    said: str
    hint: str
    place: str
    duration: str
    at: str
    attempts: int
    bar: Bar
    command: str
    exit_code: str
    texts: list[Text]
    screen: ScreenView | None
    shots: list[Picture]
    missing: list[str]
    film: int
    moment: int


def step_view(
    folder: ResultsFolder,
    result: RunResult,
    album: Album,
    flat: FlatStep,
    moments: Mapping[str, tuple[int, int]],
    *,
    consoles: Consoles,
) -> StepView:
    """The row of ``flat``. ``moments`` has a film and its picture for each step that one shows."""
    step = flat.step
    word, tone = word_of(step.outcome, allowed=step.allowed_failure)
    texts = outputs(step)
    for name in step.evidence:
        if not is_picture(name) and (text := file_text(folder, name)):
            texts.append(text)
    shots = _shots(folder, album, step)
    if (step.screen or shots) and not any("console" in text.title for text in texts):
        lines = console_at_end(consoles, step)
        texts += [Text("console at this moment", lines)] if lines else []
    film, moment = moments.get(step.index, (0, 0))
    return StepView(
        index=step.index,
        anchor=f"step-{step.index}",
        depth=min(len(flat.parents), 6),
        name=one_line(step.name),
        word=word,
        tone=tone,
        bad=flat.failed,
        cause=flat.is_cause,
        soft=one_line(workaround(step)),
        verb=one_line(step.verb),
        machine=one_line(step.machine or ""),
        detail=one_line(step.detail, 1000),
        said=said(step) if step.outcome in BAD else "",
        hint=one_line(step.hint, 1000),
        place=one_line(step.place),
        duration="" if step.outcome == "skipped" else format_duration(step.duration_s),
        at=format_duration(step.started_s),
        attempts=step.attempts,
        bar=Bar.of(step.started_s, step.duration_s, result.duration_s),
        command=command_of(step),
        exit_code=exit_code(step),
        texts=texts,
        screen=screen_view(step.screen, f"screen-{step.index}", album) if step.screen else None,
        shots=shots,
        missing=[one_line(name) for name in step.evidence if folder.find(name) is None],
        film=film,
        moment=moment,
    )


def word_of(outcome: str, *, allowed: bool) -> tuple[str, str]:
    """The word for an outcome, and its tone: the name of a colour."""
    if allowed and outcome in BAD:
        return "allowed", "quiet"
    return WORDS.get(outcome, outcome), TONES.get(outcome, "bad")


def _shots(folder: ResultsFolder, album: Album, step: StepResult) -> list[Picture]:
    """The screenshots; not the one that shows what is compared with the needles anyway."""
    seen = folder.find(step.screen.frame) if step.screen else None
    shots = []
    for name in pictures(step.evidence):
        path = folder.find(name)
        if path and not (seen and path.stat().st_size == seen.stat().st_size and path.read_bytes() == seen.read_bytes()):
            shots.append(album.pictures[name])
    return shots


def command_of(step: StepResult) -> str:
    """The command that the step ran, as plain lines."""
    return plain(clip(step.command.command, 4000, 0).text) if step.command else ""


def exit_code(step: StepResult) -> str:
    """How that command ended, and after what time."""
    if step.command is None:
        return ""
    after = f"after {format_duration(step.command.duration_s)}"
    code = step.command.exit_code
    text = f"ended {after}, before it was done" if code is None else f"exit code {code} {after}"
    return text + (", more output than is kept" if step.command.truncated else "")


def outputs(step: StepResult) -> list[Text]:
    """What that command printed."""
    if step.command is None:
        return []
    streams = (("stderr", step.command.stderr), ("stdout", step.command.stdout))
    return [text_of(title, clip(text, OUTPUT_HEAD, OUTPUT_TAIL)) for title, text in streams if text]


def text_of(title: str, content: Clip, href: str = "") -> Text:
    """``content`` under a title, with its colours."""
    return Text(title, list(coloured_lines(content.head)), list(coloured_lines(content.tail)), content.cut, href)


def file_text(folder: ResultsFolder, name: str, head: int = OUTPUT_HEAD, tail: int = OUTPUT_TAIL, title: str = "") -> Text | None:
    """The text of a file that ``result.json`` calls ``name``; None where it cannot be read."""
    path = folder.find(name)
    if path is None:
        return None
    try:
        return text_of(title or one_line(evidence_title(name)), read_clip(path, head, tail), href_of(name))
    except OSError:
        return None


def href_of(name: str) -> str:
    """A link from the page to a file of the run's folder."""
    return "./" + quote(name)
