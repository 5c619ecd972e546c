"""``when``: a small language of conditions, of which nothing is ever executed.

    condition:  part ("and" part)* ("or" ...)*      and binds tighter than or
    part:       ["not"] value [("==" | "!=") value]
    value:      a word, a quoted text, or either with ${variables} in it

A value alone is true unless it is empty, ``false``, ``no``, ``off`` or ``0``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<operator>==|!=)|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<word>(?:\$\{\w*\}|[^\s=!"'()<>&|])+))"""
)
_FALSE = frozenset({"", "false", "no", "off", "0"})
_WORDS = frozenset({"and", "or", "not"})


class ConditionError(ValueError):
    """A condition that is not in the language."""


@dataclass(frozen=True)
class _Part:
    negated: bool
    left: str
    operator: str = ""
    right: str = ""

    def holds(self, expand: Callable[[str], str]) -> bool:
        left = expand(self.left)
        if not self.operator:
            return (left.strip().lower() not in _FALSE) != self.negated
        return ((left == expand(self.right)) == (self.operator == "==")) != self.negated


@dataclass(frozen=True)
class Condition:
    """A condition that was read: any of ``alternatives``, each of which needs all of its parts."""

    text: str
    alternatives: tuple[tuple[_Part, ...], ...]

    def holds(self, expand: Callable[[str], str]) -> bool:
        """Whether it is true; ``expand`` replaces the variables in a value. Every value is expanded, needed or not."""
        return any([all([part.holds(expand) for part in parts]) for parts in self.alternatives])  # noqa: C419


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ConditionError: it is not one; the message says what is wrong.
    """
    tokens = _tokens(text)
    alternatives: list[tuple[_Part, ...]] = []
    parts: list[_Part] = []
    while True:
        parts.append(_part(tokens))
        kind, word = tokens.pop(0) if tokens else ("end", "")
        if (kind, word) == ("keyword", "and"):
            continue
        if kind != "end" and (kind, word) != ("keyword", "or"):
            raise ConditionError(f"{word!r} is unexpected here: join conditions with and, or")
        alternatives.append(tuple(parts))
        parts = []
        if kind == "end":
            return Condition(text, tuple(alternatives))


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].strip()
            raise ConditionError(f"cannot read {rest!r}: there are only ==, !=, and, or, not")
        position = match.end()
        kind = match.lastgroup or ""
        value = match[kind]
        tokens.append(("keyword", value) if kind == "word" and value in _WORDS else (kind, value))
    return tokens


def _part(tokens: list[tuple[str, str]]) -> _Part:
    negated = bool(tokens) and tokens[0] == ("keyword", "not")
    if negated:
        tokens.pop(0)
    left = _value(tokens)
    if not tokens or tokens[0][0] != "operator":
        return _Part(negated, left)
    _, operator = tokens.pop(0)
    return _Part(negated, left, operator, _value(tokens))


def _value(tokens: list[tuple[str, str]]) -> str:
    if not tokens:
        raise ConditionError("a value is missing at its end")
    kind, value = tokens.pop(0)
    if kind not in {"word", "double", "single"}:
        raise ConditionError(f"a value is missing before {value!r}")
    return value
