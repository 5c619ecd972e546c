"""What the gate must know of a call: who makes it, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qa.guest.copying import landing
from qa.images.resolve import is_path
from qa.operations.operation import Operation
from qa.operations.options import MachineOptions
from qa.places import is_there, place
from qa.rules import Whom

Effect = Literal["read", "change", "destroy"]
"""``read`` changes nothing that anybody would miss; ``destroy`` loses what cannot be had again."""

AGENT_SURFACES = frozenset({"mcp", "rest"})
"""Surfaces behind which a program decides what is done."""

_READING = frozenset({"waiting", "looking"})
_TYPING = frozenset({"send_chars", "send_console"})
_OUT_OF_GUESTS = frozenset({"copy_from"})

BY_HAND = "using keys and mouse"
INTO_GUESTS = "copying files into guests"
"""Programs can be replaced by them."""


@dataclass(frozen=True)
class Caller:
    """Who makes a call: the ``surface`` (``run``, ``cli``, ``mcp``, ``rest``), and its client's name there."""

    surface: str
    client: str = ""

    @property
    def is_agent(self) -> bool:
        """Whether rules for agents are meant."""
        return self.surface in AGENT_SURFACES

    def among(self, whom: Whom) -> bool:
        """Whether a rule for ``whom`` is for this caller."""
        return whom == "all" or (whom == "agents" and self.is_agent)


@dataclass(frozen=True)
class Facts:
    """What a call does.

    Attributes:
        toolset: of `qa.rules.TOOLSETS`.
        commands: shell commands for a guest.
        typed: text that is typed into a guest.
        other_ways: other ways by which a guest runs what the caller says, in words: ``cloud_init``.
        reads, writes: files and folders of this host.
        question: asked before something is destroyed: ``destroy vm1, with all that is on its disks?``
        force: the caller wants no question.
        verbs: operations that it is made of, or comes to the same as: what is denied of them is denied of it.
    """

    effect: Effect = "change"
    toolset: str = "machines"
    commands: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    other_ways: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    question: str = ""
    force: bool = False
    verbs: tuple[str, ...] = ()


def effect_of(operation: Operation) -> Effect:
    """What the verb ``operation`` of a machine does to it.

    None destroys. To go back is what a restore point is made for, and cutting the power leaves the disks.
    """
    return "read" if operation.group in _READING else "change"


def facts_of(operation: Operation, arguments: Mapping[str, Any], *, results: Path | None = None, force: bool = False) -> Facts:
    """What a call of the verb ``operation`` of a machine does.

    Args:
        results: where relative paths of files that it writes begin; what is in there may be replaced.
        force: nobody is to be asked.

    Raises:
        UsageError: it names a path that there cannot be.
    """
    folder = results or Path()
    paths = tuple(value for value in arguments.values() if isinstance(value, Path))
    writes = operation.name in _OUT_OF_GUESTS
    targets = tuple(landing(folder, path, str(arguments.get("source", ""))) for path in paths) if writes else ()
    replaced = [str(target) for target in targets if not (results and target.is_relative_to(results)) and is_there(target)]
    return Facts(
        effect="destroy" if replaced else effect_of(operation),
        commands=tuple(str(value) for name, value in arguments.items() if name == "command"),
        typed=tuple(str(value) for name, value in arguments.items() if name == "text" and operation.name in _TYPING),
        other_ways=_other_ways(operation),
        reads=() if writes else paths,
        writes=targets,
        question=f"replace {', '.join(replaced)}?" if replaced else "",
        force=force,
        verbs=("execute",) if operation.group == "commands" else (),
    )


def _other_ways(operation: Operation) -> tuple[str, ...]:
    if operation.name == "copy_to":
        return (INTO_GUESTS,)
    return (BY_HAND,) if operation.group == "hands" and operation.name not in _TYPING else ()


def boot_facts(image: str, options: MachineOptions, cloud_init: Mapping[str, Any] | None, base_folder: Path) -> Facts:
    """What booting a machine does.

    Raises:
        UsageError: an image is at no path that there can be.
    """
    images = [image, *(str(disk.path) for disk in options.disks if disk.path is not None)]
    return Facts(
        reads=tuple(place(base_folder, one) for one in images if names_file(one, base_folder)),
        other_ways=("cloud_init",) if cloud_init else (),
    )


def names_file(image: str, base_folder: Path) -> bool:
    """Whether an image's name may be a file's of this host, and not only a name of the cache or the catalogue, or a URL."""
    return "://" not in image and (is_path(image) or is_there(base_folder / image))
