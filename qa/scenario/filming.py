"""The films of a run's machines: recorded while they live, and put into the results folder when they are gone."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qa.events import Bus
from qa.report.folder import ResultsFolder, slug
from qa.scenario.results import FilmFrameResult, FilmResult
from qa.screen.cutting import Cut, cut_film
from qa.screen.film import Film
from qa.screen.video import make_video

FEWEST = 2
"""Pictures of a film: of a screen that never changed, a screenshot tells as much."""


@dataclass(frozen=True)
class Take:
    """The film of one machine, in the results folder. ``label`` is that of a fork for a branch."""

    machine: str
    label: str
    video: Path | None
    seen: int
    cuts: list[Cut]

    def result(self, folder: ResultsFolder, began: float) -> FilmResult:
        """As it stands in the result of the run that began at ``began``, in monotonic seconds."""
        frames = [
            FilmFrameResult(
                at=round(max(0.0, cut.shot.at - began), 3),
                file=folder.relative(cut.file),
                x=cut.x,
                y=cut.y,
                width=cut.shot.width,
                height=cut.shot.height,
                note=cut.shot.note,
            )
            for cut in self.cuts
        ]
        video = folder.relative(self.video) if self.video else ""
        return FilmResult(machine=self.machine, branch=self.label, file=video, seen=self.seen, frames=frames)


@dataclass(frozen=True)
class Films:
    """Records the machines of one run.

    Attributes:
        folder: of the run's results.
        bus: told why a film could not be kept.
        work: a folder for pictures while machines live; who owns it removes what a killed run leaves there.
        wanted: without it there are no films.
        takes: the films that are done.
    """

    folder: ResultsFolder
    bus: Bus
    work: Path
    wanted: bool = True
    takes: list[Take] = field(default_factory=list)

    @asynccontextmanager
    async def of(self, name: str, label: str = "") -> AsyncGenerator[Film | None]:
        """The film of machine ``name``, open as long as the machine. That it cannot be kept is no failure of the run."""
        if not self.wanted:
            yield None
            return
        film = Film(self.work / f"film-{secrets.token_hex(4)}")
        try:
            yield film
        finally:
            try:
                await self._finish(film, name, label)
            finally:
                shutil.rmtree(film.folder, ignore_errors=True)

    async def _finish(self, film: Film, name: str, label: str) -> None:
        await film.develop(last=True)
        if film.problem:
            self.bus.notice(f"the film of {name} is not complete: {film.problem}", "warning")
        if len(film.shots) < FEWEST:
            return
        stem = "-".join(slug(part) for part in (name, label) if part)
        pictures = self.folder.path / "film" / stem
        cutting = asyncio.create_task(asyncio.to_thread(cut_film, film.shots, pictures))
        try:
            video = await make_video(film.shots, self.folder.path / f"film-{stem}")
        finally:
            await asyncio.wait({cutting})  # its pictures are there until it has ended
        try:
            self.takes.append(Take(name, label, video, film.seen, await cutting))
        except OSError as error:
            shutil.rmtree(pictures, ignore_errors=True)
            self.bus.notice(f"there is no film of {name}: {error.strerror or error}", "warning")
