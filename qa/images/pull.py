"""From a name of the catalogue, or a URL with a digest, to an entry of the cache."""

from __future__ import annotations

import asyncio
import gzip
import lzma
import re
import shutil
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from qa.errors import DownloadFailed, ImageNotFound, NoSpace, UsageError
from qa.events import Bus
from qa.images.catalog import KnownImage, catalogue, find_checksum
from qa.images.download import SIZE_LIMIT, SPARE, Digest, Downloader
from qa.images.locks import exclusive
from qa.images.metadata import Metadata
from qa.images.probe import probe
from qa.images.store import BLOCK, Entry, Store, sha256_of, unusable
from qa.paths import Paths

_DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})|sha512=([0-9a-fA-F]{128})")


@dataclass(frozen=True)
class _Origin:
    """What is fetched: from where, under which name, and what is known of it."""

    name: str
    url: str
    promised: Digest
    known: KnownImage | None = None


async def pull(name: str, *, paths: Paths, bus: Bus, force: bool = False, downloader: Downloader | None = None) -> Entry:
    """The image ``name`` of the catalogue, from the cache or fetched now and compared with its vendor's checksum.

    Args:
        force: ask the vendor again; fetches only if the vendor's checksum has changed.

    Raises:
        ImageNotFound: the catalogue does not have it.
        DownloadFailed, ImageError, NoSpace: see `qa.images.download.Downloader.fetch` and `qa.images.probe.probe`.
    """
    known = catalogue().get(name)
    if known is None:
        near = get_close_matches(name, catalogue(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(catalogue())}"
        raise ImageNotFound(f"the catalogue has no {name!r}", hint=hint)
    store = Store.of(paths)
    if not force and (entry := store.find(name)):
        return entry
    downloader = downloader or Downloader(bus)
    text = await downloader.text(known.checksums.url)
    digest = Digest(*find_checksum(text, known.url.rsplit("/", 1)[-1], known.checksums.format))
    return await _fetch(_Origin(name, known.url, digest, known), store, downloader)


async def pull_url(
    reference: str, *, paths: Paths, bus: Bus, name: str | None = None, downloader: Downloader | None = None
) -> Entry:
    """The image at a URL that ends in ``#sha256=...`` or ``#sha512=...``, from the cache or fetched now.

    Raises:
        UsageError: the URL has no digest, or is not http or https.
        DownloadFailed, ImageError, NoSpace: see `pull`.
    """
    url, _, fragment = reference.partition("#")
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"cannot fetch {url}: only http and https are known", hint="give a file by its path")
    if not (match := _DIGEST.fullmatch(fragment)):
        raise UsageError(
            f"the URL {url} comes without a digest",
            hint=f"write {url}#sha256=... with the checksum that its publisher gives, so that what arrives can be checked",
        )
    promised = Digest("sha256", match[1].lower()) if match[1] else Digest("sha512", match[2].lower())
    origin = _Origin(name or f"url-{promised.value[:12]}", url, promised)
    return await _fetch(origin, Store.of(paths), downloader or Downloader(bus))


async def _fetch(origin: _Origin, store: Store, downloader: Downloader) -> Entry:
    bus = downloader.bus
    waiting = f"another process is fetching {origin.name!r}; waiting for it"
    async with exclusive(store.lock(origin.name), lambda: bus.notice(waiting)):
        if entry := store.find(origin.name, origin.promised.value):
            return entry
        partial = store.root / ".partial"
        partial.mkdir(parents=True, exist_ok=True)
        part = partial / f"{origin.promised.value[:32]}.part"
        await downloader.fetch(origin.url, part, origin.promised, f"fetching {origin.name}")
        async with store.workshop() as work:
            return await _keep(origin, part, work, store)


async def _keep(origin: _Origin, part: Path, work: Path, store: Store) -> Entry:
    prepared = work / "entry"
    prepared.mkdir()
    plain = prepared / "image"
    try:
        await asyncio.to_thread(_unpack, part, plain)
    except OSError as error:
        raise unusable(plain, error) from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DownloadFailed(f"{origin.url} is damaged: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    found = await probe(plain)
    file = plain.rename(plain.with_suffix(f".{found.format}"))
    known = origin.known
    metadata = Metadata(
        name=origin.name, origin="pulled", source=origin.url, key=origin.promised.value, file=file.name, format=found.format,
        virtual_size=found.virtual_size, file_size=found.file_size, sha256=await sha256_of(file),
        cloud_init=known.cloud_init if known else True, memory=(known.memory if known else 1024) << 20,
        login=known.user if known else "root",
    )  # fmt: skip
    return store.place(prepared, origin.name, metadata)


def _unpack(source: Path, target: Path) -> None:
    """Move the file, undoing the compression that its first bytes tell of."""
    with source.open("rb") as file:
        magic = file.read(6)
    if magic == b"\xfd7zXZ\0":
        with lzma.open(source) as xz:
            _copy(xz, target)
    elif magic[:2] == b"\x1f\x8b":
        with gzip.open(source) as gz:
            _copy(gz, target)
    else:
        source.rename(target)


def _copy(stream: lzma.LZMAFile | gzip.GzipFile, target: Path) -> None:
    size = 0
    with target.open("wb") as out:
        while block := stream.read(BLOCK):
            size += len(block)
            if size > SIZE_LIMIT:
                raise DownloadFailed(f"the file unpacks to more than {SIZE_LIMIT >> 30} GB")
            if shutil.disk_usage(target.parent).free < SPARE:
                raise NoSpace(f"no space left to unpack an image in {target.parent}", hint="anima-qa image prune frees space")
            out.write(block)
