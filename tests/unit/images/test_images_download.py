"""Downloads arrive as promised or not at all, whatever the server does. The server is a real one on this host."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qa.errors import DownloadFailed, NoSpace
from qa.events import Bus, Event, Progress
from qa.images.download import Digest, Downloader, Patience

CONTENT = bytes(range(256)) * 4096
PROMISED = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())
QUICK = Patience(stall_s=0.3, attempts=3, pause_s=0.001)
ETAG = '"v1"'


@dataclass
class Request:
    path: str
    headers: dict[str, str]

    @property
    def offset(self) -> int:
        return int(self.headers["range"].removeprefix("bytes=").rstrip("-")) if "range" in self.headers else 0


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Answers each request with the next of ``answers``; the last one stays."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        request = Request(lines[0].split()[1], {name.lower(): value for name, value in pairs})
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            await answer(request, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def head(status: str, **headers: object) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n".encode()


def whole(content: bytes = CONTENT, etag: str = ETAG, stop_after: int | None = None) -> Answer:
    """The file, ignoring ranges; breaks off after ``stop_after`` bytes."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", Content_Length=len(content), ETag=etag) + content[:stop_after])

    return answer


def ranged(content: bytes = CONTENT, etag: str = ETAG) -> Answer:
    """The file, or the part that was asked for if it is still the same version."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        start = request.offset if request.headers.get("if-range") == etag else 0
        status = "206 Partial Content" if start else "200 OK"
        extra = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        writer.write(head(status, Content_Length=len(content) - start, ETag=etag, **extra) + content[start:])

    return answer


def status(line: str, **headers: object) -> Answer:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(line, Content_Length=0, **headers))

    return answer


async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK", Content_Length=len(CONTENT), ETag=ETAG) + CONTENT[:1000])
    await writer.drain()
    await asyncio.Event().wait()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    serving = Server()
    listening = await asyncio.start_server(serving.handle, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/image.qcow2"
    yield serving
    listening.close()


async def fetch(server: Server, part: Path, promised: Digest = PROMISED, bus: Bus | None = None) -> None:
    await Downloader(bus or Bus(), QUICK).fetch(server.url, part, promised, "fetching")


async def test_a_file_arrives_with_progress_to_its_end(server: Server, tmp_path: Path) -> None:
    server.answers = [whole()]
    seen: list[Event] = []
    bus = Bus()
    bus.subscribe(seen.append)
    await fetch(server, tmp_path / "part", bus=bus)
    assert (tmp_path / "part").read_bytes() == CONTENT
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (len(CONTENT), len(CONTENT))
    assert [file.name for file in tmp_path.iterdir()] == ["part"]


async def test_a_broken_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(stop_after=400_000), ranged()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.requests[1].offset == 400_000
    assert server.requests[1].headers["if-range"] == ETAG


async def test_what_an_earlier_process_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(stop_after=400_000)]
    with pytest.raises(DownloadFailed, match="times in a row"):
        await fetch(server, tmp_path / "part")
    server.answers, server.requests = [ranged()], []
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert [request.offset for request in server.requests] == [400_000]


async def test_a_server_that_ignores_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(stop_after=400_000), whole()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


async def test_a_new_version_on_the_server_is_not_appended_to_the_old_one(server: Server, tmp_path: Path) -> None:
    old = b"old" * 200_000
    server.answers = [whole(content=old, etag='"v0"', stop_after=400_000), ranged()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


async def test_a_part_that_was_changed_on_disk_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "part"
    server.answers = [whole(stop_after=400_000)]
    with pytest.raises(DownloadFailed):
        await fetch(server, part)
    part.write_bytes(b"x" * 400_000)
    server.answers = [ranged()]
    await fetch(server, part)
    assert part.read_bytes() == CONTENT


async def test_a_range_that_cannot_be_satisfied_starts_over(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(stop_after=400_000), status("416 Range Not Satisfiable", Content_Range="bytes */7"), whole()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.requests[2].offset == 0


async def test_another_part_than_was_asked_for_starts_over(server: Server, tmp_path: Path) -> None:
    async def wrong(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head("206 Partial Content", Content_Range="bytes 5-9/99", Content_Length=5) + b"wrong")

    server.answers = [whole(stop_after=400_000), wrong, whole()]
    told: list[str] = []
    bus = Bus()
    bus.subscribe(lambda event: told.append(getattr(event, "message", "")))
    await fetch(server, tmp_path / "part", bus=bus)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert any("another part of the file" in message for message in told)


async def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.answers = [status("503 Service Unavailable"), status("500 Internal Server Error"), whole()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


async def test_a_missing_file_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.answers = [status("404 Not Found")]
    with pytest.raises(DownloadFailed, match="404 Not Found") as failure:
        await fetch(server, tmp_path / "part")
    assert "renamed" in str(failure.value.hint)
    assert len(server.requests) == 1


async def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [stall]
    with pytest.raises(DownloadFailed, match="sent nothing for too long"):
        await fetch(server, tmp_path / "part")


async def test_a_server_that_announces_more_than_it_sends_is_given_up(server: Server, tmp_path: Path) -> None:
    async def liar(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", Content_Length=len(CONTENT) + 10) + CONTENT)

    server.answers = [liar]
    with pytest.raises(DownloadFailed, match="times in a row"):
        await fetch(server, tmp_path / "part")
    assert len(server.requests) == QUICK.attempts


async def test_other_content_than_promised_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.answers = [whole(content=b"something else")]
    with pytest.raises(DownloadFailed, match="not what was promised") as failure:
        await fetch(server, tmp_path / "part")
    assert PROMISED.value in failure.value.evidence["promised"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/image"])
async def test_a_redirect_away_from_http_is_refused(server: Server, tmp_path: Path, target: str) -> None:
    server.answers = [status("302 Found", Location=target)]
    with pytest.raises(DownloadFailed, match="not http or https"):
        await fetch(server, tmp_path / "part")
    assert len(server.requests) == 1


async def test_a_redirect_to_a_mirror_is_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [status("302 Found", Location=server.url + "?mirror"), whole()]
    await fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


async def test_redirects_in_circles_end(server: Server, tmp_path: Path) -> None:
    server.answers = [status("302 Found", Location=server.url)]
    with pytest.raises(DownloadFailed, match="circles"):
        await fetch(server, tmp_path / "part")


async def test_a_file_that_cannot_fit_is_not_begun(server: Server, tmp_path: Path) -> None:
    async def huge(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", Content_Length=60 << 30))

    server.answers = [huge]
    usage = type("Usage", (), {"free": 1 << 30})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qa.images.download.shutil.disk_usage", lambda _: usage)
        with pytest.raises(NoSpace, match="1024 MB free"):
            await fetch(server, tmp_path / "part")


async def test_nobody_at_the_address_is_a_clear_failure(server: Server, tmp_path: Path) -> None:
    server.url = "http://127.0.0.1:1/image"
    with pytest.raises(DownloadFailed, match=r"cannot fetch http://127\.0\.0\.1:1/image") as failure:
        await fetch(server, tmp_path / "part")
    assert "network" in str(failure.value.hint)


async def test_a_list_of_checksums_has_a_limit(server: Server) -> None:
    server.answers = [whole(content=b"x" * (5 << 20))]
    with pytest.raises(DownloadFailed, match="no list of checksums"):
        await Downloader(Bus(), QUICK).text(server.url)
