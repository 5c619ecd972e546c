"""What can be done with disk images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qa.errors import ImageError, ImageNotFound
from qa.images.catalog import catalogue
from qa.images.convert import Format, convert, overlay
from qa.images.headers import backing_chain
from qa.images.image import Image
from qa.images.probe import Probe, probe
from qa.images.pull import pull, pull_url
from qa.images.recipes import recipes
from qa.images.resize import resize
from qa.images.resolve import is_path, resolve
from qa.images.store import Entry, Store
from qa.operations.bench import Bench
from qa.operations.calls import Facts, names_file
from qa.places import is_there
from qa.sizes import Size, format_size

ImageName = Annotated[
    str, Field(min_length=1, description="A name that image_list shows, the path of a file, or a URL with #sha256=...")
]
Target = Annotated[Path, Field(description="The file to make.")]
Replace = Annotated[bool, Field(description="Take the place of a file that is there.")]
Backing = Annotated[bool, Field(description="The image may read files that it builds on: it is an overlay.")]


async def image_list(bench: Bench) -> list[dict[str, Any]]:
    """List the images that are here, and those that can be built or pulled by name."""
    rows: list[dict[str, Any]] = []
    store = Store.of(bench.paths)
    for folder in store.folders():
        try:
            found = store.open(folder)
        except ImageError as error:
            rows.append({"name": folder.name, "state": "broken", "about": error.message})
        else:
            rows.append({"state": found.metadata.origin, "about": found.metadata.source, **facts_of_entry(found)})
    here = {row["name"] for row in rows}
    known = {name: ("can be built", recipe.description.description) for name, recipe in recipes().items()}
    known |= {name: ("can be pulled", one.description) for name, one in catalogue().items()}
    rows += [{"name": name, "state": state, "about": about} for name, (state, about) in known.items() if name not in here]
    return rows


async def image_pull(
    bench: Bench,
    image: Annotated[
        str, Field(min_length=1, description="A name of the catalogue, such as debian-13, or a URL with #sha256=...")
    ],
    force: Annotated[bool, Field(description="Fetch it even if it is here.")] = False,
) -> dict[str, Any]:
    """Fetch a cloud image, compare it with its digest, and keep it under its name."""
    if "://" in image:
        entry = await pull_url(image, paths=bench.paths, bus=bench.bus)
    else:
        entry = await pull(image, paths=bench.paths, bus=bench.bus, force=force)
    return facts_of_entry(entry, fully=True)


async def image_info(bench: Bench, image: ImageName, *, backing: Backing = False) -> dict[str, Any]:
    """Tell what an image is: its file, its format, its size, and what it builds on."""
    try:
        return facts_of_entry(Store.of(bench.paths).get(image), fully=True)
    except ImageNotFound as error:
        path = bench.place(image)
        if not is_there(path):
            error.hint = how_to_get(image) or error.hint
            raise
        return _made(path, await probe(path, allow_backing=backing))


async def image_convert(
    bench: Bench,
    image: ImageName,
    target: Target,
    *,
    format: Annotated[Format | None, Field(description="The format; what the target's name tells where it is not given.")] = None,  # noqa: A002
    compress: Annotated[bool, Field(description="Make it small: slower to make and to read. Of qcow2 only.")] = False,
    backing: Backing = False,
    replace: Replace = False,
) -> dict[str, Any]:
    """Copy an image to a file in another format: raw, qcow2, vmdk, vdi or vhdx. The image itself stays as it is."""
    source = await _resolve(bench, image, backing)
    made = await convert(source, bench.place(target), format, bus=bench.bus, compress=compress, replace=replace)
    return _made(bench.place(target), made)


async def image_overlay(
    bench: Bench,
    image: ImageName,
    target: Target,
    *,
    size: Annotated[Size | None, Field(description="Size of its disk, where it shall be larger than the image's.")] = None,
    backing: Backing = False,
    replace: Replace = False,
) -> dict[str, Any]:
    """Make a qcow2 file that shows what is on an image and takes all writes. The image is never written to, and must stay.

    Machines that are booted get one by themselves: this is for other programs.
    """
    base = await _resolve(bench, image, backing)
    made = await overlay(base, bench.place(target), size=size, replace=replace)
    return {**_made(bench.place(target), made), "base": str(base.path)}


async def image_resize(
    bench: Bench,
    image: Annotated[Path, Field(description="The file of a raw or qcow2 image.")],
    size: Annotated[Size, Field(description="Size of its disk from now on: 20G, or bytes.")],
    shrink: Annotated[
        bool, Field(description="A smaller disk is meant. It is refused where a partition would be cut off.")
    ] = False,
) -> dict[str, Any]:
    """Give the disk in an image file another size, in place. Nothing that a partition holds is ever cut off."""
    path = bench.place(image)
    done = await resize(path, size, shrink=shrink, kept=(bench.paths.images,))
    return {"path": str(path), "before": done.before, "after": done.after}


# what calls do, for the gate


def reads_nothing(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It looks at what is ours."""
    return Facts("read", "images")


def pulls(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It writes to the cache."""
    return Facts("change", "images")


def reads_image(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It looks at a file."""
    return Facts("read", "images", reads=_files(bench, arguments))


def makes_image(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It makes a file, or replaces one."""
    target = bench.place(arguments["target"])
    replaces = bool(arguments["replace"]) and is_there(target)
    question = f"replace {target}?" if replaces else ""
    return Facts(
        "destroy" if replaces else "change", "images", reads=_files(bench, arguments), writes=(target,), question=question
    )


def changes_image(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It changes a file, and may lose what is at its end."""
    path = bench.place(arguments["image"])
    question = f"make the disk in {path} smaller, {format_size(arguments['size'])}?" if arguments["shrink"] else ""
    return Facts("destroy" if arguments["shrink"] else "change", "images", writes=(path,), question=question)


def _files(bench: Bench, arguments: Mapping[str, Any]) -> tuple[Path, ...]:
    if not names_file(arguments["image"], bench.base_folder):
        return ()
    path = bench.place(arguments["image"])
    return (path, *(backing_chain(path) if arguments.get("backing") else ()))


async def _resolve(bench: Bench, image: str, backing: bool) -> Image:
    return await resolve(image, paths=bench.paths, bus=bench.bus, base_folder=bench.base_folder, allow_backing=backing)


# what is told


def facts_of_entry(entry: Entry, fully: bool = False) -> dict[str, Any]:
    """What is told of an image in the cache."""
    data = entry.metadata.model_dump(mode="json", exclude=set() if fully else {"packages", "tools", "format_version"})
    return {"path": str(entry.path), **data}


def _made(path: Path, found: Probe) -> dict[str, Any]:
    return {
        "path": str(path.absolute()),
        "format": found.format,
        "virtual_size": found.virtual_size,
        "file_size": path.stat().st_size,
        **({"reads": list(found.others)} if found.others else {}),
    }


def how_to_get(name: str) -> str | None:
    """How an image that is not here comes here; None where nobody knows."""
    if is_path(name):
        return None
    if name in recipes():
        return f"it is made when it is first used; make it now with: anima-qa image build {name}"
    if name in catalogue():
        return f"it is fetched when it is first used; fetch it now with: anima-qa image pull {name}"
    return None
