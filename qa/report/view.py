"""What ``report.html`` shows, worked out before the template sees it: the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from qa.deadline import format_duration
from qa.report.content import (
    BAD,
    FlatStep,
    causes,
    console_lines,
    flatten,
    is_picture,
    last_picture,
    main_cause,
    own_texts,
    pictures,
)
from qa.report.failures import counted, kept_note
from qa.report.folder import ResultsFolder, evidence_title
from qa.report.pictures import Album, Picture, make_album
from qa.report.text import Clip, Line, clip, coloured_lines, one_line, plain, read_clip
from qa.scenario.results import MachineResult, RunResult, StepResult

OUTPUT_HEAD, OUTPUT_TAIL = 8 << 10, 24 << 10
"""Of an output or a text of evidence, what is in the page: a few hundred lines, most of them the last ones."""

CONSOLE_HEAD, CONSOLE_TAIL = 32 << 10, 128 << 10
"""Bytes of a console that are in the page: a whole quiet boot, or the beginning and the end of a talkative one."""

HEADLINE_LINES = 12
CONSOLE_LINES = 25
"""Lines of each output and of the console beside a failure: with the last frame next to them both fit on one screen."""

WORDS = {"interrupted": "stopped", "skipped": "not run"}
ACCELERATORS = {"kvm": "KVM", "tcg": "TCG, software emulation"}
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
    """One row of the steps."""

    index: str
    anchor: str
    depth: int
    name: str
    word: str
    tone: str
    bad: bool
    verb: str
    machine: str
    detail: str
    hint: str
    place: str
    duration: str
    at: str
    attempts: int
    bar: Bar
    command: str
    exit_code: str
    texts: list[Text]
    shots: list[Picture]
    missing: list[str]


@dataclass(frozen=True)
class Stage:
    """One rung of the ladder to readiness."""

    name: str
    at: str
    bar: Bar


@dataclass(frozen=True)
class MachineView:
    """One machine and its console."""

    name: str
    branch: str
    facts: list[tuple[str, str]]
    stages: list[Stage]
    console: Text | None


@dataclass(frozen=True)
class Headline:
    """The first failure: what a person wants to see before anything else."""

    title: str
    anchor: str
    place: str
    detail: str
    hint: str
    kept: str
    command: str
    exit_code: str
    texts: list[Text]
    picture: Picture | None
    picture_title: str


@dataclass(frozen=True)
class Frame:
    """One picture of the strip."""

    picture: Picture
    anchor: str
    label: str
    word: str
    tone: str


@dataclass(frozen=True)
class Page:
    """Everything the template needs."""

    title: str
    word: str
    tone: str
    reason: str
    summary: str
    context: str
    facts: list[tuple[str, str, str]]
    headline: Headline | None
    others: list[StepView]
    frames: list[Frame]
    album_note: str
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
    steps = [_step(folder, result, album, flat) for flat in flats]
    headline = _headline(folder, result, album)
    reason = one_line(result.reason, 1000)
    by_index = {step.index: step for step in steps}
    word, tone = _word(result.outcome, allowed=False)
    return Page(
        title=one_line(result.name, 200),
        word=word,
        tone=tone,
        reason="" if headline and headline.detail in reason else reason,
        summary=f"{counted(result)} in {format_duration(result.duration_s)}",
        context=_context(result),
        facts=_facts(result),
        headline=headline,
        others=[by_index[flat.step.index] for flat in failed],
        frames=list(_frames(result, album, steps)),
        album_note=album.note,
        steps=steps,
        machines=[_machine(folder, machine, result) for machine in result.machines],
        files=_files(folder),
        events=_count_lines(folder.events),
        version=one_line(result.host.anima_qa),
        several_machines=len({machine.name for machine in result.machines}) > 1,
        several_outcomes=0 < sum(step.bad for step in steps) < len(steps),
    )


def _word(outcome: str, *, allowed: bool) -> tuple[str, str]:
    if allowed and outcome in BAD:
        return "allowed", "quiet"
    return WORDS.get(outcome, outcome), TONES.get(outcome, "bad")


def _album(folder: ResultsFolder, result: RunResult, flats: list[FlatStep]) -> Album:
    names = [name for flat in flats for name in pictures(flat.step.evidence)] + pictures(result.evidence)
    important = [name for flat in flats if flat.failed for name in pictures(flat.step.evidence)] + pictures(result.evidence)
    return make_album(folder, names, important)


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


def _step(folder: ResultsFolder, result: RunResult, album: Album, flat: FlatStep) -> StepView:
    step = flat.step
    word, tone = _word(step.outcome, allowed=step.allowed_failure)
    texts = _outputs(step)
    for name in step.evidence:
        if not is_picture(name) and (text := _file_text(folder, name)):
            texts.append(text)
    shots = [album.pictures[name] for name in pictures(step.evidence)]
    missing = [one_line(name) for name in step.evidence if folder.find(name) is None]
    return StepView(
        index=step.index,
        anchor=f"step-{step.index}",
        depth=min(len(flat.parents), 6),
        name=one_line(step.name),
        word=word,
        tone=tone,
        bad=flat.failed,
        verb=one_line(step.verb),
        machine=one_line(step.machine or ""),
        detail=one_line(step.detail, 1000),
        hint=one_line(step.hint, 1000),
        place=one_line(step.place),
        duration="" if step.outcome == "skipped" else format_duration(step.duration_s),
        at=format_duration(step.started_s),
        attempts=step.attempts,
        bar=Bar.of(step.started_s, step.duration_s, result.duration_s),
        command=_command(step),
        exit_code=_exit_code(step),
        texts=texts,
        shots=[shot for shot in shots if folder.find(shot.name)],
        missing=missing,
    )


def _command(step: StepResult) -> str:
    return plain(clip(step.command.command, 4000, 0).text) if step.command else ""


def _exit_code(step: StepResult) -> str:
    if step.command is None:
        return ""
    after = f"after {format_duration(step.command.duration_s)}"
    code = step.command.exit_code
    text = f"ended {after}, before it was done" if code is None else f"exit code {code} {after}"
    return text + (", more output than is kept" if step.command.truncated else "")


def _outputs(step: StepResult) -> list[Text]:
    if step.command is None:
        return []
    streams = (("stderr", step.command.stderr), ("stdout", step.command.stdout))
    return [_text(title, clip(text, OUTPUT_HEAD, OUTPUT_TAIL)) for title, text in streams if text]


def _text(title: str, content: Clip, href: str = "") -> Text:
    return Text(title, list(coloured_lines(content.head)), list(coloured_lines(content.tail)), content.cut, href)


def _file_text(
    folder: ResultsFolder, name: str, head: int = OUTPUT_HEAD, tail: int = OUTPUT_TAIL, title: str = ""
) -> Text | None:
    path = folder.find(name)
    if path is None:
        return None
    try:
        return _text(title or one_line(evidence_title(name)), read_clip(path, head, tail), _href(name))
    except OSError:
        return None


def _href(name: str) -> str:
    return "./" + quote(name)


def _headline(folder: ResultsFolder, result: RunResult, album: Album) -> Headline | None:
    if result.outcome == "passed":
        return None
    step = main_cause(result)
    console = console_lines(folder, result, step, CONSOLE_LINES)
    texts = [Text(text.title, (text.tail or text.head)[-HEADLINE_LINES:]) for text in (_outputs(step) if step else [])]
    for title, content in own_texts(folder, result, step):
        own = _text(one_line(title), content)
        texts.append(Text(own.title, (own.tail or own.head)[-HEADLINE_LINES:]))
    if console:
        texts.append(Text("console, last lines", console))
    name = last_picture(result, step)
    picture = album.pictures.get(name)
    return Headline(
        title=f"Step {step.index}: {one_line(step.name)}" if step else "The run ended outside a step",
        anchor=f"step-{step.index}" if step else "",
        place=one_line(step.place) if step else "",
        detail=one_line((step.detail if step else result.reason) or result.reason or result.outcome, 1000),
        hint=one_line(step.hint if step and step.hint else result.hint, 1000),
        kept=one_line(kept_note(result, folder), 1000),
        command=_command(step) if step else "",
        exit_code=_exit_code(step) if step else "",
        texts=texts,
        picture=picture if picture and picture.full else None,
        picture_title="last frame",
    )


def _frames(result: RunResult, album: Album, steps: Iterable[StepView]) -> Iterable[Frame]:
    for step in steps:
        for shot in step.shots:
            if shot.thumb:
                yield Frame(shot, step.anchor, f"{step.index} {step.name}", step.word, step.tone)
    word, tone = _word(result.outcome, allowed=False)
    for name in pictures(result.evidence):
        if album.pictures[name].thumb:
            yield Frame(album.pictures[name], "top", "at the end", word, tone)


def _machine(folder: ResultsFolder, machine: MachineResult, result: RunResult) -> MachineView:
    ready = "never ready" if machine.ready_s is None else f"after {format_duration(machine.ready_s)}"
    channel = f", over {machine.channel}" if machine.channel and machine.ready_s is not None else ""
    facts = [
        ("Image", machine.image),
        ("Start", machine.start),
        ("Ready", ready + channel),
        ("Memory", f"{machine.memory / (1 << 30):g} GiB" if machine.memory else ""),
        ("Processors", str(machine.cpus or "")),
        ("Ended", machine.ended),
    ]
    stages, last = [], 0.0
    whole = max([*machine.stages.values(), machine.ready_s or 0.0])
    for name, at in machine.stages.items():
        stages.append(Stage(one_line(name), format_duration(at), Bar.of(min(last, at), max(at - last, 0.0), whole)))
        last = at
    return MachineView(
        name=one_line(machine.name),
        branch=one_line(machine.branch),
        facts=[(label, one_line(value)) for label, value in facts if value],
        stages=stages,
        console=_file_text(folder, machine.console, CONSOLE_HEAD, CONSOLE_TAIL, "console") if machine.console else None,
    )


def _files(folder: ResultsFolder) -> list[tuple[str, str, str]]:
    """Name, link and size of the files next to the page."""
    names = sorted(path.name for path in folder.path.iterdir() if path.suffix in (".json", ".jsonl", ".xml", ".log"))
    return [(one_line(name), _href(name), _size((folder.path / name).stat().st_size)) for name in names if folder.find(name)]


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
