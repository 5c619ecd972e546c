"""Clients of ``anima-qa mcp`` that see every line and every byte: over stdio, in both generations of the protocol."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from program import COMMAND, LIMIT_S, Program, eventually, is_alive, qemus_of

OLD, NEW = "2025-11-25", "2026-07-28"
ENVELOPE = "io.modelcontextprotocol/"


class Stray(AssertionError):
    """A line on stdout that is no message."""


class Client:
    """A client and its server. Each line that the server prints must be a message."""

    def __init__(
        self,
        program: Program,
        *arguments: str,
        era: str = OLD,
        elicitation: bool = False,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``command`` and ``environment``: how it is started, where that is not how the tests do it."""
        self._popen = subprocess.Popen(
            command or [*COMMAND, "mcp", *arguments],
            cwd=program.cwd, env=program.environment({}) if environment is None else environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._program = program
        self.era = era
        self.heard: list[dict[str, Any]] = []
        self.stray: list[bytes] = []
        self.answer_questions: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self._capabilities: dict[str, Any] = {"elicitation": {"form": {}}} if elicitation else {}
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._count = 0
        self.qemus: set[int] = set()
        self._stderr: list[bytes] = []
        self._readers = [threading.Thread(target=self._read, daemon=True), threading.Thread(target=self._complain, daemon=True)]
        for reader in self._readers:
            reader.start()
        self._guard = threading.Timer(LIMIT_S, self._popen.kill)

    def __enter__(self) -> Self:
        self._guard.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.cancel()
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()

    def _read(self) -> None:
        assert self._popen.stdout
        for line in self._popen.stdout:
            try:
                message = json.loads(line)
                assert message["jsonrpc"] == "2.0"
            except (ValueError, KeyError, TypeError, AssertionError):
                self.stray.append(line)
                continue
            self.heard.append(message)
            self._messages.put(message)
        self._messages.put(None)

    def _complain(self) -> None:
        assert self._popen.stderr
        self._stderr.extend(self._popen.stderr)

    @property
    def stderr(self) -> str:
        """What it said to people. Complete when it has ended."""
        return b"".join(self._stderr).decode(errors="replace")

    @property
    def pid(self) -> int:
        return self._popen.pid

    # messages

    def send_line(self, line: bytes) -> None:
        assert self._popen.stdin
        self._popen.stdin.write(line + b"\n")
        self._popen.stdin.flush()

    def send(self, message: dict[str, Any]) -> None:
        self.send_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def hear(self) -> dict[str, Any]:
        """The next message."""
        message = self._messages.get(timeout=LIMIT_S)
        if message is None:
            raise AssertionError(f"the server has ended:\n{self.stderr}")
        return message

    def begin(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request; its id."""
        self._count += 1
        params = dict(params or {})
        if self.era == NEW:
            about = {
                "protocolVersion": NEW,
                "clientInfo": {"name": "tests", "version": "1"},
                "clientCapabilities": self._capabilities,
            }
            params["_meta"] = {**params.get("_meta", {}), **{ENVELOPE + name: value for name, value in about.items()}}
        self.send({"id": self._count, "method": method, "params": params})
        return self._count

    def end_of(self, identity: int) -> dict[str, Any]:
        """The answer to a request. Questions that come meanwhile are answered."""
        while True:
            message = self.hear()
            if message.get("method") == "elicitation/create":
                assert self.answer_questions
                self.send({"id": message["id"], "result": self.answer_questions(message["params"])})
            elif message.get("id") == identity and "method" not in message:
                return message

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request, and wait for its answer."""
        return self.end_of(self.begin(method, params))

    def initialize(self) -> dict[str, Any]:
        """The handshake of the older generation; the newer one has none."""
        if self.era == NEW:
            answer = self.request("server/discover")
        else:
            about = {"protocolVersion": OLD, "capabilities": self._capabilities, "clientInfo": {"name": "tests", "version": "1"}}
            answer = self.request("initialize", **about)
            self.send({"method": "notifications/initialized"})
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool, an error of it among them."""
        answer = self.request("tools/call", name=tool, arguments=arguments)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def data(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool gives, which must be no error."""
        result = self.call(tool, **arguments)
        assert not result.get("isError"), result
        data: dict[str, Any] = result["structuredContent"]
        return data

    def done(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool gives in the end, however long it takes."""
        data = self.data(tool, **arguments)
        while data.get("state") == "running":
            data = self.data("vm_wait", job=data["job"])
        return data

    def said(self, tool: str, **arguments: Any) -> str:
        """The words of a result that may have a picture, which must be no error."""
        result = self.call(tool, **arguments)
        assert not result.get("isError"), result
        if "structuredContent" in result and "job" in (data := result["structuredContent"]):
            return self.said("vm_wait", job=data["job"])
        text: str = result["content"][0]["text"]
        return text

    def boot(self, **arguments: Any) -> dict[str, Any]:
        """A machine of the built-in guest, however long it takes."""
        data = self.done("vm_boot", **{"image": "builtin", **arguments})
        assert data["vm"], data
        self.qemus |= qemus_of(self.pid)
        return data

    # its end

    def close_input(self) -> None:
        assert self._popen.stdin
        self._popen.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Its exit status; when it has ended, everything that it said has been heard."""
        status = self._popen.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        return status

    def close(self) -> int:
        """Close its input as a client does, and see that nothing else than messages was said."""
        self.close_input()
        status = self.wait()
        assert self.stray == []
        return status

    def nothing_is_left(self) -> bool:
        """Whether its QEMUs are gone, and their files."""
        assert self.qemus
        gone = eventually(lambda: not any(map(is_alive, self.qemus)))
        return gone and not any(f"owner-{self.pid}-" in name for name in self._program.leftovers())
