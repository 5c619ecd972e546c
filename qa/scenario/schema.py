"""The shape of scripts: what may stand at the top of a file, beside a verb, and behind the verbs that give structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from qa.deadline import parse_duration
from qa.errors import UsageError
from qa.operations.options import MachineOptions
from qa.patterns import compile_pattern

MAX_ROUNDS = 10_000
"""Each round is kept in the results; a script that needs more wants a loop in the guest's shell."""
MAX_RETRIES = 1_000
MAX_FORKS = 256
"""Each has machines and logs of its own."""
DEFAULT_RETRY_DELAY_S = 1.0
"""Long enough not to hammer a guest, short enough not to be noticed."""


def _duration(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        return value
    try:
        return parse_duration(value)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.hint}") from None


def _pattern(value: Any) -> Any:
    try:
        compile_pattern(str(value))
    except UsageError as error:
        raise ValueError(error.message) from None
    return value


Duration = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=float | str),
    Field(description="Seconds, or with units: 90, 90s, 1m30s, 500ms."),
]
Pattern = Annotated[str, BeforeValidator(_pattern, json_schema_input_type=str)]
A_STEP = {"$comment": "a step"}
"""Stands in the models' schemas where a step does: what a step is depends on the catalogue."""
Steps = Annotated[
    list[Any],
    Field(min_length=1, description="Run one after the other."),
    WithJsonSchema({"type": "array", "minItems": 1, "items": A_STEP}),
]
Variables = Annotated[
    dict[str, Any],
    Field(description="Variables, used as ${name}; --var on the command line replaces them."),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
]
_VALUE = {"type": ["string", "number", "boolean"]}
_COMBINATIONS = {"type": "array", "minItems": 1, "items": {"type": "object", "minProperties": 1, "additionalProperties": _VALUE}}
MatrixOf = Annotated[
    dict[str, Any],
    Field(
        description="One run for each combination. Each name is a variable; image, start, memory, cpus, disk, network and "
        "channel apply to the machines too. exclude leaves combinations out, include adds to them."
    ),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "properties": {"include": _COMBINATIONS, "exclude": _COMBINATIONS},
            "additionalProperties": {"type": "array", "minItems": 1, "items": _VALUE},
        }
    ),
]


class Model(BaseModel):
    """Base of the models: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Retry(Model):
    """How often and after which pause a failed step is tried again."""

    times: int = Field(ge=1, le=MAX_RETRIES, description="How many more times.")
    delay: Duration = Field(DEFAULT_RETRY_DELAY_S, description="Pause before each further try.")


def _retry(value: Any) -> Any:
    return value if isinstance(value, dict | Retry) else {"times": value}


class Expect(Model):
    """What a command must give. Regular expressions are searched for anywhere, ``^`` and ``$`` match at each line."""

    exit_code: int | None = Field(None, description="Exit status of the command.")
    stdout: Pattern | None = Field(None, description="Regular expression to be found in the output.")
    stderr: Pattern | None = Field(None, description="Regular expression to be found in the error output.")


class Modifiers(Model):
    """What may stand beside the verb of any step."""

    name: str | None = Field(None, description="What the step is about, for the report.")
    timeout: Duration | None = Field(None, gt=0, description="Time limit of the step.")
    retry: Annotated[Retry, BeforeValidator(_retry, json_schema_input_type=int | Retry)] | None = Field(
        None, description="Try again when it failed: how many more times, or {times: 3, delay: 1s}."
    )
    expect: Expect | None = Field(None, description="What the command must give.")
    allow_failure: bool = Field(False, description="Go on when the step failed.")
    when: str | None = Field(
        None, description="Condition on variables, for example ${accel} == tcg; the step is skipped when it is false."
    )
    on: str | None = Field(None, description="The machine that the step is for.")


class SubtestArguments(Model):
    """Steps under one name: they pass or fail together."""

    name: str | None = Field(None, description="What they show together.")
    steps: Steps


class RepeatArguments(Model):
    """The same steps several times over; ``${round}`` counts from 1. The first failure ends it."""

    count: int = Field(ge=1, le=MAX_ROUNDS, description="How many times.")
    steps: Steps


BranchName = Annotated[str, Field(min_length=1, max_length=60)]


class BranchesArguments(Model):
    """Go on in several ways from the state of now, each in forks of all machines, in parallel.

    The machines themselves wait and are afterwards as they were. A branch that fails does not stop the others.
    """

    branches: dict[BranchName, Steps] = Field(min_length=1, max_length=MAX_FORKS, description="Name to steps.")


class ForkArguments(Model):
    """The same steps in several forks of all machines, in parallel; ``${fork}`` counts from 1."""

    count: int = Field(ge=1, le=MAX_FORKS, description="How many forks.")
    steps: Steps


class IncludeArguments(Model):
    """The steps of another file, which is a list of steps, or a mapping with ``steps`` and with defaults for ``vars``."""

    path: str = Field(min_length=1, description="The file, relative to the one that includes it.")
    vars: Variables = Field({}, description="Variables for the included steps.")


class RecordArguments(Model):
    """Put a note, or what a command prints, into the report. The command's exit status does not matter."""

    name: str | None = Field(None, description="Title of the entry.")
    text: str | None = Field(None, description="The note.")
    command: str | None = Field(None, description="A command to run in the guest.")

    @model_validator(mode="after")
    def _something(self) -> RecordArguments:
        if (self.text is None) == (self.command is None):
            raise ValueError("record needs either text or command")
        return self


STRUCTURE: dict[str, tuple[type[Model], str | None]] = {
    "subtest": (SubtestArguments, None),
    "repeat": (RepeatArguments, None),
    "branches": (BranchesArguments, "branches"),
    "fork": (ForkArguments, None),
    "include": (IncludeArguments, "path"),
    "record": (RecordArguments, "text"),
}
"""The verbs that give structure: their arguments, and the argument that a lone value stands for."""

WHOLE = frozenset({"branches"})
"""Verbs for which a mapping, too, is the value of that argument: its keys are names."""


class MachineEntry(MachineOptions):
    """One of several machines."""

    image: str | None = Field(None, min_length=1, description="Its image, where it is not the script's.")
    cloud_init: dict[str, Any] | None = Field(None, description="Its cloud-init data, where it is not the script's.")


MachineName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")]


class ScriptModel(Model):
    """A script."""

    name: str | None = Field(None, min_length=1, description="What it shows; the file's name where it is not given.")
    image: str | None = Field(
        None,
        min_length=1,
        description="builtin, a recipe (debian), a catalogue name (debian-13), a path, or a URL with a digest.",
    )
    machine: MachineOptions = Field(MachineOptions(), description="The hardware, and the ways into the guest.")
    machines: dict[MachineName, MachineEntry] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Several machines by name; the first is the one that steps without `on` are for.",
    )
    cloud_init: dict[str, Any] = Field({}, description="cloud-init user data, merged into the seed.")
    start: Literal["warm", "cold"] = Field("warm", description="warm: from the cached ready state; cold: through the firmware.")
    needles: list[Path] | None = Field(
        None,
        description="Folders of needles, from the script's own on; needles/ and screenshots/ there where it is not given.",
    )
    vars: Variables = {}
    matrix: MatrixOf = {}
    steps: Steps


class FragmentModel(Model):
    """A file for ``include``."""

    name: str | None = None
    vars: Variables = {}
    steps: Steps


MODIFIERS = tuple(Modifiers.model_fields)
