"""``anima-qa image``: what disk images there are, and how they get here."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import ImageError, UsageError
from qa.paths import Paths

if TYPE_CHECKING:
    from qa.events import Bus
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
    """List, pull, build, import, convert and check disk images."""


def _show_list(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        size = _megabytes(row["file_size"]) if "file_size" in row else ""
        click.echo(f"{row['name']:<20} {row['state']:<14} {size:>9}  {row['about']}".rstrip())


def _show_path(facts: Mapping[str, Any]) -> None:
    click.echo(facts["path"])


def _show_made(facts: Mapping[str, Any]) -> None:
    from qa.sizes import format_size

    disk, file = format_size(facts["virtual_size"]), format_size(facts["file_size"])
    click.echo(f"{facts['path']}: {facts['format']}, a disk of {disk}, {file} in the file")


def _show_resized(facts: Mapping[str, Any]) -> None:
    from qa.sizes import format_size

    before, after = facts["before"], facts["after"]
    click.echo(f"{facts['path']}: {format_size(before)} before, {format_size(after)} now")
    if after > before:
        click.echo("cloud images take the new room at their next boot; in others grow partition and file system")


def _add_operations() -> None:
    """The commands that other surfaces have too."""
    from qa.cli.host_operation import command_of

    cached = {"image": _names("cache")}
    for one in (
        command_of("image_list", positional=(), show=_show_list),
        command_of("image_pull", positional=("image",), show=_show_path, complete={"image": _names("catalogue")}),
        command_of("image_info", positional=("image",), show=_facts_out, complete=cached),
        command_of("image_convert", positional=("image", "target"), show=_show_made, complete=cached),
        command_of("image_overlay", positional=("image", "target"), show=_show_made, complete=cached),
        command_of("image_resize", positional=("image", "size"), show=_show_resized),
    ):
        command.add_command(one)


@command.command("build")
@click.argument("name", shell_complete=_names("recipes"))
@click.option("--suite", help="Debian release, for recipes that can build several.")
@force_option
@json_option
def build_image(name: str, suite: str | None, force: bool, as_json: bool) -> None:
    """Build an image from its recipe: builtin, debian, desktop."""
    from qa.cli.host_operation import through_gate
    from qa.images.recipes import build
    from qa.operations.calls import Facts

    def work(bus: Bus) -> Awaitable[Entry]:
        return build(name, paths=Paths.from_environment(), bus=bus, suite=suite, force=force)

    _show(through_gate("image_build", Facts("change", "images"), {"name": name, "suite": suite, "force": force}, work), as_json)


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@json_option
def import_image(path: Path, name: str | None, as_json: bool) -> None:
    """Copy the image file PATH into the cache under NAME (by default the file's)."""
    from qa.cli.host_operation import through_gate
    from qa.images.recipes import recipes
    from qa.images.store import Store
    from qa.operations.calls import Facts

    name = name or path.stem.lower()
    if name in recipes():
        raise UsageError(f"{name!r} is the name of a recipe", hint="give another one: anima-qa image import PATH NAME")
    store, given = Store.of(Paths.from_environment()), {"path": path, "name": name}
    facts = Facts("change", "images", reads=(path,))
    _show(through_gate("image_import", facts, given, lambda bus: store.add(path, name)), as_json)


@command.command("verify")
@click.argument("names", nargs=-1, shell_complete=_names("cache"))
@json_option
def verify_images(names: tuple[str, ...], as_json: bool) -> int:
    """Read images of the cache again (all, or NAMES) and compare them with what was recorded.

    The exit status is 3 when one is damaged.
    """
    from qa.cli.output import print_error
    from qa.cli.progress import run_until_done
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
    from qa.cli.host_operation import through_gate
    from qa.images.prune import Pruned, prune, remove
    from qa.images.store import Store
    from qa.operations.calls import Facts

    store = Store.of(Paths.from_environment())

    async def work(bus: Bus) -> Pruned:
        return remove(store, names) if names else prune(store, everything=everything)

    question = f"remove {', '.join(names) or ('all images' if everything else 'images that nobody needs')} from the cache?"
    facts = Facts("destroy", "images", question=question)
    pruned = through_gate("image_prune", facts, {"names": names, "all": everything}, work)
    if as_json:
        _json({"removed": pruned.removed, "freed": pruned.freed})
        return
    for name in pruned.removed:
        click.echo(f"removed {name}")
    click.echo(f"{_megabytes(pruned.freed)} freed")


def _show(entry: Entry, as_json: bool) -> None:
    from qa.operations.image_operations import facts_of_entry

    if as_json:
        _json(facts_of_entry(entry, fully=True))
    else:
        click.echo(entry.path)


def _facts_out(facts: Mapping[str, Any]) -> None:
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


_add_operations()
