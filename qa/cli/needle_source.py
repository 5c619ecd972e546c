"""Where the picture of a needle comes from: a file, a moment of a run, or the screen of a machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import DeadlineExceeded, QaError, UsageError
from qa.places import is_folder
from qa.screen.picture import frame_from_picture, read_picture

if TYPE_CHECKING:
    from qa.config import Config
    from qa.events import Bus
    from qa.machine import Machine
    from qa.paths import Paths
    from qa.report.folder import ResultsFolder
    from qa.scenario.results import FilmResult, RunResult, StepResult
    from qa.screen.frames import Frame

STILL_LIMIT = 20.0
"""Seconds that a machine's screen gets to come to rest. One on which a clock ticks never does, and is taken as it is."""


@dataclass(frozen=True)
class Source:
    """What the command line says of a picture.

    Attributes:
        origin: a results folder or a picture.
        step, at: the moment of the run that is meant.
        image: an image whose machine is started.
        resume: a results folder whose machines were kept.
        on: the machine, where there are several; with ``at`` also MACHINE-BRANCH.
        accel: how the machine is run.
    """

    origin: Path | None = None
    step: str | None = None
    at: float | None = None
    image: str | None = None
    resume: Path | None = None
    on: str | None = None
    accel: str | None = None

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: it does not.
        """
        pictures = [
            option for option, given in (("--from", self.origin), ("--image", self.image), ("--resume", self.resume)) if given
        ]
        if len(pictures) > 1:
            raise UsageError(f"{' and '.join(pictures)} are two pictures", hint="take one of them")
        if self.step is not None and self.at is not None:
            raise UsageError("--step and --at are two moments", hint="take one of them")
        of_run = self.origin is not None and is_folder(self.origin)
        for option, given, right, needed in (
            ("--step", self.step is not None, of_run, "--from RESULTS"),
            ("--at", self.at is not None, of_run, "--from RESULTS"),
            ("--on", self.on is not None, self.resume is not None or self.at is not None, "--resume RESULTS, or --at"),
            ("--accel", self.accel is not None, bool(self.image or self.resume), "--image IMAGE, or --resume RESULTS"),
        ):
            if given and not right:
                raise UsageError(f"{option} needs {needed}", hint="leave it out, or say of what the picture is")

    @property
    def given(self) -> bool:
        """Whether there is a picture at all."""
        return bool(self.origin or self.image or self.resume)

    def frame(self) -> Frame:
        """The picture.

        Raises:
            QaError: it cannot be had.
        """
        if self.image or self.resume:
            return asyncio.run(self._screen())
        assert self.origin
        if not is_folder(self.origin):
            return frame_from_picture(self.origin)
        if self.at is not None:
            return _film_at(self.origin, self.at, self.on)
        return frame_from_picture(_of_step(self.origin, self.step) if self.step else _of_run(self.origin))

    async def _screen(self) -> Frame:
        from qa.config import load_config
        from qa.paths import Paths

        paths = Paths.from_environment()
        config = load_config(paths, accel=self.accel)
        return await (_started(self.image, config, paths) if self.image else self._kept(config, paths))

    async def _kept(self, config: Config, paths: Paths) -> Frame:
        """The screen of a machine that a failed run had kept."""
        from qa.cli.enter import kept_machine
        from qa.operations import CATALOGUE
        from qa.scenario.resume import read_kept
        from qa.snapshots.store import Store

        assert self.resume
        kept = read_kept(self.resume)
        kept.check(Store.of(paths, config).get)
        script = kept.script(None, CATALOGUE, {})
        async with kept_machine(kept, script, kept.machine(self.on), config, paths) as (machine, bus):
            return await _at_rest(machine, bus)


async def _started(image: str, config: Config, paths: Paths) -> Frame:
    """The screen of a machine of ``image`` that is ready."""
    import tempfile

    from qa.cli.progress import shown
    from qa.fleet import Owner
    from qa.operations.boot import Host, Place
    from qa.operations.options import MachineOptions

    with Owner.register(paths) as owner, shown() as bus, tempfile.TemporaryDirectory(dir=owner.folder) as work:
        out = Path(work)
        host = Host(paths, config, owner)
        place = Place(out, out / "console.log", out / "qemu.log", Path.cwd())
        blueprint = await host.blueprint("needle", image, MachineOptions(), {}, place=place, bus=bus)
        async with host.open_machine(blueprint, place=place, bus=bus) as machine:
            return await _at_rest(machine, bus)


async def _at_rest(machine: Machine, bus: Bus) -> Frame:
    """The screen when nothing moves on it any more; else as it is."""
    try:
        return (await machine.wait_for_still_screen(timeout=STILL_LIMIT)).frame
    except DeadlineExceeded as error:
        bus.notice(f"the screen is taken as it is: {error.message}", "warning")
        return await machine.grab()


def _of_run(folder: Path) -> Path:
    """The screen of the last step of a run that looked for a needle; else its last picture."""
    from qa.report.folder import ResultsFolder

    try:
        result = ResultsFolder(folder).read_result()
    except QaError:  # an older run's, or a folder of pictures
        result = None
    looks = [step.screen.frame for step in _all_steps(result.steps) if step.screen] if result else []
    if looks and (folder / looks[-1]).is_file():
        return folder / looks[-1]
    shots = sorted([*folder.glob("*.png"), *folder.glob("shots/*.png")], key=lambda path: path.stat().st_mtime_ns)
    if not shots:
        raise UsageError(f"there is no picture in {folder}", hint="give a results folder of a run with pictures, or a PNG file")
    return shots[-1]


def _of_step(folder: Path, index: str) -> Path:
    """The screen that a step looked at, or the picture that it took or left."""
    run, result = _read(folder)
    steps = _all_steps(result.steps)
    pictures = {step.index: path for step in steps if (path := _picture(run, step))}
    if index in pictures:
        return pictures[index]
    there = any(step.index == index for step in steps)
    having = ", ".join(pictures) if pictures else "none"
    raise UsageError(
        f"step {index} of {folder} has no picture" if there else f"there is no step {index} in {folder}",
        hint=f"steps with pictures: {having}; --at takes any moment of the film",
    )


def _picture(run: ResultsFolder, step: StepResult) -> Path | None:
    names = [step.screen.frame] if step.screen else [name for name in step.evidence if name.endswith(".png")]
    return run.find(names[-1]) if names else None


def _film_at(folder: Path, at: float, on: str | None) -> Frame:
    """What a machine's film shows at a moment: the parts that had changed until then, one over the other."""
    import numpy as np

    from qa.screen.frames import Frame

    run, result = _read(folder)
    film = _film(folder, result, at, on)
    until = [one for one in film.frames if one.at <= at] or film.frames[:1]
    width, height = until[-1].width, until[-1].height
    screen = np.zeros((height, width, 3), np.uint8)
    for one in until:
        path = run.find(one.file)
        if path is None:
            raise UsageError(f"a picture of the film is gone: {folder / one.file}", hint="take a step's picture with --step")
        if (one.width, one.height) == (width, height):
            part = read_picture(path)[: height - one.y, : width - one.x]
            screen[one.y : one.y + part.shape[0], one.x : one.x + part.shape[1]] = part
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + screen.tobytes())


