"""``result.json``: the one source from which every report derives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from qa.events import Outcome

SCHEMA = 1
"""Version of the layout; it grows when a field changes its meaning or goes away, not when one is added."""


class Result(BaseModel):
    """Base of the models in ``result.json``."""

    model_config = ConfigDict(extra="forbid")


class CommandOutcome(Result):
    """What a command in the guest gave. A stream that was cut says so, and how long it was."""

    command: str
    exit_code: int | None = Field(description="None where the command was killed at its limit or its machine died.")
    stdout: str
    stderr: str
    truncated: bool = False
    duration_s: float


class TileResult(Result):
    """The part of an area that differs most, on the screen. Pixels."""

    x: int
    y: int
    width: int
    height: int
    similarity: float
    wanted: float


class AreaResult(Result):
    """An area of a needle, where it was found on the screen, and how well. Pixels."""

    kind: Literal["match", "exclude", "text"]
    x: int
    y: int
    width: int
    height: int
    from_x: int = Field(description="Where it lies in the needle's picture.")
    from_y: int
    similarity: float | None = Field(description="0 to 1; null for what was not compared: excluded areas, texts not read.")
    wanted: float = Field(description="The similarity from which on it matches.")
    matched: bool
    metric: str
    text: str = Field("", description="What was read there, for text areas.")
    worst_tile: TileResult | None = Field(None, description="Where each tile must be alike too, the one that is least so.")
    number: int = Field(0, description="Which of the needle's areas it is, from 1.")


class CandidateResult(Result):
    """A needle that was compared with the screen."""

    needle: str
    source: str = Field(description="The needle's picture where it was taken from.")
    picture: str = Field(description="A copy of it, relative to the results folder; empty where it could not be copied.")
    matched: bool
    error: float
    workaround: str | None = Field(None, description="Why it stands for a known defect; null where it does not.")
    areas: list[AreaResult]


class MarkResult(Result):
    """A place on the screen that is pointed out. Pixels."""

    label: str
    x: int
    y: int
    width: int
    height: int


class ScreenResult(Result):
    """What was looked for on the screen, and what was found."""

    wanted: str
    frame: str = Field(description="The frame it was looked for in, relative to the results folder.")
    width: int
    height: int
    note: str = Field("", description="That the frame is black, or that the display was off or not set up yet.")
    candidates: list[CandidateResult] = Field(default_factory=list, description="Needles, the best first.")
    marks: list[MarkResult] = Field(default_factory=list, description="Other places: a text that was found, an area that moved.")


class StepResult(Result):
    """One step. ``steps`` are those inside a subtest, a repeat or a branch."""

    index: str = Field(description="1, 2, ...; steps inside a step are 3.1, 3.2.")
    name: str
    verb: str
    machine: str | None = None
    outcome: Outcome
    allowed_failure: bool = Field(False, description="It failed, and the script said that it may.")
    started_s: float = Field(description="Since the start of the run.")
    duration_s: float
    attempts: int = 1
    detail: str = Field("", description="One sentence: why it failed, or what was found.")
    hint: str = ""
    place: str = Field("", description="file:line:column of the step in its script.")
    command: CommandOutcome | None = None
    screen: ScreenResult | None = None
    evidence: list[str] = Field(default_factory=list, description="Files, relative to the results folder.")
    steps: list[StepResult] = Field(default_factory=list)


class MachineResult(Result):
    """One machine of the run."""

    name: str
    branch: str = Field("", description="Of a fork for a branch: the branch's index and name, as in the names of its files.")
    image: str
    start: Literal["cold", "warm", "fork"] = "cold"
    ready_s: float | None = Field(None, description="From power-on to ready; None where it never was.")
    stages: dict[str, float] = Field(default_factory=dict, description="Rung of the ladder to seconds since power-on.")
    memory: int = 0
    cpus: int = 0
    channel: str = ""
    forwards: dict[int, int] = Field(default_factory=dict, description="Port of the guest to the port on 127.0.0.1.")
    ended: str = ""
    console: str = Field("", description="The raw serial console, relative to the results folder.")
    console_moments: list[tuple[float, Annotated[int, Field(ge=0)]]] = Field(
        default_factory=list,
        description="Seconds since the start of the run, and how many bytes of the console were there; the last before each "
        "end of a step and each picture of a film.",
    )
    qemu_log: str = ""


class FilmFrameResult(Result):
    """One picture of a film. Those before it show through where its file does not reach."""

    at: float = Field(description="Since the start of the run.")
    file: str = Field(description="What changed since the picture before it, relative to the results folder.")
    x: int = Field(description="Where that lies on the screen.")
    y: int
    width: int = Field(description="Of the whole screen.")
    height: int
    note: str = Field("", description="That the screen is black, or that the display was off or not set up yet.")


class FilmResult(Result):
    """What the screen of a machine showed in the course of the run: only what changed, and thinned where that is much."""

    machine: str
    branch: str = Field("", description="As for machines.")
    file: str = Field("", description="The video, relative to the results folder; empty where none could be made.")
    seen: int = Field(description="Different pictures that were seen; of many, fewer are kept.")
    frames: list[FilmFrameResult]


class HostResult(Result):
    """What ran the machines."""

    qemu: str = ""
    accel: str = ""
    accel_reason: str = Field("", description="Why this accelerator, in one sentence.")
    firmware: str = ""
    system: str = ""
    anima_qa: str = ""


class KeptResult(Result):
    """The machines as they were when a step failed, to be gone on with by ``run --resume``."""

    machines: dict[str, str] = Field(description="Name to the id of the frozen state.")
    step: str = Field(pattern=r"^[1-9]\d*(\.[1-9]\d*)*$", description="Index of the failed step.")
    script: str = Field(description="The script's absolute path.")
    variables: dict[str, str] = Field(default_factory=dict, description="Those that the command line had set.")
    image: str | None = Field(None, description="The image that the command line had put in the place of the script's.")


class RunResult(Result):
    """A whole run."""

    schema_version: int = Field(SCHEMA, alias="schema")
    name: str
    script: str
    variables: dict[str, str] = Field(default_factory=dict)
    outcome: Outcome
    reason: str = Field("", description="One sentence, empty when it passed.")
    hint: str = ""
    exit_status: int
    started: str = Field(description="ISO 8601, UTC.")
    duration_s: float
    host: HostResult = Field(default_factory=HostResult)
    machines: list[MachineResult] = Field(default_factory=list)
    films: list[FilmResult] = Field(default_factory=list)
    steps: list[StepResult] = Field(default_factory=list)
    evidence: list[str] = Field(default_factory=list, description="What was seen when the run ended outside a step.")
    kept: KeptResult | None = None
    resumed_from: str = Field("", description="The results folder of the run that this one went on from.")

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
