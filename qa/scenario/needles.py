"""The needles that a script names: where they are looked for, and whether they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa.errors import PolicyRefused, UsageError
from qa.paths import data_folder
from qa.places import is_folder, place
from qa.scenario.problems import Problem
from qa.scenario.schema import ScriptModel
from qa.scenario.source import KeyPath, Source

if TYPE_CHECKING:
    from qa.screen.library import Library

USUAL_FOLDERS = ("needles", "screenshots")
"""Beside the script."""


def needle_folders(
    source: Source, model: ScriptModel | None, problems: list[Problem], may_read: Callable[[Path], object]
) -> tuple[Path, ...]:
    """The folders that a script says, or the usual ones beside it; and at last the one that comes with the program.

    A folder that the script names and that is not there is a problem.
    """
    here = source.path.absolute().parent
    if model is None or model.needles is None:
        own = [here / name for name in USUAL_FOLDERS]
        for folder in own:
            if folder.is_dir():
                may_read(folder)
    else:
        own = []
        for number, name in enumerate(model.needles):
            try:
                own.append(_folder(here, name, may_read))
            except PolicyRefused:
                raise
            except UsageError as error:
                problems.append(source.problem(("needles", number), error.message, error.hint))
    return (*own, data_folder("screenshots"))


def _folder(here: Path, name: Path, may_read: Callable[[Path], object]) -> Path:
    folder = place(here, name)
    may_read(folder)
    if not is_folder(folder):
        raise UsageError(f"there is no folder {folder}", hint="its path begins at the script")
    return folder


@dataclass(frozen=True)
class NeedleCheck:
    """Whether the needles in some folders are there, for steps that name them."""

    folders: tuple[Path, ...] = ()
    _told: dict[tuple[str, bool], UsageError | None] = field(default_factory=dict)

    @cached_property
    def _library(self) -> Library:
        from qa.screen.library import Library  # noqa: PLC0415 -- most scripts name no needle

        return Library(self.folders)

    def problems(self, source: Source, path: KeyPath, parsed: Any) -> Iterator[Problem]:
        """What is wrong with the needles and tags in the arguments at ``path``, which are ``parsed``."""
        fields = type(parsed).model_fields
        if "needle" not in fields:
            return
        words = [(key, index, word) for key in ("needle", "tag") if key in fields for index, word in _words(getattr(parsed, key))]
        if not words and "tag" in fields:
            yield source.problem(path, "no needle is named", "give the name of a needle, or tag: and a tag", key=True)
        for key, index, word in words:
            if error := self._error(word, by_name=key == "needle"):
                inside = (*path, key) if (*path, key) in source.values else path
                place = (*inside, index) if (*inside, index) in source.values else inside
                yield source.problem(place, error.message, error.hint)

    def _error(self, word: str, *, by_name: bool) -> UsageError | None:
        if (word, by_name) not in self._told:
            try:
                self._library.find([word] if by_name else [], tags=[] if by_name else [word])
                self._told[word, by_name] = None
            except UsageError as error:
                self._told[word, by_name] = error
        return self._told[word, by_name]


def _words(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, str):
        yield 0, value
    elif isinstance(value, list):
        yield from enumerate(value)
