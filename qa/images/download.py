"""Fetching one large file over HTTP so that what arrives is what was promised, however the server and the line behave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from qa import __version__
from qa.errors import DownloadFailed, NoSpace
from qa.events import Bus, Progress
from qa.images.store import BLOCK, unusable

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which asking again makes sense."""
SIZE_LIMIT = 64 << 30
"""Bytes; the largest published cloud images have some 10 GB."""
TEXT_LIMIT = 4 << 20
"""Bytes of a list of checksums; that of a whole release has some 100 kB."""
SPARE = 256 << 20
"""Bytes of disk that a download leaves free."""


@dataclass(frozen=True)
class Patience:
    """How long to put up with a bad line.

    Attributes:
        stall_s: seconds without a byte after which the connection is given up.
        attempts: how often to ask without any progress in between; an attempt that brought something starts the count anew.
        pause_s: seconds before the second attempt; doubled each time, at most 30.
    """

    stall_s: float = 30.0
    attempts: int = 5
    pause_s: float = 1.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(30.0, self.pause_s * 2.0 ** (failures - 1))


@dataclass(frozen=True)
class Digest:
    """What a file is promised to be. ``algorithm`` is ``sha256`` or ``sha512``."""

    algorithm: str
    value: str


class _TryAgain(Exception):
    """This attempt failed, another may do."""


class _Unusable(_TryAgain):
    """What has arrived so far is of no use any more."""


@dataclass
class _Part:
    """What has arrived of a file, and what the server called that version of it, so that another one is not appended to it."""

    path: Path
    digest: Any
    size: int = 0
    validator: str = ""

    @property
    def note(self) -> Path:
        return self.path.with_suffix(".json")

    @classmethod
    async def open(cls, path: Path, url: str, algorithm: str) -> _Part:
        part = cls(path, hashlib.new(algorithm))
        try:
            said = json.loads(part.note.read_text(encoding="utf-8"))
            if not (
                isinstance(said, dict) and said.get("url") == url and isinstance(said.get("validator"), str) and said["validator"]
            ):
                raise ValueError("of another file")
            with path.open("rb") as file:
                while block := await asyncio.to_thread(file.read, BLOCK):
                    part.digest.update(block)
                    part.size += len(block)
            part.validator = said["validator"]
        except (OSError, ValueError):
            return cls(path, hashlib.new(algorithm))
        return part

    def restart(self, url: str, validator: str) -> None:
        self.digest, self.size, self.validator = hashlib.new(self.digest.name), 0, validator
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


