"""Waiting for text on the console: in the stream without kernel messages, and on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from qa.console.serial import SerialConsole
from qa.console.terminal import Terminal
from qa.console.text import plain, without_kernel_lines
from qa.errors import UsageError
from qa.patterns import compile_pattern, in_time

WINDOW = 64 * 1024
"""Bytes of the stream in which a pattern is looked for: no prompt is longer, and a flood must not slow the search."""

SILENCE = 0.1
"""Seconds without output after which the screen is worth a look: a person, too, reads when the text stands still."""

LONGEST_HOLD = 1.0
"""Seconds that a match at the end of the text is kept waiting, at most, by output that goes on."""


@dataclass(frozen=True)
class Found:
    """A match: which of the patterns (from 0), its text, its groups, and the text before it."""

    index: int
    text: str
    groups: tuple[str | None, ...]
    before: str


class TextWatch:
    """Watches a console for patterns from the moment of its making (``seen`` goes back to what is already there).

    Matching is done on the stream's text without kernel lines, on the text with them, and on the terminal's screen: a
    prompt that was drawn with cursor movements is only there, a line that has scrolled away only in the stream.

    Output comes in pieces that are cut anywhere. A match at the end of the stream may go on in the next piece, as a number of
    which half the digits are there, or be gone with it, as a prompt that was none; it counts when `SILENCE` has followed it.
    """

    def __init__(
        self, console: SerialConsole, patterns: Sequence[str], *, terminal: Terminal | None = None, seen: bool = False
    ) -> None:
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._window = bytearray(console.recent[-WINDOW:] if seen else b"")
        self._found: asyncio.Future[Found] = self._loop.create_future()
        self._search_due: asyncio.Handle | None = None
        self._look_due: asyncio.TimerHandle | None = None
        self._hold_due: asyncio.TimerHandle | None = None
        self._held_since: float | None = None
        self._unsubscribe = console.subscribe(self._receive)
        if seen and self._loop.time() - console.spoke_at >= SILENCE:
            self._search(settled=True)
            self._look()
        elif seen:
            self._search()
            self._look_later()

    def _receive(self, data: bytes) -> None:
        self._window += data
        if len(self._window) > WINDOW:
            del self._window[:-WINDOW]
        # Search once for all that arrives in this turn of the loop: a flood comes in thousands of pieces.
        if self._search_due is None:
            self._search_due = self._loop.call_soon(self._search)
        self._look_later()

    def _search(self, *, settled: bool = False) -> None:
        self._search_due = None
        text = plain(bytes(self._window))
        for candidate in (without_kernel_lines(text), text):
            found = self._find(candidate)
            if found and not settled and len(found.before) + len(found.text) == len(candidate):
                self._hold(found)
                return
            if found:
                self._take(found)
        self._let_go()

    def _look_later(self) -> None:
        if self._look_due is not None:
            self._look_due.cancel()
        self._look_due = self._loop.call_later(SILENCE, self._look) if self._terminal else None

    def _look(self) -> None:
        self._look_due = None
        if self._terminal is not None and (found := self._find("\n".join(self._terminal.screen()))):
            self._take(found)

    def _find(self, text: str) -> Found | None:
        from pexpect.expect import searcher_re  # noqa: PLC0415 -- nobody who only checks a script pays for it

        if self._found.done():
            return None
        searcher = searcher_re(list(self._patterns))  # pexpect's: of several matches the one that stands first wins
        try:
            with in_time(*(pattern.pattern for pattern in self._patterns)):
                index = searcher.search(text, len(text))
        except UsageError as error:
            self._found.set_exception(error)
            return None
        if index < 0:
            return None
        match = searcher.match
        return Found(index, match.group(), match.groups(), text[: match.start()])

    def _hold(self, found: Found) -> None:
        now = self._loop.time()
        since = now if self._held_since is None else self._held_since
        self._let_go()
        self._held_since = since
        self._hold_due = self._loop.call_at(min(now + SILENCE, since + LONGEST_HOLD), self._take, found)

    def _let_go(self) -> None:
        if self._hold_due is not None:
            self._hold_due.cancel()
        self._hold_due = self._held_since = None

    def _take(self, found: Found) -> None:
        if not self._found.done():
            self._found.set_result(found)

    async def wait(self) -> Found:
        """The first match. Ends otherwise only when it is cancelled: give it a deadline."""
        try:
            return await self._found
        finally:
            self.close()

    def close(self) -> None:
        """Stop watching."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        for due in (self._search_due, self._look_due, self._hold_due):
            if due is not None:
                due.cancel()
