"""Images of recipes that travel with the program: the single file has the built-in guest in it, a checkout has none."""

from __future__ import annotations

import shutil
from pathlib import Path

from qa.errors import ImageError
from qa.images.metadata import Metadata, read_metadata
from qa.images.store import Entry, Store, sha256_of, unusable
from qa.paths import data_folder


def prebuilt(name: str, key: str) -> Metadata | None:
    """The record of the image that travels with the program, if there is one and it is what the recipe would make."""
    folder = _folder(name)
    if not (folder / "metadata.json").is_file():
        return None
    metadata = read_metadata(folder)
    return metadata if metadata.key == key else None


async def adopt(metadata: Metadata, store: Store, work: Path, entry_name: str) -> Entry:
    """Copy that image into the cache, where it stays when the program is replaced by a newer one.

    Raises:
        ImageError: the file is not what its record says.
        NoSpace: the file system is full.
    """
    prepared = work / "entry"
    file = prepared / metadata.file
    try:
        prepared.mkdir()
        shutil.copyfile(_folder(metadata.name) / metadata.file, file)
    except OSError as error:
        raise unusable(file, error) from error
    if await sha256_of(file) != metadata.sha256:
        raise ImageError(
            f"the image {metadata.name!r} that came with the program is damaged",
            hint=f"remove {_folder(metadata.name)}; the single file then unpacks itself again",
        )
    return store.place(prepared, entry_name, metadata)


def _folder(name: str) -> Path:
    return data_folder("prebuilt") / name
