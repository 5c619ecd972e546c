"""Chromium without a window, driven over its debugging pipe: what a person would see and press."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LIMIT_S = 60.0
"""For one answer: a browser that starts on a busy machine takes seconds, one that hangs must not hang the tests."""

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
LAUNCHER = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.closerange(5, 200)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and answers on 4; both are put high first, so that neither hides the other."""

KEYS = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "f": 70,
    "j": 74,
    "k": 75,
}


class Browser:
    """One page. ``complaints`` are errors and warnings of scripts, of the security policy and of loading."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        assert program, "Chromium is needed for this test: install the package chromium"
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""
        self._loaded = False
        self._profile = tempfile.mkdtemp(prefix="anima-qa-browser-")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        arguments = [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(to_browser), str(from_browser), program, *arguments],
            pass_fds=(to_browser, from_browser),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None

    def __enter__(self) -> Self:
        try:
            targets = self._call("Target.getTargets")["targetInfos"]
            page = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium with all its helpers, which share its process group."""
        os.close(self._write)
        os.close(self._read)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(LIMIT_S)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load the file at ``path`` and wait until it is complete."""
        self._load("about:blank")  # or a page that is shown already would only be scrolled
        self.complaints.clear()
        self.requests.clear()
        self._load(path.absolute().as_uri() + fragment)

    def _load(self, url: str) -> None:
        self._loaded = False
        self._call("Page.navigate", url=url)
        while not self._loaded:
            self._handle(self._receive())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; it may be a promise."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> bool:
        """Wait until a JavaScript expression is true: links and keys take effect after the input was taken."""
        look = f"const look = () => {condition} ? resolve(true) : setTimeout(look, 10); look();"
        return bool(self.evaluate(f"new Promise(resolve => {{ {look} }})"))

    def press(self, key: str) -> None:
        """Press and release ``key``."""
        code = KEYS[key]
        text = {"text": "\r" if key == "Enter" else key} if key == "Enter" or len(key) == 1 else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def click(self, selector: str) -> None:
        """Click into the middle of the first element that ``selector`` finds."""
        script = f"""(() => {{ const box = document.querySelector({json.dumps(selector)});
            box.scrollIntoView({{block: "center", behavior: "instant"}}); const r = box.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""
        x, y = self.evaluate(script)
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def prefer(self, **features: str) -> None:
        """What the user prefers, for example ``prefers_color_scheme="dark"``."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", features=media)

    def resize(self, width: int, height: int) -> None:
        """The size of the window, in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def accessible(self) -> list[dict[str, Any]]:
        """What a screen reader is told: ``role``, ``name`` and, of headings, the ``level`` of all that is not hidden from it."""
        nodes = {node["nodeId"]: node for node in self._call("Accessibility.getFullAXTree")["nodes"]}
        told, left = [], [next(iter(nodes))]
        while left:  # in the order in which it is read
            node = nodes[left.pop()]
            left += reversed(node.get("childIds", ()))
            if not node["ignored"]:
                more = {one["name"]: one["value"].get("value") for one in node.get("properties", ())}
                told.append({"role": node["role"]["value"], "name": node.get("name", {}).get("value", "").strip(), **more})
        return told

    def allow_scripts(self, allowed: bool) -> None:
        """Whether pages may run scripts."""
        self._call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._handle(answer)

    def _handle(self, message: dict[str, Any]) -> None:
        method, data = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Log.entryAdded" and data["entry"]["level"] in ("error", "warning"):
            self.complaints.append(data["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(data["exceptionDetails"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(data["request"]["url"])

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + LIMIT_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium did not answer within {LIMIT_S:.0f} s"
            block = os.read(self._read, 1 << 20)
            assert block, "Chromium ended"
            self._buffer += block
        first, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message
