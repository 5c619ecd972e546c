"""``anima-qa needle``: make needles out of pictures of screens, and check them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import HostError, UsageError
from qa.places import is_folder

if TYPE_CHECKING:
    from qa.screen.frames import Frame
    from qa.screen.sight import AreaMatch, Candidate

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
BAD_INPUT = UsageError.exit_code


@click.group("needle")
def command() -> None:
    """Make needles, and check them.

    A needle is a picture of a screen (NAME.png) and a file that says which areas of it count (NAME.json), as in openQA.
    """


@command.command("check")
@click.argument("needles", nargs=-1, type=click.Path(path_type=Path), metavar="NEEDLE.json...")
@click.option("--screen", type=click.Path(path_type=Path), metavar="SHOT.png", help="Compare them with this saved screen.")
@click.option("--search-ratio", type=click.FloatRange(0, 1), metavar="R", help="0 looks within margins (default), 1 everywhere.")
@click.option("--text-language", metavar="LANGUAGE", help="What texts there are written in, for tesseract (default eng).")
@json_option
def check(
    needles: tuple[Path, ...], screen: Path | None, search_ratio: float | None, text_language: str | None, as_json: bool
) -> int:
    """Tell what is wrong with needles; with --screen, whether they are seen there, and how well each area is.

    A folder stands for all needles in it. The exit status is 0 when all are in order, and all match; 1 when one does not match;
    2 when one cannot be used; 3 when a text cannot be read here.
    """
    if search_ratio is not None and screen is None:
        raise UsageError("--search-ratio needs --screen", hint="it says how far areas are looked for in the screen")
    if text_language is not None and screen is None:
        raise UsageError("--text-language needs --screen", hint="it says in which language the screen is read")
    paths = list(_all_of(needles))
    if not paths:
        raise UsageError("no needle was given", hint="anima-qa needle check needles/*.json")
    return (
        _lint(paths, as_json) if screen is None else _compare(paths, screen, search_ratio or 0.0, text_language or "eng", as_json)
    )


def _all_of(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if not is_folder(path):
            yield path.with_suffix(".json") if path.suffix == ".png" else path
            continue
        inside = sorted(path.rglob("*.json"))
        if not inside:
            raise UsageError(f"there are no needles in {path}", hint="a needle is a .json file beside a .png file of its name")
        yield from inside


def _lint(paths: list[Path], as_json: bool) -> int:
    from qa.cli.output import print_json
    from qa.screen.needle_lint import lint_needle

    found = [(path, *lint_needle(path)) for path in paths]
    if as_json:
        print_json([{"needle": path.stem, "file": str(path), "problems": bad, "notes": notes} for path, bad, notes in found])
    else:
        for path, bad, notes in found:
            for text in bad:
                click.secho(text, fg="red")
            for text in notes:
                click.secho(text, fg="yellow")
            if not bad and not notes:
                click.echo(f"{path}: {click.style('ok', fg='green')}")
    return BAD_INPUT if any(bad for _, bad, _ in found) else 0


def _compare(paths: list[Path], screen: Path, search_ratio: float, language: str, as_json: bool) -> int:
    import asyncio

    from qa.cli.output import print_json
    from qa.screen.needle_lint import lint_needle
    from qa.screen.picture import frame_from_picture

    frame = frame_from_picture(screen)
    problems = {path: bad for path in paths if (bad := lint_needle(path)[0])}
    usable = [path for path in paths if path not in problems]
    candidates, sizes = asyncio.run(_looked_for(usable, frame, search_ratio, language))
    if as_json:
        seen = {one.picture: one for one in candidates}
        records = [
            _record(seen[path.with_suffix(".png")]) if path not in problems else _unusable(path, problems[path]) for path in paths
        ]
        print_json(records)
    else:
        for one in candidates:
            _print(one, sizes[one.picture], (frame.width, frame.height))
        for text in (text for bad in problems.values() for text in bad):
            click.secho(text, fg="red")
        if search_ratio < 1 and not all(one.matched for one in candidates):
            click.echo("  -> areas were looked for near their places; --search-ratio 1 looks everywhere")
    if problems:
        return BAD_INPUT
    if any(one.unread for one in candidates):
        return HostError.exit_code
    return 0 if all(one.matched for one in candidates) else 1


async def _looked_for(
    paths: list[Path], frame: Frame, search_ratio: float, language: str
) -> tuple[tuple[Candidate, ...], dict[Path, tuple[int, int]]]:
    """What became of the needles, the best first, and the sizes of their pictures. Only one at a time is in memory."""
    from qa.screen.look import look_for
    from qa.screen.matching import ranked
    from qa.screen.needle import read_needle

    candidates: list[Candidate] = []
    sizes = {}
    for path in paths:
        needle = read_needle(path)
        sizes[needle.picture] = needle.size
        candidates += await look_for(frame, [needle], search_ratio, language=language)
    return ranked(candidates), sizes


def _record(one: Candidate) -> dict[str, Any]:
    return {
        "needle": one.name,
        "matched": one.matched,
        "error": one.error,
        "areas": [_area(area) for area in one.areas if area.counts],
        **({"problems": [one.unread.message]} if one.unread else {}),
    }


def _area(area: AreaMatch) -> dict[str, Any]:
    place = {"x": area.x, "y": area.y, "w": area.width, "h": area.height}
    return {**place, "similarity": area.similarity, "matched": area.matched}


def _unusable(path: Path, problems: list[str]) -> dict[str, Any]:
    return {"needle": path.stem, "matched": False, "error": None, "areas": [], "problems": problems}


def _print(one: Candidate, made_at: tuple[int, int], size: tuple[int, int]) -> None:
    from qa.screen.telling import alike

    mark = click.style("matches", fg="green") if one.matched else click.style("does not match", fg="red")
    defect = "" if one.workaround is None else f" (a workaround{f' for {one.workaround}' if one.workaround else ''})"
    click.echo(f"{one.name}: {mark}{defect}, error {one.error:.6f}")
    for area in one.areas:
        moved = "" if (area.x, area.y) == (area.from_x, area.from_y) else f", from {area.from_x},{area.from_y}"
        read = f", read {area.text!r}" if area.kind == "text" and area.similarity is not None else ""
        mark = "  " if area.similarity is None else "ok" if area.matched else "no"
        told = f"{alike(area)} ({area.metric})" if area.counts else "left out"
        click.echo(f"  {mark}  {area.width}x{area.height} at {area.x},{area.y}{moved}: {told}{read}")
    if one.unread:
        click.secho(f"  {one.unread.message}{f' -> {one.unread.hint}' if one.unread.hint else ''}", fg="red")
    if made_at != size:
        click.echo(f"  the needle was made at {made_at[0]}x{made_at[1]} pixels, the screen has {size[0]}x{size[1]}")


@command.command("new")
@click.argument("name")
@click.option(
    "--from", "origin", type=click.Path(path_type=Path), metavar="RESULTS|SHOT.png", help="A run's folder or a picture."
)
@click.option("--step", metavar="INDEX", help="With a run's folder: the screen of this step, for example 3.1.")
@click.option("--at", metavar="TIME", help="With a run's folder: what its film shows at this time since its start: 12.5s.")
@click.option("--image", metavar="IMAGE", help="Start this image, and take the picture of its screen when that is still.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RESULTS", help="Take the screen of the machine that a failed run kept."
)
@click.option(
    "--on", metavar="MACHINE", help="With --resume or --at: the machine, where there are several; with --at also MACHINE-BRANCH."
)
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), help="With --image or --resume: how the machine is run.")
@click.option(
    "--area", "areas", multiple=True, metavar="X,Y,WxH[:MATCH%[:METRIC]]",
    help="What must be seen there. Metrics: openqa, colour, exact. May be given several times.",
)  # fmt: skip
@click.option("--exclude", "excludes", multiple=True, metavar="X,Y,WxH", help="What does not count, inside areas.")
@click.option("--click", "clicks", multiple=True, metavar="X,Y[:ID]", help="Where to click; inside an area, with which it moves.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag. By default the needle's name.")
@click.option("--workaround", metavar="WHY", help="It shows a known defect: it passes, and the report says so.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default="needles", metavar="DIR", help="Where it goes; needles/ here."
)
@click.option("--edit", is_flag=True, help="Open a page in the browser to draw the areas on the picture.")
@click.option("--force", is_flag=True, help="Replace a needle of this name.")
@json_option
def new(
    name: str,
    *,
    origin: Path | None,
    step: str | None,
    at: str | None,
    image: str | None,
    resume: Path | None,
    on: str | None,
    accel: str | None,
    folder: Path,
    edit: bool,
    force: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Make a needle out of a picture: of a run's results, of a file, or of a machine that is started for it.

    Of a run's folder the screen of the last step that looked for a needle is taken, or else its last picture; --step and --at
    name another moment. With --edit and no picture, the needle of this name is edited.
    """
    from qa.cli.needle_new import Wish, make
    from qa.cli.needle_source import Source
    from qa.cli.output import print_json
    from qa.deadline import parse_duration

    source = Source(origin, step, None if at is None else parse_duration(at), image, resume, on, accel)
    path = make(name, folder, source, Wish(**given), edit=edit, force=force)
    if as_json:
        print_json({"needle": name, "file": str(path), "picture": str(path.with_suffix(".png"))})
    else:
        click.echo(f"{path} and {path.with_suffix('.png').name} are written; a step sees it with assert_screen: {name}")
        sys.stdout.flush()
    return 0
