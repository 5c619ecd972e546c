"""``anima-qa image``: what disk images there are, and how they get here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import ImageError, ImageNotFound, UsageError
from qa.paths import Paths

if TYPE_CHECKING:
    from qa.images.store import Entry

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
force_option = click.option("--force", is_flag=True, help="Do it even if the cache has the image.")


def _names(*sources: str) -> Any:
    """Completion of image names: of the ``cache``, of ``recipes``, of the ``catalogue``."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from qa.images.catalog import catalogue
        from qa.images.recipes import recipes
        from qa.images.store import Store

        names = {
            "cache": lambda: [folder.name for folder in Store.of(Paths.from_environment()).folders()],
            "recipes": lambda: list(recipes()),
            "catalogue": lambda: list(catalogue()),
        }
        return [name for source in sources for name in names[source]() if name.startswith(incomplete)]

    return complete


@click.group("image")
def command() -> None:
    """List, pull, build, import and check disk images."""


@command.command("list")
@json_option
def list_images(as_json: bool) -> None:
    """List what the cache has, and what can be built or pulled by name."""
    from qa.images.catalog import catalogue
    from qa.images.recipes import recipes
    from qa.images.store import Store

    rows: list[dict[str, Any]] = []
    store = Store.of(Paths.from_environment())
    for folder in store.folders():
        try:
            found = store.open(folder)
        except ImageError as error:
            rows.append({"name": folder.name, "state": "broken", "about": error.message})
        else:
            rows.append({"state": found.metadata.origin, "about": found.metadata.source, **_facts(found)})
    here = {row["name"] for row in rows}
    for name, recipe in recipes().items():
        if name not in here:
            rows.append({"name": name, "state": "can be built", "about": recipe.description.description})
    for name, known in catalogue().items():
        if name not in here:
            rows.append({"name": name, "state": "can be pulled", "about": known.description})
    if as_json:
        _json(rows)
    else:
        for row in rows:
            size = _megabytes(row["file_size"]) if "file_size" in row else ""
            click.echo(f"{row['name']:<20} {row['state']:<14} {size:>9}  {row['about']}".rstrip())


@command.command("pull")
@click.argument("name", shell_complete=_names("catalogue"))
@force_option
@json_option
def pull_image(name: str, force: bool, as_json: bool) -> None:
    """Fetch a cloud image by its name in the catalogue, or a URL that ends in #sha256=..."""
    from qa.cli.progress import run_until_done
    from qa.images.pull import pull, pull_url

    paths = Paths.from_environment()
    if "://" in name:
        entry = run_until_done(lambda bus: pull_url(name, paths=paths, bus=bus))
    else:
        entry = run_until_done(lambda bus: pull(name, paths=paths, bus=bus, force=force))
    _show(entry, as_json)


@command.command("build")
@click.argument("name", shell_complete=_names("recipes"))
@click.option("--suite", help="Debian release, for recipes that can build several.")
@force_option
@json_option
def build_image(name: str, suite: str | None, force: bool, as_json: bool) -> None:
    """Build an image from its recipe: builtin, debian."""
    from qa.cli.progress import run_until_done
    from qa.images.recipes import build

    paths = Paths.from_environment()
    _show(run_until_done(lambda bus: build(name, paths=paths, bus=bus, suite=suite, force=force)), as_json)


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@json_option
def import_image(path: Path, name: str | None, as_json: bool) -> None:
    """Copy the image file PATH into the cache under NAME (by default the file's)."""
    from qa.images.recipes import recipes
    from qa.images.store import Store

    name = name or path.stem.lower()
    if name in recipes():
        raise UsageError(f"{name!r} is the name of a recipe", hint="give another one: anima-qa image import PATH NAME")
    _show(asyncio.run(Store.of(Paths.from_environment()).add(path, name)), as_json)


@command.command("info")
@click.argument("image", shell_complete=_names("cache"))
@json_option
def image_info(image: str, as_json: bool) -> None:
    """Tell what an image is: a name in the cache, or a file."""
    from qa.images.probe import probe
    from qa.images.store import Store

    try:
        facts = _facts(Store.of(Paths.from_environment()).get(image), fully=True)
    except ImageNotFound as error:
        path = Path(image).expanduser()
        if not path.exists():
            error.hint = _how_to_get(image) or error.hint
            raise
        found = asyncio.run(probe(path))
        facts = {
            "path": str(path.absolute()),
            "format": found.format,
            "virtual_size": found.virtual_size,
            "file_size": found.file_size,
        }
    _facts_out(facts, as_json)


@command.command("verify")
@click.argument("names", nargs=-1, shell_complete=_names("cache"))
@json_option
def verify_images(names: tuple[str, ...], as_json: bool) -> int:
    """Read images of the cache again (all, or NAMES) and compare them with what was recorded.

    The exit status is 3 when one is damaged.
    """
    from qa.cli.output import print_error
    from qa.cli.progress import run_until_done
    from qa.events import Bus
    from qa.images.store import Store

    store = Store.of(Paths.from_environment())

    async def verify(bus: Bus) -> dict[str, ImageError | None]:
        results: dict[str, ImageError | None] = {}
        for name in names or tuple(folder.name for folder in store.folders()):
            try:
                await store.verify(store.get(name), bus)
            except ImageError as error:
                results[name] = error
            else:
                results[name] = None
        return results

    results = run_until_done(verify)
    if as_json:
        _json(
            [
                {"name": name, "sound": error is None, "reason": error.message if error else None}
                for name, error in results.items()
            ]
        )
    for name, error in results.items():
        if error is not None:
            print_error(error)
        elif not as_json:
            click.echo(f"{name}: sound")
    return ImageError.exit_code if any(results.values()) else 0


@command.command("prune")
@click.argument("names", nargs=-1, shell_complete=_names("cache"))
@click.option("--all", "everything", is_flag=True, help="Remove all images of the cache.")
@json_option
def prune_images(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Remove NAMES from the cache; without names, what interrupted work left and images of recipes that have changed since."""
    from qa.images.prune import prune, remove
    from qa.images.store import Store

    store = Store.of(Paths.from_environment())
    pruned = remove(store, names) if names else prune(store, everything=everything)
    if as_json:
        _json({"removed": pruned.removed, "freed": pruned.freed})
        return
    for name in pruned.removed:
        click.echo(f"removed {name}")
    click.echo(f"{_megabytes(pruned.freed)} freed")


def _how_to_get(name: str) -> str | None:
    from qa.images.catalog import catalogue
    from qa.images.recipes import recipes

    if name in recipes():
        return f"it is made when it is first used; make it now with: anima-qa image build {name}"
    if name in catalogue():
        return f"it is fetched when it is first used; fetch it now with: anima-qa image pull {name}"
    return None


def _facts(entry: Entry, fully: bool = False) -> dict[str, Any]:
    data = entry.metadata.model_dump(mode="json", exclude=set() if fully else {"packages", "tools", "format_version"})
    return {"path": str(entry.path), **data}


def _show(entry: Entry, as_json: bool) -> None:
    if as_json:
        _json(_facts(entry, fully=True))
    else:
        click.echo(entry.path)


def _facts_out(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{name}:\n" + "".join(f"  {key} {version}\n" for key, version in value.items()))
        else:
            sys.stdout.write(f"{name}: {value}\n")


def _json(value: Any) -> None:
    from qa.cli.output import print_json

    print_json(value)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
