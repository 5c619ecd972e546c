"""The keys that a script presses and the characters that it types: whether the machines' keyboards have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qa.errors import UsageError
from qa.scenario.problems import Problem
from qa.scenario.source import KeyPath, Source
from qa.screen.keyboard_keys import parse_combination
from qa.screen.layouts import LayoutName, load_layout


@dataclass(frozen=True)
class KeyCheck:
    """Whether there are such keys, for steps that press them.

    ``keyboards`` has the layout of each machine; nothing is said of machines that are not among them.
    """

    keyboards: Mapping[str, LayoutName] = field(default_factory=dict)

    def problems(self, source: Source, path: KeyPath, parsed: Any, machine: str) -> Iterator[Problem]:
        """What is wrong with the keys in the arguments at ``path``, which are ``parsed``, on the keyboard of ``machine``."""
        name = getattr(parsed, "layout", None) or self.keyboards.get(machine)
        if name is None:
            return
        for key, read in _readers(path[-1]):
            given = getattr(parsed, key, None)
            if not given:
                continue
            try:
                read(given, name)
            except UsageError as error:
                place = (*path, key) if (*path, key) in source.values else path
                yield source.problem(place, error.message, error.hint)


def _readers(verb: Any) -> Iterator[tuple[str, Callable[[str, LayoutName], object]]]:
    """The arguments that are pressed or typed, with what reads them."""
    yield "keys", _combination
    yield "holding", _combination
    if verb == "send_chars":  # elsewhere ``text`` is what is looked for
        yield "text", _text


def _combination(keys: str, layout: LayoutName) -> object:
    return parse_combination(keys, load_layout(layout))


def _text(text: str, layout: LayoutName) -> object:
    return load_layout(layout).spell(text)
