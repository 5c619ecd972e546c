"""What a step saw on the screen, as it stands in the report."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from qa.report.folder import ResultsFolder
from qa.scenario.results import AreaResult, CandidateResult, MarkResult, ScreenResult

if TYPE_CHECKING:
    from qa.screen.sight import Candidate, Sight

KEPT_CANDIDATES = 5
"""Needles in the report of a step: nobody compares the screen with more."""


def is_sight(result: Any) -> TypeGuard[Sight]:
    """Whether ``result`` is a look at the screen (told by its shape: its module need not be loaded for that)."""
    return hasattr(result, "frame") and hasattr(result, "candidates")


def keep_sight(folder: ResultsFolder, index: str, sight: Sight, *, label: str = "") -> ScreenResult:
    """Write the frame and the needles' pictures of step ``index`` into the run's folder.

    Args:
        label: tells steps of one index apart, which run in several branches.

    Raises:
        OSError: the folder cannot be written to.
    """
    stem = "-".join(filter(None, ("step", index, label)))
    frame = folder.shots / f"{stem}-seen.png"
    sight.frame.save_png(frame)
    kept = [one for one in sight.candidates if one.matched][:1] or sight.candidates[:KEPT_CANDIDATES]
    return ScreenResult(
        wanted=sight.wanted,
        frame=folder.relative(frame),
        width=sight.frame.width,
        height=sight.frame.height,
        note=sight.frame.note,
        marks=[MarkResult(**asdict(mark)) for mark in sight.marks],
        candidates=[_candidate(folder, one) for one in kept],
    )


def describe_sight(sight: Sight) -> str:
    """One line: which needle matched, and whether it stands for a known defect."""
    match = sight.match
    if match is None:
        return sight.wanted
    if match.workaround is None:
        return f"needle {match.name}"
    return f"needle {match.name}, a workaround{f' for {match.workaround}' if match.workaround else ''}"


def _candidate(folder: ResultsFolder, candidate: Candidate) -> CandidateResult:
    return CandidateResult(
        needle=candidate.name,
        source=str(candidate.picture),
        picture=_copy(folder, candidate.picture),
        matched=candidate.matched,
        error=candidate.error,
        workaround=candidate.workaround,
        areas=[AreaResult(**asdict(area)) for area in candidate.areas],
    )


def _copy(folder: ResultsFolder, picture: Path) -> str:
    target = folder.path / "needles" / picture.name
    try:
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            shutil.copyfile(picture, target)
    except FileNotFoundError:  # somebody edits needles meanwhile; the comparison itself is known
        return ""
    return folder.relative(target)
