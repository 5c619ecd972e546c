"""A YAML file with the place of each of its keys and values.

YAML 1.2 (so ``on`` is a word and not a truth value), one document, no tags of its own, within limits of size. Scalars keep the
text they were written as: ``1.10`` stays ``1.10`` where text is wanted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from qa.errors import ScriptError
from qa.scenario.problems import Place, Problem, ScriptRejected

KeyPath = tuple[str | int, ...]
"""Keys and indexes from the top of the file to a value."""

MAX_BYTES = 1_000_000
"""No script that people write is larger; reading one of this size takes seconds."""
MAX_NODES = 100_000
"""Values after aliases were followed: a few lines of nested aliases can stand for billions."""

_CORE = "tag:yaml.org,2002:"
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""Where ruamel.yaml counts a new line."""
_HINTS = {
    "mapping values are not allowed": "put the value in quotes: a colon followed by a space starts a new mapping",
    "'\\t'": "indent with spaces: YAML does not allow tabs there",
    "that cannot start any token": "put the value in quotes: YAML gives this character a meaning at the start of a value",
    "undefined alias": "a value that starts with * refers to an &anchor; put it in quotes if it is meant literally",
    "expected <block end>": "check the indentation: this line does not fit the lines above it",
    "unexpected end of stream": "close the quotation mark",
    "but got '<stream end>'": "close the bracket",
    "while parsing a flow": "inside [] and {}, put values with brackets, braces or commas in quotes",
    "could not find expected ':'": "check the indentation, or whether a colon is missing",
}


@dataclass(frozen=True)
class Mark:
    """Line and column, both from 0, and the length of what stands there."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        path: as the user named it.
        data: plain dicts (with text as keys), lists and scalars.
        keys, values: where each key and each value stands.
        raw: the text of each unquoted scalar as it was written.
        problems: mistakes that did not keep the file from being read, such as duplicate keys.
    """

    path: Path
    lines: tuple[str, ...]
    data: Any = None
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    raw: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where the value (or, with ``key``, its key) at ``path`` stands; where it is not there, its nearest parent."""
        for end in range(len(path), -1, -1):
            where = path[:end]
            first, second = (self.keys, self.values) if key else (self.values, self.keys)
            if mark := first.get(where) or second.get(where):
                return Place(self.path, mark.line + 1, mark.column + 1, mark.length)
        return Place(self.path, 1, 1)

    def place_of_text(self, path: KeyPath, text: str) -> Place:
        """Where ``text`` stands inside the value at ``path``; the value itself where it cannot be found."""
        start = self.place(path)
        for number, line in enumerate(self.lines[start.line - 1 :], start.line):
            column = line.find(text, start.column - 1 if number == start.line else 0)
            if column >= 0:
                return Place(self.path, number, column + 1, len(text))
        return start

    def problem(self, path: KeyPath, message: str, hint: str | None = None, *, key: bool = False) -> Problem:
        """A problem with the value (or the key) at ``path``."""
        return self.problem_at(self.place(path, key=key), message, hint)

    def problem_at(self, place: Place, message: str, hint: str | None = None) -> Problem:
        """A problem at ``place``, with its line."""
        return Problem(place, message, hint, self.lines[place.line - 1] if place.line <= len(self.lines) else "")


def read_source(path: Path) -> Source:
    """Read a YAML file.

    Raises:
        ScriptError: the file is not there or cannot be read.
        ScriptRejected: it is not YAML that we take; the problem names the place.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ScriptError(f"there is no script {path}", hint="give the path of a YAML file") from None
    except IsADirectoryError:
        raise ScriptError(f"{path} is a folder", hint=f"give the scripts in it: {path}/*.yaml") from None
    except (OSError, ValueError) as error:
        raise ScriptError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return parse_source(path, content)


