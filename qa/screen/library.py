"""The needles in some folders, by name and by tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from qa.errors import UsageError
from qa.screen.needle import Needle, NeedleError, read_needle

_Stamp = tuple[int, int, int, int]
_SHOWN = 12
"""Names in a hint: more are not read."""


class NeedleUnknown(UsageError):
    """There is no needle of that name or tag."""


@dataclass
class Library:
    """Needles by name or tag. Of two with the same name the one in the nearest folder counts.

    Files are read when they are first needed and again when they have changed.

    Attributes:
        folders: searched with all folders inside, the nearest first. Those that are not there have no needles.
    """

    folders: Sequence[Path]
    _read: dict[Path, tuple[_Stamp, Needle | NeedleError]] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        """Name to JSON file."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.rglob("*.json")):
                found.setdefault(path.stem, path)
        return found

    def find(
        self, wanted: Iterable[str], *, tags: Iterable[str] = (), tell: Callable[[str], object] = lambda _: None
    ) -> list[Needle]:
        """The needles that are called one of ``wanted`` or have it as a tag, and those with one of ``tags``.

        Args:
            tell: is told of needles that cannot be used, where others can.

        Raises:
            NeedleUnknown: for one of the words there is none at all.
            NeedleError: a needle that is asked for by its name cannot be used.
        """
        files = self.files()
        usable = self._usable(files, tell)
        found: dict[Path, Needle] = {}
        for word, by_name in [*((word, True) for word in wanted), *((tag, False) for tag in tags)]:
            if by_name and (path := files.get(word)) and isinstance(one := self._get(path), NeedleError):
                raise one
            of_word = [one for one in usable if word in one.tags or (by_name and word == one.name)]
            if not of_word:
                raise self._unknown(word, by_name=by_name)
            found |= {one.path: one for one in sorted(of_word, key=lambda one: one.name != word)}
        return list(found.values())

    def leave_out(self, needle: Needle, error: NeedleError, tell: Callable[[str], object]) -> None:
        """Do not find a needle again whose picture turned out to be no good, until it changes; ``tell`` is told of it once."""
        stamp, known = self._read[needle.path]
        if not isinstance(known, NeedleError):
            tell(f"a needle is left out: {error.message}")
        if known is needle:
            self._read[needle.path] = stamp, error

    def words(self) -> set[str]:
        """All names and tags of needles that can be used."""
        return {word for one in self._usable(self.files(), lambda _: None) for word in (one.name, *one.tags)}

    def _usable(self, files: dict[str, Path], tell: Callable[[str], object]) -> list[Needle]:
        needles = []
        for path in files.values():
            fresh = path not in self._read
            one = self._get(path)
            if isinstance(one, Needle):
                needles.append(one)
            elif fresh and _is_meant_as_one(path):
                tell(f"a needle is left out: {one.message}")
        return needles

    def _get(self, path: Path) -> Needle | NeedleError:
        stamp = (*_stamp(path), *_stamp(path.with_suffix(".png")))
        if path not in self._read or self._read[path][0] != stamp:
            try:
                self._read[path] = stamp, read_needle(path)
            except NeedleError as error:
                self._read[path] = stamp, error
        return self._read[path][1]

    def _unknown(self, word: str, *, by_name: bool) -> NeedleUnknown:
        words = self.words() - ({word} if not by_name else set())
        near = get_close_matches(word, words, n=1)
        where = ", ".join(str(folder) for folder in self.folders if folder.is_dir())
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif words:
            hint = f"there are: {', '.join(sorted(words)[:_SHOWN])}{', ...' if len(words) > _SHOWN else ''} (in {where})"
        else:
            hint = "make one with anima-qa needle new, in a folder needles/ beside the script"
        message = f"there is no needle {word!r}, and none with such a tag" if by_name else f"no needle has the tag {word!r}"
        return NeedleUnknown(message, hint=hint)


def _is_meant_as_one(path: Path) -> bool:
    """Whether a JSON file that is no needle was to be one: other files may lie in the same folder."""
    try:
        with path.open("rb") as file:
            return path.with_suffix(".png").exists() or b'"area"' in file.read(65536)
    except OSError:
        return True


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
