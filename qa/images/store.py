"""The image cache: one folder for each image, with the file and its record. An entry appears complete or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from qa.errors import ImageError, ImageNotFound, NoSpace, UsageError
from qa.events import Bus, Progress
from qa.images.image import Image
from qa.images.locks import exclusive, held_if_free
from qa.images.metadata import Metadata, read_metadata, write_metadata
from qa.images.probe import probe
from qa.images.tools import run_tool
from qa.paths import Paths

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
BLOCK = 4 << 20
GRACE_S = 60
"""A folder this young is left alone: its maker may not have locked it yet."""


@dataclass(frozen=True)
class Entry:
    """An image in the cache."""

    folder: Path
    metadata: Metadata

    @property
    def path(self) -> Path:
        """The image's file."""
        return self.folder / self.metadata.file

    def image(self, reference: str) -> Image:
        """For the floors above, under the name that the user wrote."""
        data = self.metadata
        return Image(
            reference=reference,
            path=self.path,
            format=data.format,
            virtual_size=data.virtual_size,
            identity=data.sha256,
            cloud_init=data.cloud_init,
            shell=data.shell,
            memory=data.memory,
        )


@dataclass(frozen=True)
class Store:
    """The cache in the folder ``root``."""

    root: Path

    @classmethod
    def of(cls, paths: Paths) -> Store:
        """The user's."""
        return cls(paths.images)

    def lock(self, name: str) -> Path:
        """The lock file of whoever makes the entry ``name``."""
        return self.root / ".locks" / f"{name}.lock"

    def folders(self) -> list[Path]:
        """All entries, sound or not, by name."""
        if not self.root.is_dir():
            return []
        return sorted(folder for folder in self.root.iterdir() if folder.is_dir() and not folder.name.startswith("."))

    def entries(self) -> Iterator[Entry | ImageError]:
        """All entries; for one whose record is broken, the error that says so."""
        for folder in self.folders():
            try:
                yield self.open(folder)
            except ImageError as error:
                yield error

    def open(self, folder: Path) -> Entry:
        """The entry in ``folder``.

        Raises:
            ImageError: its record is broken, or its file is gone or has another size.
        """
        entry = Entry(folder, read_metadata(folder))
        try:
            size = entry.path.stat().st_size
        except OSError as error:
            raise ImageError(
                f"the image {entry.path} is gone", hint=f"remove its record: anima-qa image prune {folder.name}"
            ) from error
        if size != entry.metadata.file_size:
            raise ImageError(
                f"{entry.path} has {size} bytes, and {entry.metadata.file_size} are on record",
                hint=f"remove it: anima-qa image prune {folder.name}",
            )
        return entry

    def find(self, name: str, key: str | None = None) -> Entry | None:
        """The newest sound entry of that name (and key), or None."""
        found = [
            entry
            for entry in self.entries()
            if isinstance(entry, Entry)
            and name in {entry.metadata.name, entry.folder.name}
            and (key is None or entry.metadata.key == key)
        ]
        return max(found, key=lambda entry: entry.metadata.created, default=None)

    def get(self, name: str) -> Entry:
        """Like `find`.

        Raises:
            ImageNotFound: there is none.
            ImageError: there is one, and it is broken.
        """
        if (entry := self.find(name)) is not None:
            return entry
        if folder := next((one for one in self.folders() if one.name == name), None):
            return self.open(folder)
        raise ImageNotFound(f"the image cache has no {name!r}", hint="anima-qa image list shows what it has")

    @contextlib.asynccontextmanager
    async def workshop(self) -> AsyncIterator[Path]:
        """A folder to make an entry in, on the same file system. Removed afterwards; by `sweep` if this process is killed."""
        folder = self.root / ".tmp" / f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        try:
            async with exclusive(folder / ".lock"):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def place(self, prepared: Path, name: str, metadata: Metadata) -> Entry:
        """Move the folder ``prepared``, which holds the image's file, into the cache as ``name``, in place of what was there."""
        write_metadata(prepared, metadata)
        target = self.root / name
        if target.exists():
            old = prepared.parent / f"old-{secrets.token_hex(4)}"
            target.rename(old)
            prepared.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            prepared.rename(target)
        return self.open(target)

    async def add(self, source: Path, name: str) -> Entry:
        """Copy the image file ``source`` into the cache as ``name``, by reflink where the file system can.

        Raises:
            UsageError: the name is not one, or is taken.
            ImageError: the image cannot be used.
            NoSpace: the file system is full.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot name an image", hint="use small letters, digits, dots and dashes")
        async with exclusive(self.lock(name)), self.workshop() as work:
            if (self.root / name).exists():
                raise UsageError(f"there is an image {name!r} already", hint=f"remove it first: anima-qa image prune {name}")
            found = await probe(source)
            prepared = work / "entry"
            prepared.mkdir()
            file = prepared / f"image.{found.format}"
            copied = await run_tool(
                ["cp", "--reflink=auto", "--sparse=auto", source.absolute(), file], time_limit_s=3600, cpu_limit_s=3600
            )
            if copied.exit_code:
                raise ImageError(f"cannot copy {source}: {copied.stderr.strip()}")
            digest = await sha256_of(file)
            metadata = Metadata(
                name=name, origin="imported", source=str(source.absolute()), key=digest, file=file.name, format=found.format,
                virtual_size=found.virtual_size, file_size=file.stat().st_size, sha256=digest,
            )  # fmt: skip
            return self.place(prepared, name, metadata)

    async def verify(self, entry: Entry, bus: Bus | None = None) -> None:
        """Read an image again and compare it with its record.

        Raises:
            ImageError: it differs, or is damaged.
        """
        digest = await sha256_of(entry.path, bus)
        if digest != entry.metadata.sha256:
            raise ImageError(
                f"{entry.path} has changed since it was recorded",
                hint=f"remove it: anima-qa image prune {entry.folder.name}; it is made or pulled again when it is next asked for",
                evidence={"recorded": entry.metadata.sha256, "found": digest},
            )
        await probe(entry.path)

    def remove(self, folder: Path) -> int:
        """Remove an entry; gives the bytes it took. Machines that run from it keep their open file."""
        size = folder_size(folder)
        trash = self.root / ".tmp" / f"old-{secrets.token_hex(4)}"
        trash.parent.mkdir(exist_ok=True)
        folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return size

    def sweep(self) -> int:
        """Remove what interrupted builds and downloads left behind; gives the bytes."""
        freed = 0
        temporary = self.root / ".tmp"
        for folder in list(temporary.iterdir()) if temporary.is_dir() else []:
            if time.time() - folder.stat().st_mtime < GRACE_S:
                continue
            with held_if_free(folder / ".lock") as dead:
                if dead:
                    freed += folder_size(folder)
                    shutil.rmtree(folder, ignore_errors=True)
        return freed


def folder_size(folder: Path) -> int:
    """Bytes on disk below ``folder``."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


async def sha256_of(path: Path, bus: Bus | None = None) -> str:
    """The digest of a file, in a thread, with progress."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    done = 0
    try:
        with path.open("rb") as file:
            while block := await asyncio.to_thread(file.read, BLOCK):
                await asyncio.to_thread(digest.update, block)
                done += len(block)
                if bus is not None:
                    bus.emit(Progress(task=f"checking {path.parent.name}", done=done, total=total, unit="bytes"))
    except OSError as error:
        raise unusable(path, error) from error
    return digest.hexdigest()


def unusable(path: Path, error: OSError) -> ImageError | NoSpace:
    """The error for a file that cannot be read or written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(f"no space left for {path}", hint="anima-qa image prune and anima-qa gc free space")
    return ImageError(f"cannot use {path}: {error.strerror}")
