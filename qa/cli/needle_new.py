"""Makes a needle: takes the picture, and the areas from the command line or from a page in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa.cli.needle_source import Source
from qa.errors import UsageError
from qa.places import is_there
from qa.screen.needle import read_json, read_needle
from qa.screen.needle_file import add_click, check_description, check_name, parse_area, parse_exclude, write_needle
from qa.screen.picture import frame_from_picture


@dataclass(frozen=True)
class Wish:
    """What the command line says of a needle, as it was written."""

    areas: tuple[str, ...]
    excludes: tuple[str, ...]
    clicks: tuple[str, ...]
    tags: tuple[str, ...]
    workaround: str | None

    @property
    def options(self) -> list[str]:
        """Those that were given."""
        given = {"--area": self.areas, "--exclude": self.excludes, "--click": self.clicks, "--tag": self.tags}
        return [option for option, texts in given.items() if texts] + ["--workaround"] * (self.workaround is not None)


def make(name: str, folder: Path, source: Source, wish: Wish, *, edit: bool, force: bool) -> Path:
    """Make the needle ``name`` in ``folder``; its JSON file.

    Raises:
        QaError: it cannot be made; nothing has been written then.
    """
    check_name(name)
    path = folder / f"{name}.json"
    source.check()
    anew = source.given
    if anew and not force:
        _check_free(path)
    if not anew and not (edit and is_there(path)):
        raise UsageError(
            "there is no picture to make it of", hint="--from RESULTS, --from SHOT.png, --image IMAGE, or --resume RESULTS"
        )
    if not anew and wish.options:
        raise UsageError(
            f"{' and '.join(wish.options)} would change nothing: there is a needle {path} already",
            hint="leave them out and change it on the page, or give a picture and --force to make it anew",
        )
    data = _wanted(name, wish) if anew else dict(read_json(path))
    if anew and not wish.areas and not edit:
        raise UsageError("no area says what must be seen", hint="--area X,Y,WxH, or draw areas with --edit")
    frame = source.frame() if anew else frame_from_picture(read_needle(path).picture)

    def write(drawn: dict[str, Any]) -> None:
        check_description(path, drawn, (frame.width, frame.height))
        write_needle(path, drawn, frame if anew else None)

    if edit:
        from qa.cli.needle_page import draw

        draw(name, data, frame, write)
    else:
        write(data)
    return path


def _check_free(path: Path) -> None:
    """Refuse to write over a needle, or over a picture that is none yet."""
    if is_there(path):
        raise UsageError(
            f"there is a needle {path} already", hint="--force replaces it; --edit without a picture changes its areas"
        )
    if is_there(picture := path.with_suffix(".png")):
        raise UsageError(f"there is a picture {picture} already", hint="--force replaces it")


def _wanted(name: str, wish: Wish) -> dict[str, Any]:
    areas = [*map(parse_area, wish.areas), *map(parse_exclude, wish.excludes)]
    for one in wish.clicks:
        add_click(areas, one)
    properties = [] if wish.workaround is None else [{"name": "workaround", "value": wish.workaround}]
    return {"area": areas, "properties": properties, "tags": list(wish.tags or (name,))}