def parse_source(path: Path, content: bytes) -> Source:
    """``read_source`` for a file's content that is at hand."""
    if len(content) > MAX_BYTES:
        raise ScriptRejected([Problem(Place(path, 1, 1), f"the file is larger than {MAX_BYTES:,} bytes", "is it a script?")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(path, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        problem = Problem(place, f"byte 0x{content[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        raise ScriptRejected([problem]) from None
    source = Source(path, tuple(_LINE_BREAK.split(text)))
    node = _compose(source, text)
    if node is None:
        raise ScriptRejected([source.problem((), "the file is empty", "a script has at least an image and steps")])
    data = _Builder(source).build(node, (), ())
    return Source(path, source.lines, data, source.keys, source.values, source.raw, source.problems)


def _compose(source: Source, text: str) -> Node | None:
    """The tree of the file's nodes, or None where the file has no content."""
    if text.startswith("%"):
        raise ScriptRejected([source.problem((), "YAML directives are not supported", "remove the line; scripts are YAML 1.2")])
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ScriptRejected([_syntax_problem(source, error)]) from None
    except ReaderError as error:
        line = text[: error.position].count("\n")
        message = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ScriptRejected([Problem(Place(source.path, line + 1, 1), message)]) from None
    except RecursionError:
        raise ScriptRejected([source.problem((), "values are nested too deeply")]) from None
    except YAMLError as error:
        raise ScriptRejected([source.problem((), f"not valid YAML: {error}")]) from None
    return node


def _syntax_problem(source: Source, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(source.path, mark.line + 1, mark.column + 1) if mark else Place(source.path, 1, 1)
    message = " ".join(part for part in (error.context, error.problem) if part)
    if "but found another document" in message:
        return source.problem_at(
            place, "a script is one YAML document, and here begins another", "put each script in a file of its own"
        )
    hint = next((hint for part, hint in _HINTS.items() if part in message), None)
    return source.problem_at(place, f"not valid YAML: {message}", hint)


class _Builder:
    """Makes plain data out of nodes and notes where everything stands."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._count = 0

    def build(self, node: Node, path: KeyPath, parents: tuple[Node, ...]) -> Any:
        """The data that ``node`` at ``path`` stands for."""
        self._count += 1
        start = node.start_mark
        self._source.values.setdefault(path, Mark(start.line, start.column, _length(node)))
        if self._count > MAX_NODES:
            self._reject(path, f"the file has more than {MAX_NODES:,} values once its aliases are followed")
        if any(parent is node for parent in parents):
            self._reject(path, "an alias refers to what it is in")
        if isinstance(node, MappingNode):
            return self._mapping(node, path, (*parents, node))
        if isinstance(node, SequenceNode):
            return [self.build(child, (*path, index), (*parents, node)) for index, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _reject(self, path: KeyPath, message: str) -> None:
        raise ScriptRejected([*self._source.problems, self._source.problem(path, message)])

    def _mapping(self, node: MappingNode, path: KeyPath, parents: tuple[Node, ...]) -> dict[str, Any]:
        source, result = self._source, dict[str, Any]()
        for key_node, value_node in node.value:
            start = key_node.start_mark
            place = Place(source.path, start.line + 1, start.column + 1, _length(key_node))
            if not isinstance(key_node, ScalarNode):
                hint = "put ${...} in quotes" if str(source.lines[start.line])[start.column - 1 : start.column] == "$" else None
                source.problems.append(source.problem_at(place, "a key must be a word", hint))
                continue
            key = str(key_node.value)
            if str(key_node.tag) == _CORE + "merge":
                source.problems.append(source.problem_at(place, "merge keys (<<) are not supported", "write the keys out"))
            elif key in result:
                first = source.keys[(*path, key)].line + 1
                source.problems.append(source.problem_at(place, f"{key!r} is given twice; the first is in line {first}"))
            else:
                source.keys[(*path, key)] = Mark(start.line, start.column, place.length)
                result[key] = self.build(value_node, (*path, key), parents)
        return result

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text, tag = str(node.value), str(node.tag)
        if not tag.startswith(_CORE):
            self._source.problems.append(self._source.problem(path, f"the tag {tag} is not supported", "put the value in quotes"))
            return text
        if not node.style:
            self._source.raw[path] = text
        try:
            return _CONSTRUCT.get(tag.removeprefix(_CORE), str)(text)
        except (ValueError, KeyError):
            return text


def _length(node: Node) -> int:
    start, end = node.start_mark, node.end_mark
    return max(1, end.column - start.column) if start.line == end.line else 1


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.lstrip("+-").startswith(prefix):
            return int(digits, base)
    return int(digits)


def _number(text: str) -> float:
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    lower = text.lower().replace("_", "")
    return special[lower] if lower in special else float(lower)


_CONSTRUCT: Mapping[str, Any] = {
    "int": _integer,
    "float": _number,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
}
"""How scalars that are not text are made; dates stay text."""
