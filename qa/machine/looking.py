"""Looking at the machine: its screen and its console."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qa.machine.base import MachineBase
from qa.screen.frames import Frame


class Looking(MachineBase):
    """Verbs that look."""

    _shots = 0

    async def screenshot(
        self,
        name: Annotated[str | None, Field(description="Name of the picture; a number where it is not given.")] = None,
    ) -> Path:
        """Save what the screen shows as a PNG picture in the results folder."""
        frame = await self.grab()
        folder = self.setup.results / "shots"
        folder.mkdir(parents=True, exist_ok=True)
        self._shots += 1
        parts = (self.name, _slug(self.setup.label), f"{self._shots:02d}", _slug(name or "") or "screen")
        path = folder / f"{'-'.join(filter(None, parts))}.png"
        frame.save_png(path)
        return path

    async def grab(self) -> Frame:
        """The screen now, as pixels. A guest that panicked or shut down can still be looked at."""
        power = self._power
        if power is None:
            power = self._on()  # says why there is none
        frame = await power.camera.grab()
        if self.setup.film:
            self.setup.film.see(frame)
        return frame

    async def read_console(
        self,
        lines: Annotated[int, Field(ge=1, le=100_000, description="How many lines at most, counted from the end.")] = 100,
    ) -> str:
        """The serial console as a person sees it: the screen and what has scrolled away above it."""
        return "\n".join(self._terminal.text().splitlines()[-lines:])

    @contextmanager
    def watching_console(self, listener: Callable[[bytes], None]) -> Iterator[None]:
        """While inside, hand ``listener`` each new piece of what the serial console shows, as it comes."""
        unsubscribe = self._console.subscribe(listener)
        try:
            yield
        finally:
            unsubscribe()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:60].strip("-.")
