"""What operations on this host work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qa.config import Config
from qa.events import Bus
from qa.paths import Paths
from qa.places import place


@dataclass(frozen=True)
class Bench:
    """This host's folders and settings. Progress and notices go to ``bus``; relative paths begin in ``base_folder``."""

    paths: Paths
    config: Config
    bus: Bus
    base_folder: Path

    def place(self, path: str | Path) -> Path:
        """Where ``path`` is.

        Raises:
            UsageError: it is none.
        """
        return place(self.base_folder, path)
