"""The first failure at the top of ``report.html``: what a person wants to see before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qa.report.alike import told_alike
from qa.report.content import causes, console_lines, last_picture, main_cause, own_texts
from qa.report.failures import kept_command, kept_words
from qa.report.folder import ResultsFolder
from qa.report.pictures import Album, Picture
from qa.report.screen_view import ScreenView, screen_view
from qa.report.step_view import Text, command_of, exit_code, outputs, text_of
from qa.report.text import one_line
from qa.scenario.results import RunResult

HEADLINE_LINES = 12
CONSOLE_LINES = 25
"""Lines of each output and of the console beside a failure: with the last frame next to them both fit on one screen."""


@dataclass(frozen=True)
class Headline:
    """The first failure: what a person wants to see before anything else."""

    index: str
    title: str
    anchor: str
    place: str
    detail: str
    hint: str
    alike: str
    kept: str
    go_on: str
    command: str
    exit_code: str
    texts: list[Text]
    screen: ScreenView | None
    picture: Picture | None
    picture_title: str
    film: int
    moment: int


def headline_of(
    folder: ResultsFolder, result: RunResult, album: Album, moments: Mapping[str, tuple[int, int]]
) -> Headline | None:
    """The headline of a run that did not pass. ``moments`` has a film and its picture for each step that one shows."""
    if result.outcome == "passed":
        return None
    step = main_cause(result)
    console = console_lines(folder, result, step, CONSOLE_LINES)
    texts = [Text(text.title, (text.tail or text.head)[-HEADLINE_LINES:]) for text in (outputs(step) if step else [])]
    for title, content in own_texts(folder, result, step):
        own = text_of(one_line(title), content)
        texts.append(Text(own.title, (own.tail or own.head)[-HEADLINE_LINES:]))
    if console:
        texts.append(Text("console, last lines", console))
    picture = album.get(last_picture(result, step))
    film, moment = moments.get(step.index, (0, 0)) if step else (0, 0)
    return Headline(
        index=step.index if step else "",
        title=f"Step {step.index}: {one_line(step.name)}" if step else "The run ended outside a step",
        anchor=f"step-{step.index}" if step else "",
        place=one_line(step.place) if step else "",
        detail=one_line((step.detail if step else result.reason) or result.reason or result.outcome, 1000),
        alike=told_alike(step, [flat.step for flat in causes(result) if flat.step.index != step.index]) if step else "",
        hint=one_line(step.hint if step and step.hint else result.hint, 1000),
        kept=kept_words(result),
        go_on=one_line(kept_command(folder), 1000) if result.kept else "",
        command=command_of(step) if step else "",
        exit_code=exit_code(step) if step else "",
        texts=texts,
        screen=screen_view(step.screen, "screen-first", album) if step and step.screen else None,
        picture=picture if picture.full and not (step and step.screen) else None,
        picture_title="last frame",
        film=film,
        moment=moment,
    )
