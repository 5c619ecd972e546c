"""A page in the browser to draw the areas of a needle on its picture. It is served to this computer only, and ends on save."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import Interrupted, QaError, UsageError

if TYPE_CHECKING:
    from qa.screen.frames import Frame

PAGE = Path(__file__).with_name("needle_page.html")
MOST = 1_000_000
"""Bytes of a needle that is saved; none that people draw is larger."""
TEXT_BROWSERS = ("www-browser", "links", "links2", "elinks", "lynx", "w3m")
"""They run no scripts, and take the terminal."""


def draw(name: str, data: Mapping[str, Any], frame: Frame, write: Callable[[dict[str, Any]], None]) -> None:
    """Serve the page until the needle ``name`` is saved in it.

    Args:
        data: the needle's JSON to begin with.
        write: writes what was drawn; the page shows the QaError that it raises, and goes on.

    Raises:
        Interrupted: the person gave up.
    """
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "screen.png")
        frame.save_png(picture)
        content = picture.read_bytes()

    def save(drawn: Any) -> None:
        if not isinstance(drawn, dict):
            raise UsageError("a needle is a JSON object")
        write(drawn)

    server = PageServer(page(name, data, frame), content, save)
    click.echo(f"draw the areas at {server.address} and save; Ctrl-C gives up", err=True)
    try:
        if sys.stderr.isatty():  # some browsers let us wait until they end
            threading.Thread(target=_open, args=(server.address,), daemon=True).start()
        server.serve_forever()
    except KeyboardInterrupt:
        with server.saving:  # what is being written is not cut off
            if server.drawn is None:
                raise Interrupted("nothing was saved") from None
    finally:
        server.server_close()


def _open(address: str) -> None:
    """Open the page in the user's browser, unless that shows text only: then nothing can be drawn in it."""
    with suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        if browser.basename not in TEXT_BROWSERS:
            browser.open(address)


def page(name: str, data: Mapping[str, Any], frame: Frame) -> bytes:
    """The page, with the needle in it."""
    needle = {"name": name, "width": frame.width, "height": frame.height, "data": data}
    quoted = json.dumps(needle).replace("<", "\\u003c")  # so that no text ends the script element
    return PAGE.read_text(encoding="utf-8").replace('"NEEDLE"', quoted, 1).encode()


class PageServer(ThreadingHTTPServer):
    """Serves one page on a random port of 127.0.0.1, under a secret path.

    Attributes:
        save: writes what was drawn; what it raises is shown on the page.
        saving: held while that is done.
        drawn: what was saved; None until then.
    """

    daemon_threads = True

    def __init__(self, content: bytes, picture: bytes, save: Callable[[Any], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.path = f"/{secrets.token_urlsafe(24)}/"
        self.files = {self.path: (content, "text/html; charset=utf-8"), f"{self.path}screen.png": (picture, "image/png")}
        self.save = save
        self.saving = threading.Lock()
        self.drawn: dict[str, Any] | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser may go away at any time; only other errors are ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{self.host}{self.path}"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "anima-qa"
    sys_version = ""

    def do_GET(self) -> None:
        content, kind = self.server.files.get(self.path, (b"", ""))
        if not kind or not self._is_asked_for_here():
            self._answer(404, b"not here", "text/plain")
        else:
            self._answer(200, content, kind)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != f"{self.server.path}save" or not self._is_asked_for_here():
            self._answer(404, b"not here", "text/plain")
        elif not length.isdigit() or int(length) > MOST:
            self._answer(413, b"too large", "text/plain")
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        try:
            drawn = json.loads(body)
            with self.server.saving:
                self.server.save(drawn)
                self.server.drawn = drawn
        except (ValueError, RecursionError):
            self._answer(400, b"not JSON", "text/plain")
        except QaError as error:
            self._answer(422, error.message.encode(), "text/plain; charset=utf-8")
        else:
            try:
                self._answer(200, b"saved", "text/plain")
            finally:
                self.server.shutdown()

    def _is_asked_for_here(self) -> bool:
        """Not by a page of another site that lets its name point to this computer."""
        return self.headers.get("Host") == self.server.host

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        policy = (
            "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        )
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nobody wants a log of it."""
