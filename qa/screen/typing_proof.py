"""Proof that a text arrived: what a text console shows of it is read back, and mended where it is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qa.errors import CheckFailed
from qa.screen.layouts import Stroke
from qa.screen.text.found import Grid
from qa.screen.typing_echo import Anchor, in_common, is_shown, looks_mistyped, shown_instead
from qa.screen.typing_pace import Characters, Pace

PIECE = 200
"""Characters that are typed before the console is looked at: firmware holds 256, a line of the kernel's console 4095."""

ECHO_LIMIT = 1.0
"""Seconds for what was typed to appear where it need not. Where it must, the factor for software emulation applies."""

LEAST_PATIENCE, ECHO_SLACK = 0.5, 10
"""A guest that has shown what was typed is given so many times as long for the rest, and at least so many seconds."""

LONGEST_SHOW = 10
"""So many times the patience, a console may go on changing without showing what was typed."""

CURSOR_LIMIT = 0.7
"""Seconds for a blinking cursor to be seen: consoles show and hide it for 0.2 s each, or 0.5 s."""

LOOK_PAUSE = 0.02
"""Seconds between two looks at a console that has not shown everything yet."""

CORRECTIONS = 3
"""Tries to mend a piece."""

CAREFUL_RATES = (40.0, 20.0, 10.0)
"""Characters a second after each correction: firmware's shell loses keys that come fast, and none at 10."""

BLIND_PIECES = 2
"""Pieces in succession that were not shown, after which nobody looks any more."""

Look = Callable[[], Awaitable[Grid | None]]


@dataclass
class Proof:
    """Types pieces of a text and looks for them.

    Attributes:
        look: reads the text console that the screen shows; None where it shows none.
        required: what is typed must be seen.
        patience: seconds for what was typed to appear.
        seen: characters that the screen showed.
        mended: corrections that were made.
    """

    pace: Pace
    look: Look
    backspace: tuple[Stroke, ...]
    required: bool
    patience: float
    seen: int = 0
    mended: int = 0
    _blind: int = 0
    _last: Grid | None = None

    @property
    def given_up(self) -> bool:
        """Whether nothing of what was typed is shown."""
        return self._blind >= BLIND_PIECES

    async def type(self, text: str, characters: Characters) -> None:
        """Type ``text``, which a console shows as it is, and see to it that it does.

        Raises:
            CheckFailed: it must be seen, and was not.
            DeadlineExceeded, QemuExited: see `Pace.send`.
        """
        start = 0
        anchor = await self._anchor()
        while start < len(text):
            if anchor is None:
                self._missed(text[start:], None)
                await self.pace.send(characters[start:])
                return
            end = min(start + min(PIECE, anchor.room), len(text))
            await self.pace.send(characters[start:end])
            if not await self._confirm(anchor, text[start:end], characters[start:end]):
                await self.pace.send(characters[end:])
                return
            anchor = anchor.after(text[start:end])
            start = end

    async def _anchor(self) -> Anchor | None:
        """Where the next character will appear; not before the console shows something else than when it was last looked at."""
        began = time.monotonic()
        while True:
            grid = await self.look()
            waited = time.monotonic() - began
            if grid is not None and grid.cursor is not None and (grid != self._last or waited > self.patience):
                return Anchor.of(grid)
            if grid is None or (waited > CURSOR_LIMIT and grid.cursor is None and (not self._last or waited > self.patience)):
                return None
            await asyncio.sleep(LOOK_PAUSE)

    async def _confirm(self, anchor: Anchor, text: str, characters: Characters) -> bool:
        for correction in range(CORRECTIONS + 1):
            grid = await self._wait(anchor, text)
            if grid is not None and is_shown(grid, anchor, text):
                self.seen += len(text)
                self._blind = 0
                self._last = grid
                return True
            shown = shown_instead(grid, anchor) if grid is not None and anchor.fits_in_row(text) else None
            if not shown or correction == CORRECTIONS or not self._is_to_be_mended(text, shown):
                break
            right = in_common(text, shown)
            self.pace.rate = min(self.pace.rate or CAREFUL_RATES[correction], CAREFUL_RATES[correction])
            await self.pace.send([self.backspace] * (len(shown) - right) + list(characters[right:]))
            self.mended += 1
        self._missed(text, grid, touched=correction > 0)
        return False

    def _is_to_be_mended(self, text: str, shown: str) -> bool:
        """An editor shows all but the command that a text begins with. Unless it must be seen, that is no mistake."""
        return looks_mistyped(text, shown) and (self.required or in_common(text, shown) > 0)

    async def _wait(self, anchor: Anchor, text: str) -> Grid | None:
        """The console when it shows ``text``, or when it has stood still for too long without it."""
        began = moved = time.monotonic()
        rows: tuple[str, ...] | None = None
        while (grid := await self.look()) is not None:
            now = time.monotonic()
            if is_shown(grid, anchor, text):
                self.patience = min(self.patience, max(LEAST_PATIENCE, ECHO_SLACK * (now - began)))
                break
            if grid.rows != rows:
                rows, moved = grid.rows, now
            still = now - moved
            if (still > self.patience and grid.cursor) or still > self.patience + CURSOR_LIMIT:
                break
            if now - began > LONGEST_SHOW * self.patience:
                break
            await asyncio.sleep(LOOK_PAUSE)
        return grid

    def _missed(self, text: str, grid: Grid | None, *, touched: bool = False) -> None:
        """Take note that a piece was not seen, or say so where it must be, or where it was changed in vain."""
        self._blind += 1
        self._last = None
        if self.required or touched:
            raise CheckFailed(
                "what was typed is not on the screen as it was typed",
                hint="where a program shows something else, or nothing, as for passwords, type with verify: false",
                evidence={"typed": text, "the screen": grid.text if grid else "no text console, or no cursor on it"},
            )
