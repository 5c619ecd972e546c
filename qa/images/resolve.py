"""From what the user wrote to an image that can be booted."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from qa.errors import ImageNotFound
from qa.events import Bus
from qa.images.catalog import catalogue
from qa.images.image import Image
from qa.images.probe import probe, stat_identity
from qa.images.pull import pull, pull_url
from qa.images.recipes import build, recipes
from qa.images.store import Store
from qa.paths import Paths
from qa.places import is_there, place

DEFAULT_MEMORY = 1 << 30
"""Bytes for an image that nothing is known of: what common cloud images boot with."""

_SUFFIXES = {".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".bin"}


async def resolve(reference: str, *, paths: Paths, bus: Bus, base_folder: Path, allow_backing: bool = False) -> Image:
    """The image that ``reference`` means, built or pulled if need be.

    In this order: a recipe (``builtin``, ``debian``), a URL with a digest (``https://...#sha256=...``), a name in the cache
    (pulled or imported), a name of the catalogue, a path.

    Args:
        base_folder: where relative paths begin.
        allow_backing: accept files that read other files of this host.

    Raises:
        ImageNotFound: it means nothing; the hint has the nearest name.
        UsageError: it is no path that there can be.
        ImageRefused, ImageError, NoSpace, HostError: see `probe`, `build` and `pull` of this package.
    """
    if reference in recipes():
        return (await build(reference, paths=paths, bus=bus)).image(reference)
    if "://" in reference:
        return (await pull_url(reference, paths=paths, bus=bus)).image(reference)
    if not is_path(reference):
        if entry := Store.of(paths).find(reference):
            return entry.image(reference)
        if reference in catalogue():
            return (await pull(reference, paths=paths, bus=bus)).image(reference)
    path = place(base_folder, reference)
    if not is_path(reference) and not is_there(path):
        raise _unknown(reference, paths)
    return await _file(reference, path, allow_backing)


def usual_memory(reference: str, *, paths: Paths) -> int:
    """Bytes of memory that the image ``reference`` is comfortable with, as far as that is known before it is there."""
    if reference in recipes():
        return recipes()[reference].description.memory_mib << 20
    if "://" not in reference and not is_path(reference):
        if entry := Store.of(paths).find(reference):
            return entry.metadata.memory
        if reference in catalogue():
            return catalogue()[reference].memory << 20
    return DEFAULT_MEMORY


async def _file(reference: str, path: Path, allow_backing: bool) -> Image:
    path = path.absolute()
    found = await probe(path, allow_backing=allow_backing)
    return Image(
        reference=reference,
        path=path,
        format=found.format,
        virtual_size=found.virtual_size,
        identity=stat_identity(path),
        memory=DEFAULT_MEMORY,
    )


def is_path(reference: str) -> bool:
    """Whether it can only be a file: it has a slash, or a suffix of images."""
    return "/" in reference or reference.startswith(("~", ".")) or Path(reference).suffix.lower() in _SUFFIXES


def _unknown(reference: str, paths: Paths) -> ImageNotFound:
    cached = [folder.name for folder in Store.of(paths).folders()]
    names = [*recipes(), *catalogue(), *cached]
    near = get_close_matches(reference, names, n=1)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else "anima-qa image list shows the names; a path needs a slash or a suffix such as .qcow2"
    )
    return ImageNotFound(f"there is no image {reference!r}", hint=hint)
