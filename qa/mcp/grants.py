"""What is offered: a profile, toolsets, or reading only; the policy of this host's owner can only take away from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qa.errors import UsageError
from qa.rules import TOOLSETS


@dataclass(frozen=True)
class Offer:
    """What the user who starts the server wants to be offered.

    Attributes:
        toolsets: groups of tools besides those of the profile.
    """

    profile: Literal["core", "full"] = "core"
    toolsets: tuple[str, ...] = ()
    read_only: bool = False

    @classmethod
    def read(cls, profile: str, toolsets: str | None, *, read_only: bool) -> Offer:
        """From the command line.

        Raises:
            UsageError: a toolset is not known.
        """
        chosen: Literal["core", "full"] = "full" if profile == "full" else "core"
        if toolsets is None:
            return cls(chosen, (), read_only)
        names = tuple(dict.fromkeys(name.strip() for name in toolsets.split(",") if name.strip()))
        unknown = [name for name in names if name not in TOOLSETS]
        if unknown or not names:
            what = f"there is no toolset {unknown[0]!r}" if unknown else "no toolset is named"
            raise UsageError(what, hint=f"there are: {', '.join(TOOLSETS)}")
        return cls(chosen, names, read_only)

    def has(self, toolset: str, *, core: bool) -> bool:
        """Whether tools of ``toolset`` are wished; ``core``: those of the small profile."""
        return core or self.profile == "full" or toolset in self.toolsets

    def flags(self) -> list[str]:
        """The same as words of a command line."""
        words = ["--profile", "full"] if self.profile == "full" else []
        words += ["--toolsets", ",".join(self.toolsets)] if self.toolsets else []
        return words + (["--read-only"] if self.read_only else [])
