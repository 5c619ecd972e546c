"""``anima-qa run --accept``: take a screen that has changed as the new picture of the needle that was not seen on it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qa.errors import QaError, UsageError

if TYPE_CHECKING:
    from qa.scenario.batch import Ended
    from qa.scenario.results import CandidateResult, StepResult


@dataclass(frozen=True)
class Change:
    """A needle that was not seen, and the screen that was.

    Attributes:
        step: what looked for it, for people.
        needle: the JSON file.
        screen: the picture of the screen.
        kept: where the results have a copy of the needle's old picture.
        note: that the screen is black, or that the display is off.
    """

    step: str
    needle: Path
    screen: Path
    kept: Path
    candidate: CandidateResult
    note: str

    @property
    def is_text(self) -> bool:
        """Whether only a text differs, with which no picture is compared."""
        return not any(area.kind == "match" and not area.matched for area in self.candidate.areas)


def check_options(accept: bool, yes: bool) -> None:
    """Refuse what could not be asked.

    Raises:
        UsageError: it could not.
    """
    if yes and not accept:
        raise UsageError("--yes needs --accept", hint="it takes all screens that --accept would ask about")
    if accept and not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "--accept asks, and there is no terminal to ask at", hint="--accept --yes takes all screens without asking"
        )


def offer(ended: Iterable[Ended], *, yes: bool) -> None:
    """Show what would change, and change what the person wants; everything where ``yes`` is set."""
    changes: dict[Path, Change] = {}
    found = [change for one in ended for change in _changes(one)]
    for change in sorted(found, key=lambda change: change.is_text):  # those that a picture helps come first
        if changes.setdefault(change.needle, change) is not change:
            _say(f"{change.step}: {change.needle.stem} was not seen here either; the first of its screens is offered")
    if not changes:
        _say("--accept: no step has looked for a needle in vain")
    accepted = sum(_offer(change, yes=yes) for change in changes.values())
    if accepted:
        _say(f"{accepted} needle{'s' if accepted > 1 else ''} changed; run it again to see whether it passes now")


def _changes(ended: Ended) -> Iterator[Change]:
    root = ended.folder.path
    for step in _not_allowed_to_fail(ended.result.steps):
        failed = step.outcome in {"failed", "timeout"} and step.screen and step.screen.candidates
        if not failed or not step.screen or step.screen.candidates[0].matched:
            continue
        best = step.screen.candidates[0]
        name = f"{ended.result.name}, step {step.index} ({step.name})"
        needle = Path(best.source).with_suffix(".json")
        yield Change(name, needle, root / step.screen.frame, root / best.picture, best, step.screen.note)


def _not_allowed_to_fail(steps: Iterable[StepResult]) -> Iterator[StepResult]:
    """All steps, but for those whose script wants to know only whether they fail."""
    for step in steps:
        if not step.allowed_failure:
            yield step
            yield from _not_allowed_to_fail(step.steps)


def _offer(change: Change, *, yes: bool) -> bool:
    from qa.paths import data_folder
    from qa.screen.needle import read_needle
    from qa.screen.needle_file import write_picture
    from qa.screen.picture import frame_from_picture
    from qa.screen.telling import alike

    _say("")
    _say(f"{change.step}: {change.candidate.needle} was not seen", bold=True)
    for area in change.candidate.areas:
        if area.kind != "exclude":
            mark = "as it was" if area.matched else alike(area)
            read = f", read {area.text!r}" if area.kind == "text" and area.similarity is not None else ""
            _say(f"  area {area.width}x{area.height} at {area.from_x},{area.from_y}: {mark}{read}")
    _say(f"  was: {change.kept}")
    _say(f"  is:  {change.screen}{f' ({change.note})' if change.note else ''}")
    try:
        if change.is_text:
            raise UsageError("only its text differs, which no picture changes", hint=f"change refstr in {change.needle}")
        if change.note and yes:
            raise UsageError(f"the screen is no picture to compare with: {change.note}", hint="without --yes you are asked")
        needle, frame = read_needle(change.needle), frame_from_picture(change.screen)
        if needle.size != (frame.width, frame.height):
            _say(f"  it has {frame.width}x{frame.height} pixels; the needle was made at {needle.size[0]}x{needle.size[1]}")
        if outside := needle.description.outside(change.needle, (frame.width, frame.height)):
            raise UsageError(outside[0].replace("its picture", "the new screen"), hint="make it anew with anima-qa needle new")
        if needle.path.is_relative_to(data_folder("screenshots")) and "_data" in needle.path.parts:
            raise UsageError(f"{needle.path} belongs to the program", hint="copy it to needles/ beside your script")
        if not yes and not click.confirm(f"take the screen as the new {needle.picture.name}?", default=False, err=True):
            return False
        write_picture(needle.picture, frame)
    except QaError as error:
        _say(f"  not changed: {error.message}{f' -> {error.hint}' if error.hint else ''}")
        return False
    _say(f"  changed: {needle.picture}")
    return True


def _say(text: str, *, bold: bool = False) -> None:
    click.secho(text, bold=bold or None, err=True)