@dataclass
class Downloader:
    """Fetches files. ``transport`` is httpx's own where it is None."""

    bus: Bus
    patience: Patience = field(default_factory=Patience)
    transport: httpx.AsyncBaseTransport | None = None

    async def fetch(self, url: str, part: Path, promised: Digest, task: str) -> None:
        """Fetch ``url`` into the file ``part``, going on where an earlier try stopped, and compare it with its digest.

        Raises:
            DownloadFailed: the server does not have it, broke off too often, or sent something else than was promised.
            NoSpace: the disk is full, or would be.
        """
        try:
            have = await _Part.open(part, url, promised.algorithm)
            resumed = have.size > 0
            await self._insist(url, have, task)
            if have.digest.hexdigest() != promised.value and resumed:
                have.remove()  # perhaps only the old part was wrong
                have = await _Part.open(part, url, promised.algorithm)
                await self._insist(url, have, task)
        except OSError as error:
            raise unusable(part, error) from error
        if have.digest.hexdigest() != promised.value:
            have.remove()
            raise DownloadFailed(
                f"{url} is not what was promised: its {promised.algorithm} differs",
                hint="the file on the server has changed or is damaged; try again later, or another mirror",
                evidence={"promised": promised.value, f"received ({have.size} bytes)": have.digest.hexdigest()},
            )
        have.note.unlink(missing_ok=True)

    async def text(self, url: str) -> str:
        """A small text file.

        Raises:
            DownloadFailed: it cannot be fetched, or is not small.
        """
        failures = 0
        async with self._client() as client:
            while True:
                try:
                    return await self._text_once(client, url)
                except _TryAgain as error:
                    failures += 1
                    await self._pause(url, failures, error)

    async def _text_once(self, client: httpx.AsyncClient, url: str) -> str:
        content = b""
        try:
            async with client.stream("GET", url) as response:
                _check_status(response, url)
                async for block in response.aiter_bytes():
                    content += block
                    if len(content) > TEXT_LIMIT:
                        raise DownloadFailed(f"{url} is no list of checksums: it has more than {TEXT_LIMIT >> 20} MB")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _translated(error, url) from error
        return content.decode(errors="replace")

    async def _insist(self, url: str, part: _Part, task: str) -> None:
        failures = 0
        async with self._client() as client:
            while True:
                before = part.size
                try:
                    await self._attempt(client, url, part, task)
                except _TryAgain as error:
                    if isinstance(error, _Unusable):
                        part.restart(url, "")
                    failures = 1 if part.size > before else failures + 1
                    await self._pause(url, failures, error)
                else:
                    return

    async def _pause(self, url: str, failures: int, error: Exception) -> None:
        if failures >= self.patience.attempts:
            raise DownloadFailed(
                f"cannot fetch {url}: {error}, {failures} times in a row",
                hint="check the network and the address; if some of it has arrived, the next try goes on there",
            ) from error
        self.bus.notice(f"{url}: {error}; trying again", level="warning")
        await asyncio.sleep(self.patience.pause(failures))

    async def _attempt(self, client: httpx.AsyncClient, url: str, part: _Part, task: str) -> None:
        # identity: a server that compresses would make ranges and lengths meaningless
        headers = {"Accept-Encoding": "identity"}
        if part.size and part.validator:
            headers |= {"Range": f"bytes={part.size}-", "If-Range": part.validator}
        try:
            async with client.stream("GET", url, headers=headers) as response:
                total = _place(response, url, part)
                if total is not None:
                    _check_room(part, total)
                if response.status_code != 416:
                    await self._write(response, part, task, total)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _translated(error, url) from error
        if total is not None and part.size < total:
            raise _TryAgain(f"the connection ended after {part.size} of {total} bytes")

    async def _write(self, response: httpx.Response, part: _Part, task: str, total: int | None) -> None:
        with part.path.open("r+b") as file:
            file.seek(part.size)
            async for block in response.aiter_raw():  # in no larger pieces: what has not filled one is lost when the line breaks
                file.write(block)
                part.digest.update(block)
                part.size += len(block)
                if part.size > (total if total is not None else SIZE_LIMIT):
                    raise _Unusable("the server sent more than it had announced")
                self.bus.emit(Progress(task=task, done=part.size, total=total, unit="bytes"))
            file.truncate()

    def _client(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(self.patience.stall_s)
        agent = {"User-Agent": f"anima-qa/{__version__}"}
        return httpx.AsyncClient(
            timeout=timeout, follow_redirects=True, max_redirects=10, transport=self.transport, headers=agent
        )


def _place(response: httpx.Response, url: str, part: _Part) -> int | None:
    """Make ``part`` ready for what ``response`` brings; gives the size of the whole file where the server tells it."""
    if response.status_code == 416:
        whole = response.headers.get("content-range", "").rpartition("/")[2]
        if whole == str(part.size):
            return part.size
        raise _Unusable("the server has no such part of the file")
    _check_status(response, url)
    if response.status_code == 206:
        unit, _, rest = response.headers.get("content-range", "").partition(" ")
        span, _, whole = rest.partition("/")
        if unit != "bytes" or span.partition("-")[0] != str(part.size):
            raise _Unusable("the server sent another part of the file than was asked for")
        return int(whole) if whole.isdigit() else None
    if response.status_code != 200:
        raise DownloadFailed(f"cannot fetch {url}: the server answered {response.status_code} {response.reason_phrase}")
    part.restart(url, _validator(response))
    length = response.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


def _validator(response: httpx.Response) -> str:
    """What If-Range may carry: a strong entity tag, else the time of the last change; nothing where the server tells neither."""
    tag: str = response.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        return tag
    changed: str = response.headers.get("last-modified", "")
    return changed


def _check_status(response: httpx.Response, url: str) -> None:
    if response.status_code in RETRIED:
        raise _TryAgain(f"the server answered {response.status_code} {response.reason_phrase}")
    if response.status_code >= 400:
        hint = "it may have been renamed or withdrawn" if response.status_code in {404, 410} else None
        raise DownloadFailed(
            f"cannot fetch {url}: the server answered {response.status_code} {response.reason_phrase}", hint=hint
        )


def _check_room(part: _Part, total: int) -> None:
    if total > SIZE_LIMIT:
        raise DownloadFailed(f"the server announces {total} bytes, and images of more than {SIZE_LIMIT >> 30} GB are not fetched")
    free = shutil.disk_usage(part.path.parent).free
    if total - part.size > free - SPARE:
        raise NoSpace(
            f"the image needs {(total - part.size) >> 20} MB, and {part.path.parent} has {free >> 20} MB free",
            hint="anima-qa image prune frees space; ANIMA_QA_HOME moves the cache",
        )


def _translated(error: Exception, url: str) -> Exception:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return DownloadFailed(f"cannot fetch {url}: it is, or leads to, an address that is not http or https ({error})")
    if isinstance(error, httpx.TooManyRedirects):
        return DownloadFailed(f"cannot fetch {url}: the server sends us round in circles")
    if isinstance(error, httpx.TimeoutException):
        return _TryAgain("the server sent nothing for too long")
    return _TryAgain(str(error) or type(error).__name__)
