"""Firefox without a window, driven over Marionette: the same words as for Chromium, for what must work in both."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LIMIT_S = 60.0
"""For one answer, as for Chromium."""

PROGRAMS = ("firefox-esr", "firefox")
PREFERENCES = {
    "marionette.port": 0,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.autoDisableScopes": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
"""A port of its own choice, and nothing asked of the network."""

KEYS = {"ArrowDown": "\ue015", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowLeft": "\ue012", "Enter": "\ue007"}
KEYS |= {"Escape": "\ue00c", "Tab": "\ue004"}

COMPLAINTS = """
return Services.console.getMessageArray().filter(one => one instanceof Ci.nsIScriptError)
    .filter(one => one.sourceName.startsWith("file:") || one.category.startsWith("CSP") || one.category === "CORS")
    .map(one => `${one.category}: ${one.errorMessage} (${one.sourceName.slice(-40)}:${one.lineNumber})`);
"""


class Firefox:
    """One page. ``complaints`` are errors and warnings of scripts, of the security policy, of style and of loading."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        assert program, "Firefox is needed for this test: install the package firefox-esr"
        self._number = 0
        self._buffer = b""
        self._window = (width, height)
        self._profile = Path(tempfile.mkdtemp(prefix="anima-qa-firefox-"))
        lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in PREFERENCES.items()]
        (self._profile / "user.js").write_text("\n".join(lines))
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", self._profile],
            start_new_session=True,
            env={**os.environ, "HOME": str(self._profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        try:
            self._socket = socket.create_connection(("127.0.0.1", self._port()), LIMIT_S)
            self._receive()  # it says hello
            self._call("WebDriver:NewSession", capabilities={})
            self.resize(*self._window)
        except BaseException:
            self.close()
            raise
        return self

    def _port(self) -> int:
        """Where it listens: it writes that into its profile."""
        file, end = self._profile / "MarionetteActivePort", time.monotonic() + LIMIT_S
        while not (file.is_file() and file.read_text().strip()):
            assert self._process.poll() is None, f"Firefox ended with status {self._process.returncode}"
            assert time.monotonic() < end, f"Firefox did not start within {LIMIT_S:.0f} s"
            time.sleep(0.02)
        return int(file.read_text())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End Firefox with all its helpers, which share its process group."""
        if self._socket:
            self._socket.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(LIMIT_S)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load the file at ``path`` and wait until it is complete."""
        self._call("WebDriver:Navigate", url="about:blank")
        self._chrome("Services.console.reset();")
        self._call("WebDriver:Navigate", url=path.absolute().as_uri() + fragment)

    @property
    def complaints(self) -> list[str]:
        """What Firefox's console says of the page."""
        return list(self._chrome(COMPLAINTS))

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; it may be a promise."""
        return self._call("WebDriver:ExecuteScript", script=f"return ({script});", args=[])["value"]

    def until(self, condition: str) -> bool:
        """Wait until a JavaScript expression is true."""
        look = f"const look = () => {condition} ? resolve(true) : setTimeout(look, 10); look();"
        return bool(self.evaluate(f"new Promise(resolve => {{ {look} }})"))

    def press(self, key: str) -> None:
        """Press and release ``key``."""
        value = KEYS.get(key, key)
        keys = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._call("WebDriver:PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    def click(self, selector: str) -> None:
        """Click into the middle of the first element that ``selector`` finds."""
        script = f"""(() => {{ const box = document.querySelector({json.dumps(selector)});
            box.scrollIntoView({{block: "center", behavior: "instant"}}); const r = box.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        x, y = self.evaluate(script)
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._call("WebDriver:PerformActions", actions=[{"type": "pointer", "id": "mouse", "actions": moves}])

    def prefer(self, *, prefers_color_scheme: str) -> None:
        """Whether the user prefers ``dark`` or ``light``."""
        number = {"dark": 0, "light": 1}[prefers_color_scheme]
        self._chrome(f'Services.prefs.setIntPref("layout.css.prefers-color-scheme.content-override", {number});')
        assert self.until(f"matchMedia('(prefers-color-scheme: {prefers_color_scheme})').matches")

    def resize(self, width: int, height: int) -> None:
        """The size of what is seen of the page, in pixels; a window is never narrower than 450."""
        self._call("WebDriver:SetWindowRect", width=width, height=height)
        around = height - int(self.evaluate("innerHeight"))
        self._call("WebDriver:SetWindowRect", width=width, height=height + around)
        assert self.until(f"innerHeight === {height}")

    def picture(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode(self._call("WebDriver:TakeScreenshot", full=False)["value"])

    def _chrome(self, script: str) -> Any:
        """Run ``script`` in Firefox itself rather than in the page."""
        self._call("Marionette:SetContext", value="chrome")
        try:
            return self._call("WebDriver:ExecuteScript", script=script, args=[])["value"]
        finally:
            self._call("Marionette:SetContext", value="content")

    def _call(self, command: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        assert self._socket
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._receive()
        assert (number, error) == (self._number, None), error
        return result or {}

    def _receive(self) -> Any:
        """One message: its length, a colon, and JSON."""
        while b":" not in self._buffer:
            self._more()
        length, _, self._buffer = self._buffer.partition(b":")
        while len(self._buffer) < int(length):
            self._more()
        message, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(message)

    def _more(self) -> None:
        assert self._socket
        block = self._socket.recv(1 << 20)
        assert block, "Firefox ended"
        self._buffer += block
