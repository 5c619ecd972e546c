"""Where things live: the XDG folders of the user, and the data that travels with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa.errors import UsageError

NAME = "anima-qa"


@dataclass(frozen=True)
class Paths:
    """The folders this program writes to. They are made when something is first put there."""

    config: Path
    state: Path
    cache: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Paths:
        """XDG folders of their usual places; ``ANIMA_QA_HOME`` moves them all under one folder.

        Raises:
            UsageError: it cannot be known where these are.
        """
        if home := environment.get("ANIMA_QA_HOME"):
            root = _absolute(home)
            return cls(config=root / "config", state=root / "state", cache=root / "cache")

        def xdg(variable: str, default: str) -> Path:
            value = environment.get(variable, "")
            base = Path(value) if Path(value).is_absolute() else _home() / default
            return base / NAME

        return cls(
            config=xdg("XDG_CONFIG_HOME", ".config"),
            state=xdg("XDG_STATE_HOME", ".local/state"),
            cache=xdg("XDG_CACHE_HOME", ".cache"),
        )

    @property
    def images(self) -> Path:
        """Images that were built, pulled or imported."""
        return self.cache / "images"

    @property
    def work(self) -> Path:
        """Overlays and other files of running machines: one folder for each owner, swept when the owner is dead."""
        return self.cache / "work"

    @property
    def snapshots(self) -> Path:
        """Frozen machines, where no setting says another place."""
        return self.cache / "snapshots"

    @property
    def audit(self) -> Path:
        """What agents did, where no setting says another place."""
        return self.state / "audit.jsonl"

    @property
    def sessions(self) -> Path:
        """Logs, pictures and output of machines that agents boot: a folder for each server."""
        return self.state / "sessions"

    @property
    def verdicts(self) -> Path:
        """What is remembered of this host's accelerators."""
        return self.state / "accelerators.json"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UsageError(
            f"there is no home folder: HOME is not set, and the system knows no user with the number {os.geteuid()}",
            hint="set HOME, or let ANIMA_QA_HOME name a folder for all that anima-qa keeps",
        ) from None


def _absolute(home: str) -> Path:
    try:
        return Path(home).expanduser().absolute()
    except RuntimeError:
        raise UsageError(
            f"ANIMA_QA_HOME is {home}, and the home folder of that user is not known", hint="name a folder"
        ) from None
    except FileNotFoundError:
        raise UsageError(
            f"ANIMA_QA_HOME is {home}, and the current folder, where that would be, is gone",
            hint="change to a folder that is there, or let ANIMA_QA_HOME begin with /",
        ) from None


def data_folder(name: str) -> Path:
    """The folder ``name`` (``images``, ``cloudinit``) of the data that travels with the package.

    Inside a wheel it lies in the package; in a checkout at the top of the tree.
    """
    package = Path(__file__).resolve().parent
    inside = package / "_data" / name
    return inside if inside.is_dir() else package.parent / name