def _film(folder: Path, result: RunResult, at: float, on: str | None) -> FilmResult:
    """The one that is meant: of a machine and its forks the one that was filmed at that moment."""
    films = [one for one in result.films if one.frames]
    fitting = [one for one in films if on in {None, one.machine, _name(one)}]
    if not fitting:
        of_whom = f" of {on}" if on else ""
        names = ", ".join(map(_name, films))
        hint = f"there are films of: {names}" if names else "take a step's picture with --step"
        raise UsageError(f"there is no film{of_whom} in {folder}", hint=hint)
    machines = dict.fromkeys(one.machine for one in fitting)
    if len(machines) > 1:
        raise UsageError(f"several machines have a film in {folder}", hint=f"--on {' or --on '.join(machines)}")
    if len(fitting) == 1:
        return fitting[0]
    spans = {_name(one): _span(one, result) for one in fitting}
    then = [one for one in fitting if spans[_name(one)][0] <= at <= spans[_name(one)][1]]
    named = [one for one in then if on == _name(one)] or then
    if len(named) == 1:
        return named[0]
    told = ", ".join(f"{name} ({first:.1f} to {last:.1f} s)" for name, (first, last) in spans.items())
    several = "several films show" if then else "no film shows"
    raise UsageError(
        f"{several} {at:g} s in {folder}", hint=f"{'name one with --on' if then else 'take another moment'}; there are: {told}"
    )


def _name(film: FilmResult) -> str:
    """Of a film: MACHINE, or MACHINE-BRANCH as in the names of its files."""
    return f"{film.machine}-{film.branch}" if film.branch else film.machine


def _span(film: FilmResult, result: RunResult) -> tuple[float, float]:
    """When it begins, and when its last change is seen or the last step of its own ends: a screen may stand still."""
    from qa.report.moments import ran_on

    branches = {one.branch for one in result.films} | {one.branch for one in result.machines}
    forks = [branch for branch in branches if _is_inside(branch, film.branch)]
    own = [
        step.started_s + step.duration_s
        for step in _all_steps(result.steps)
        if not step.steps
        and ran_on(film.machine, film.branch, step)
        and not any(ran_on(film.machine, fork, step) for fork in forks)
    ]
    return film.frames[0].at, max([film.frames[-1].at, *own])


def _is_inside(branch: str, other: str) -> bool:
    """Whether a branch, which is called after its index, is one of ``other``, or of the machine itself where that is empty."""
    return bool(branch) and (not other or branch.startswith(f"{other.partition('-')[0]}."))


def _read(folder: Path) -> tuple[ResultsFolder, RunResult]:
    from qa.report.folder import ResultsFolder

    run = ResultsFolder(folder)
    return run, run.read_result()


def _all_steps(steps: list[StepResult]) -> list[StepResult]:
    return [one for step in steps for one in (step, *_all_steps(step.steps))]
