"""Settings that a user may fix for good: flag before environment before ``config.toml`` before default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from qa.deadline import DEFAULT_TCG_FACTOR
from qa.errors import UsageError
from qa.paths import Paths
from qa.rules import AnyPath, Audit, Limits, Policy
from qa.sizes import Size

MAX_JOBS = 64


def _jobs(value: Any) -> Any:
    """``auto``, or a number: on the command line and in the environment it is a text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number != "auto" and not (type(number) is int and 1 <= number <= MAX_JOBS):
        raise ValueError(f"should be auto or a number from 1 to {MAX_JOBS}")
    return number


Jobs = Annotated[
    int | Literal["auto"], BeforeValidator(_jobs), WithJsonSchema({"anyOf": [{"type": "integer"}, {"enum": ["auto"]}]})
]


class Config(BaseModel):
    """The settings, with their defaults. Each is also an environment variable: ``accel`` is ``ANIMA_QA_ACCEL``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accel: Literal["auto", "kvm", "tcg"] = Field("auto", description="Accelerator: kvm (hardware), tcg (software) or what works.")
    require_kvm: bool = Field(False, description="Refuse to run when KVM does not work, instead of using software emulation.")
    qemu: AnyPath | None = Field(None, description="The QEMU program, where it is not the one found in PATH.")
    out: AnyPath = Field(Path("results"), description="Folder in which each run makes its results folder.")
    jobs: Jobs = Field(
        "auto", description="How many runs at once, 1 to 64; auto: as many as this host has memory and processors for."
    )
    film: bool = Field(True, description="Keep a film of what machines show in a run.")
    snapshots: AnyPath | None = Field(
        None, description="Folder of frozen machines; `snapshots` in the cache where it is not given."
    )
    snapshot_limit: Size | None = Field(
        None,
        description="How much frozen machines may take on the disk, for example 20G; where it is not given 20 GiB, or half of "
        "what is free there and taken by them, if that is less.",
    )
    tcg_factor: float = Field(
        DEFAULT_TCG_FACTOR, ge=1, le=100, description="Time limits on guests are multiplied by this under software emulation."
    )
    policy: Policy = Field(Policy(), description="What may be done: a table of the file alone.")
    limits: Limits = Field(Limits(), description="How much machines may take: a table of the file alone.")
    audit: Audit = Field(Audit(), description="What is written down of calls: a table of the file alone.")


TABLES = ("policy", "limits", "audit")
"""Settings of several parts. Rights are not a matter of who starts the program how, so they are in the file alone."""


def load_config(paths: Paths, environment: Mapping[str, str] = os.environ, **flags: Any) -> Config:
    """The settings in force. A flag that is None was not given.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown or has a wrong value; the message names its place.
    """
    settings: dict[str, Any] = {}
    origin: dict[str, str] = {}
    file = paths.config / "config.toml"
    try:
        in_file = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        in_file = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        hint = (
            "let HOME, XDG_CONFIG_HOME or ANIMA_QA_HOME name a folder that is yours"
            if isinstance(error, PermissionError)
            else None
        )
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {file}: {said}", hint=hint) from error
    in_environment = {
        name: environment[variable]
        for name in Config.model_fields
        if name not in TABLES and environment.get(variable := f"ANIMA_QA_{name.upper()}")
    }
    given = {name: value for name, value in flags.items() if value is not None}
    for place, values in ((str(file), in_file), ("the environment", in_environment), ("the command line", given)):
        settings.update(values)
        origin.update(dict.fromkeys(values, place))
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise _complaint(error, origin) from error


def _complaint(error: ValidationError, origin: Mapping[str, str]) -> UsageError:
    problem = error.errors()[0]
    setting = str(problem["loc"][0])
    place = origin.get(setting, "somewhere")
    name = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
    if problem["type"] == "extra_forbidden":
        there: Mapping[str, Any] = Config.model_fields
        if len(problem["loc"]) > 1:
            there = getattr(Config(), setting).__class__.model_fields
        near = get_close_matches(str(problem["loc"][-1]), there, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(there)}"
        return UsageError(f"there is no setting {name!r}, which is in {place}", hint=hint)
    said = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return UsageError(f"the setting {name!r} from {place} {said}, and is {problem['input']!r}")
