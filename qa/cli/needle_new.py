"""Makes a needle: takes the picture, and the areas from the command line or from a page in the browser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa.errors import QaError, UsageError
from qa.screen.needle import read_json, read_needle
from qa.screen.needle_file import add_click, check_description, check_name, parse_area, parse_exclude, write_needle
from qa.screen.picture import frame_from_picture

if TYPE_CHECKING:
    from qa.scenario.results import StepResult
    from qa.screen.frames import Frame


@dataclass(frozen=True)
class Wish:
    """What the command line says of a needle, as it was written."""

    source: Path | None
    image: str | None
    areas: tuple[str, ...]
    excludes: tuple[str, ...]
    clicks: tuple[str, ...]
    tags: tuple[str, ...]
    workaround: str | None


def make(name: str, folder: Path, wish: Wish, *, edit: bool, force: bool) -> Path:
    """Make the needle ``name`` in ``folder``; its JSON file.

    Raises:
        QaError: it cannot be made; nothing has been written then.
    """
    check_name(name)
    path = folder / f"{name}.json"
    anew = bool(wish.source or wish.image)
    if wish.source and wish.image:
        raise UsageError("--from and --image are two pictures", hint="take one of them")
    if path.exists() and anew and not force:
        raise UsageError(
            f"there is a needle {path} already", hint="--force replaces it; --edit without a picture changes its areas"
        )
    if not anew and not (edit and path.exists()):
        raise UsageError("there is no picture to make it of", hint="--from RESULTS, --from SHOT.png, or --image IMAGE")
    data = _wanted(name, wish) if anew else dict(read_json(path))
    if anew and not wish.areas and not edit:
        raise UsageError("no area says what must be seen", hint="--area X,Y,WxH, or draw areas with --edit")
    frame = _picture(wish) if anew else frame_from_picture(read_needle(path).picture)
    if edit:
        from qa.cli.needle_page import draw

        data = draw(path, data, frame)
    check_description(path, data, (frame.width, frame.height))
    write_needle(path, data, frame if anew else None)
    return path


def _wanted(name: str, wish: Wish) -> dict[str, Any]:
    areas = [*map(parse_area, wish.areas), *map(parse_exclude, wish.excludes)]
    for one in wish.clicks:
        add_click(areas, one)
    properties = [] if wish.workaround is None else [{"name": "workaround", "value": wish.workaround}]
    return {"area": areas, "properties": properties, "tags": list(wish.tags or (name,))}


def _picture(wish: Wish) -> Frame:
    if wish.image:
        return asyncio.run(_screen_of(wish.image))
    assert wish.source
    return frame_from_picture(_picture_of_run(wish.source) if wish.source.is_dir() else wish.source)


def _picture_of_run(folder: Path) -> Path:
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


def _all_steps(steps: list[StepResult]) -> list[StepResult]:
    return [one for step in steps for one in (step, *_all_steps(step.steps))]


async def _screen_of(image: str) -> Frame:
    """The screen of a machine of ``image`` that is ready."""
    import tempfile

    from qa.cli.progress import shown
    from qa.config import load_config
    from qa.fleet import Owner
    from qa.operations.boot import Host, Place
    from qa.operations.options import MachineOptions
    from qa.paths import Paths

    paths = Paths.from_environment()
    with Owner.register(paths) as owner, shown() as bus, tempfile.TemporaryDirectory(dir=owner.folder) as work:
        out = Path(work)
        host = Host(paths, load_config(paths), owner)
        place = Place(out, out / "console.log", out / "qemu.log", Path.cwd())
        blueprint = await host.blueprint("needle", image, MachineOptions(), {}, place=place, bus=bus)
        async with host.open_machine(blueprint, place=place, bus=bus) as machine:
            return await machine.grab()
