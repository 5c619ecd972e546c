"""The console as a person sees it: a terminal emulator that is fed only when somebody looks.

Of a long backlog only the end is fed: the emulator does about 1 MB/s, and older output has scrolled away anyway.
"""

from __future__ import annotations

from qa.console.serial import TAIL, SerialConsole

COLUMNS, LINES = 80, 25
"""What UEFI and serial getties assume when nobody tells them."""

HISTORY = 2000
"""Lines kept above the screen."""


class Terminal:
    """A terminal on a console. It only looks: it never answers the guest's questions about it."""

    def __init__(self, console: SerialConsole) -> None:
        self._console = console
        self._fed = console.position
        self._history = console.history
        self._reset()

    def _reset(self) -> None:
        from qa.console.emulator import Screen, Stream  # noqa: PLC0415 -- nobody who only checks a script pays for pyte

        self._screen = Screen(COLUMNS, LINES, history=HISTORY, ratio=0.5)
        self._stream = Stream(self._screen)

    def _feed(self) -> None:
        if self._history != self._console.history:  # the past is another one now
            self._history = self._console.history
            self._fed = -TAIL - 1
        behind = self._console.position - self._fed
        if behind <= 0:
            return
        if behind > TAIL:
            self._reset()
        data = self._console.last(min(behind, TAIL))
        self._fed = self._console.position
        for line in data.splitlines(keepends=True):
            try:
                self._stream.feed_line(line)
            except (TypeError, ValueError, IndexError, KeyError):  # a sequence that the emulator does not know
                self._stream = type(self._stream)(self._screen)

    def screen(self) -> list[str]:
        """The lines now on the screen, without trailing blanks."""
        self._feed()
        return [self._screen.row(number) for number in range(LINES)]

    def cursor(self) -> tuple[int, int]:
        """Column and line of the cursor, from 0."""
        self._feed()
        return self._screen.cursor.x, self._screen.cursor.y

    def text(self, history: int = HISTORY) -> str:
        """At most ``history`` scrolled lines and the screen, blank lines at the end dropped."""
        shown = self.screen()
        return "\n".join([*(self._screen.scrolled()[-history:] if history else []), *shown]).rstrip()
