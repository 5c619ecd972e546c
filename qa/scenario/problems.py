"""What is wrong with a script, and where: file, line, column, a sentence, a suggestion, and the line with a mark under it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from qa.errors import ScriptError

SHOWN_WIDTH = 160
"""Longer source lines are cut around the mark: a message should fit on a screen."""


@dataclass(frozen=True, order=True)
class Place:
    """Where in which file; lines and columns count from 1. ``length`` is how many characters the mark covers."""

    file: Path
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake. ``source`` is the line it is in, empty where there is none to show."""

    place: Place
    message: str
    hint: str | None = None
    source: str = ""

    def render(self) -> str:
        """The problem as people read it, several lines."""
        lines = [f"{self.place}: {self.message}", *self._excerpt()]
        if self.hint:
            lines.append(f"  -> {self.hint}")
        return "\n".join(lines)

    def _excerpt(self) -> list[str]:
        if not self.source.strip():
            return []
        column, source = self.place.column - 1, self.source.replace("\t", " ")
        if len(source) > SHOWN_WIDTH:
            start = max(0, min(column - SHOWN_WIDTH // 2, len(source) - SHOWN_WIDTH))
            source, column = source[start : start + SHOWN_WIDTH], column - start
        number = f"{self.place.line:>6} | "
        mark = "^" * max(1, min(self.place.length, len(source) - column))
        return [number + source, " " * (len(number) - 2) + "| " + " " * column + mark]

    def as_record(self) -> dict[str, Any]:
        """The problem as plain data."""
        return {
            "file": str(self.place.file),
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "hint": self.hint,
        }


class ScriptRejected(ScriptError):
    """A script has mistakes; ``problems`` has all of them, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda problem: (problem.place, problem.message)))
        first = self.problems[0]
        count = len(self.problems)
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(f"{first.place}: {first.message}{more}", hint=first.hint)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one was meant to be, or None where none is near."""
    return next(iter(get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A suggestion for a mistyped word, or None where nothing is near."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else None
