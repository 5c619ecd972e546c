"""What may be done, how much of it, and what is written down of it: the tables ``[policy]``, ``[limits]`` and ``[audit]``
of the configuration file. `qa.operations.gate` holds to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from qa.deadline import parse_duration
from qa.errors import UsageError
from qa.patterns import compile_pattern
from qa.places import read_path
from qa.sizes import Size

TOOLSETS = ("machines", "images", "templates", "scripts")
"""Groups of operations to which rights are given."""

Right = Literal["none", "read", "change", "all"]
"""What may be done with a toolset; ``all`` includes what destroys."""
Whom = Literal["agents", "all", "none"]
"""Whose calls a rule is for. Agents come over MCP and over REST; scripts and the command line are the user's own hand."""

DEFAULT_LEASE = 2 * 3600.0
"""Seconds: longer than a person's break from a conversation, and short enough that no forgotten machine lives overnight."""
DEFAULT_MACHINES = 16
"""At once, of one server: more than the branches that an agent explores, and a bound on what runs away."""


def _expression(text: str) -> str:
    try:
        compile_pattern(text)
    except UsageError as error:
        raise ValueError(f"is wrong: {error.message}") from error
    return text


def _path(path: Path) -> Path:
    try:
        return read_path(path)
    except UsageError as error:
        raise ValueError(f"is wrong: {error.message}") from error


def _folder(path: Path) -> Path:
    expanded = _path(path)
    if not expanded.is_absolute():
        raise ValueError("should be an absolute path, or begin with ~/")
    return expanded


def _duration(value: Any) -> Any:
    if isinstance(value, str | int | float):
        try:
            return parse_duration(value)
        except UsageError as error:
            raise ValueError(f"{error.message}: {error.hint}") from error
    return value


Expression = Annotated[str, AfterValidator(_expression)]
AnyPath = Annotated[Path, AfterValidator(_path)]
Folder = Annotated[Path, AfterValidator(_folder)]
Seconds = Annotated[float, BeforeValidator(_duration, json_schema_input_type=float | str), Field(gt=0)]


class Table(BaseModel):
    """Base of the tables: unknown names are errors, and nothing is changed after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(Table):
    """What may be done. Everything, where nothing is said."""

    read_only: bool = Field(False, description="Nothing is changed: neither machines, nor images, nor files of this host.")
    toolsets: dict[Literal["machines", "images", "templates", "scripts"], Right] = Field(
        {}, description="What may be done with each toolset: none, read, change, or all; all where nothing is said."
    )
    deny_operations: tuple[str, ...] = Field(
        (), description="Names of operations that are refused, and with them what does the same; * stands for any letters."
    )
    allow_commands: tuple[Expression, ...] | None = Field(
        None,
        description="Regular expressions: a command for a guest must match one of them as a whole. Keys, mouse, files for "
        "guests and cloud_init are then refused.",
    )
    deny_commands: tuple[Expression, ...] = Field(
        (), description="Regular expressions: a command for a guest, or a typed text, in which one is found is refused."
    )
    allow_paths: tuple[Folder, ...] | None = Field(
        None,
        description="Folders and files of this host: no others are read or written by operations. Agents make new files in them "
        "unasked.",
    )
    deny_paths: tuple[Folder, ...] = Field(
        (), description="Folders and files of this host that are neither read nor written, also inside of allowed ones."
    )
    protect_home: Whom = Field(
        "agents",
        description="From whom hidden files and folders in the home folder (.ssh, .bashrc, .config) are kept, as are /proc, /sys "
        "and /dev; those that allow_paths names are not.",
    )
    confirm: Whom = Field(
        "agents", description="Who is asked before something is destroyed, and agents before they write to strange places."
    )


class Limits(Table):
    """How much the machines of one server (``mcp``, ``serve``) may take. A command of the user's has what the host has."""

    machines: int | None = Field(None, ge=1, description=f"Machines at once; {DEFAULT_MACHINES} for agents.")
    memory: Size | None = Field(None, description="Memory of all machines together, as it is promised to their guests.")
    disk: Size | None = Field(
        None,
        description="What all running machines may take on the disk, with their snapshots and what they have left; machines that "
        "go beyond are paused.",
    )
    lease: Seconds | None = Field(
        None, description="How long a machine of an agent may stay unused before it is destroyed: 2h, 30m; 2h by default."
    )
    run_time: Seconds | None = Field(None, description="How long a machine of an agent may live, used or not.")


class Audit(Table):
    """What is written down of calls."""

    of: Whom = Field("agents", description="Whose calls are written down.")
    file: Folder | None = Field(None, description="The log; `audit.jsonl` in the state folder where it is not given.")
    hide: tuple[str, ...] = Field(
        (), description="Arguments of which only the length is kept: `vm_input.text`, or `*.text` for all operations."
    )
