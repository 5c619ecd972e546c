"""``anima-qa mcp --http`` with many clients, and with clients that others wrote."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp_client import NEW, OLD
from program import COMMAND, LIMIT_S, Program, Running, eventually, is_alive, qemus_of

CHECKOUT = Path(__file__).parents[2]
ACCEPT = {"Accept": "application/json, text/event-stream"}


class Server:
    """A server on a free port."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.url = running.wait_for("serving MCP at").split()[3].rstrip(",")
        self.pid = running._popen.pid


@pytest.fixture(scope="module")
def server(module_program: Program) -> Iterator[Server]:
    with module_program.start("mcp", "--http", "0") as running:
        yield Server(running)
        running.signal(signal.SIGTERM)
        assert running.end().status == 128 + signal.SIGTERM


class Session:
    """A client of the older generation."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self._headers = dict(ACCEPT)
        self._count = 0

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        answer = await self._http.post(self._url, json=message, headers=self._headers)
        assert answer.status_code == 200, answer.text
        if "mcp-session-id" in answer.headers:
            self._headers |= {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": OLD}
        events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:") and line[5:].strip()]
        found: dict[str, Any] = next(event for event in events if event.get("id") == self._count)
        return found

    async def open(self, name: str) -> None:
        about = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
        await self.request("initialize", **about)
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await self._http.post(self._url, json=message, headers=self._headers)).status_code == 202

    async def data(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = (await self.request("tools/call", name=tool, arguments=arguments))["result"]
        assert not result.get("isError"), result
        found: dict[str, Any] = result["structuredContent"]
        return found

    async def close(self) -> None:
        assert (await self._http.delete(self._url, headers=self._headers)).status_code == 200


async def test_ten_clients_work_in_parallel_each_with_a_machine_of_its_own(server: Server) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        first = Session(http, server.url)
        await first.open("first")
        booted = await first.data("vm_boot", image="builtin")
        while booted.get("state") == "running":
            booted = await first.data("vm_wait", job=booted["job"])

        async def work(number: int) -> set[str]:
            session = Session(http, server.url)
            await session.open("one of ten")
            begun = await session.data("vm_boot", image="builtin")
            while begun.get("state") == "running":
                begun = await session.data("vm_wait", job=begun["job"])
            await session.data("vm_exec", vm="vm1", command=f"echo {number} > /root/mine")
            mine = await session.data("vm_exec", vm="vm1", command="cat /root/mine")
            assert mine["stdout"] == f"{number}\n"
            machines = (await session.data("vm_list"))["machines"]
            assert [one["vm"] for one in machines] == ["vm1"]
            await session.close()
            return {one["folder"] for one in machines}

        folders = await asyncio.gather(*map(work, range(10)))
        assert len(set().union(*folders)) == 10
        left = qemus_of(server.pid)
        assert eventually(lambda: len(qemus_of(server.pid)) == 1), left  # only that of the first client, whose session is open
        await first.close()
        assert eventually(lambda: not qemus_of(server.pid))


async def test_requests_without_a_session_are_served_in_the_newer_generation(server: Server) -> None:
    meta = {"protocolVersion": NEW, "clientInfo": {"name": "new", "version": "1"}, "clientCapabilities": {}}
    params = {
        "name": "vm_list",
        "arguments": {},
        "_meta": {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()},
    }
    headers = {**ACCEPT, "MCP-Protocol-Version": NEW, "Mcp-Method": "tools/call", "Mcp-Name": "vm_list"}
    async with httpx.AsyncClient() as http:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await http.post(server.url, json=message, headers=headers)
        assert answer.json()["result"]["structuredContent"] == {"machines": [], "jobs": []}
        health = await http.get(server.url.replace("/mcp", "/health"))
        assert health.json()["status"] == "ok"


async def test_a_guest_cannot_use_the_server_that_runs_it(server: Server) -> None:
    """Its network reaches what listens on this host, and whoever could call tools would have this host's files."""
    port = server.url.split(":")[2].split("/")[0]
    forged = rf"POST /mcp HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        session = Session(http, server.url)
        await session.open("with a curious guest")
        begun = await session.data("vm_boot", image="builtin")
        while begun.get("state") == "running":
            begun = await session.data("vm_wait", job=begun["job"])
        told = await session.data("vm_exec", vm="vm1", command=f"printf '{forged}' | nc -w 20 10.0.2.2 {port}")
        assert told["stdout"].startswith("HTTP/1.1 403 "), told
        assert "--token-file" in told["stdout"]
        asked = await session.data("vm_exec", vm="vm1", command=f"wget -O- http://10.0.2.2:{port}/health")
        assert asked["exit_code"] != 0
        assert "403" in asked["stderr"]
        assert (await http.get(server.url.replace("/mcp", "/health"))).status_code == 200
        await session.close()


async def test_mistakes_get_the_errors_that_the_protocol_has_for_them(server: Server) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        session = Session(http, server.url)
        await session.open("clumsy")
        for method, params, code in (
            ("nono/nono", {}, -32601),
            ("tools/call", {"name": "nono", "arguments": {}}, -32602),
            ("tools/call", {"arguments": {}}, -32602),
            ("prompts/get", {"name": "nono"}, -32602),
            ("resources/read", {"uri": "anima-qa://nono"}, -32602),
        ):
            answer = await session.request(method, **params)
            assert answer["error"]["code"] == code, (method, answer)
        await session.close()


async def test_what_the_server_cannot_do_is_an_internal_error(fresh_program: Program) -> None:
    rules = fresh_program.home / "config" / "config.toml"
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_text("[policy]\ndeny_operations = ['vm_list']\n")
    with fresh_program.start("mcp", "--http", "0") as running:
        async with httpx.AsyncClient(timeout=LIMIT_S) as http:
            session = Session(http, Server(running).url)
            await session.open("refused")
            answer = await session.request("resources/read", uri="anima-qa://machines")
        assert answer["error"]["code"] == -32603, answer
        assert "not allowed here" in answer["error"]["message"]
        running.signal(signal.SIGTERM)
        running.end()


def test_machines_end_with_the_server(program: Program) -> None:
    with program.start("mcp", "--http", "127.0.0.1:0") as running:
        server = Server(running)

        async def boot() -> None:
            async with httpx.AsyncClient(timeout=LIMIT_S) as http:
                session = Session(http, server.url)
                await session.open("careless")
                await session.data("vm_boot", image="builtin")
                await session.data("vm_exec", vm="vm1", command="sleep 1000", wait_s=0)

        asyncio.run(boot())
        qemus = qemus_of(server.pid)
        assert qemus
        running.signal(signal.SIGHUP)
        ended = running.end()
        assert ended.status == 128 + signal.SIGHUP
        assert "Traceback" not in ended.text
        assert eventually(lambda: not any(map(is_alive, qemus)))
        assert not any(f"owner-{server.pid}-" in name for name in program.leftovers())


def test_an_address_that_others_can_reach_needs_a_token(program: Program, tmp_path: Path) -> None:
    refused = program.run("mcp", "--http", "0.0.0.0:0")
    assert refused.status == 2
    assert "a token is needed" in refused.stderr
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123\n")
    token.chmod(0o600)
    with program.start("mcp", "--http", "0.0.0.0:0", "--token-file", str(token)) as running:
        url = Server(running).url.replace("0.0.0.0", "127.0.0.1")
        ask = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert httpx.post(url, json=ask, headers=ACCEPT).status_code == 401
        with_token = {**ACCEPT, "Authorization": "Bearer 0123456789abcdef0123"}
        assert httpx.post(url, json=ask, headers=with_token).status_code != 401
        running.signal(signal.SIGTERM)
        running.end()


def test_a_port_that_is_taken_is_told(program: Program, server: Server) -> None:
    port = server.url.split(":")[2].split("/")[0]
    refused = program.run("mcp", "--http", port)
    assert refused.status == 3
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "Traceback" not in refused.stderr


# clients that others wrote


@pytest.fixture(scope="module")
def clients() -> Path:
    """Their programs, which ``tools/setup.sh test`` has installed."""
    found = subprocess.run([CHECKOUT / "tools" / "mcp-clients.sh"], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip()) / "bin"


def inspect(clients: Path, program: Program, *words: str) -> subprocess.CompletedProcess[str]:
    environment = program.environment({"PATH": f"{clients}:{os.environ['PATH']}", "HOME": str(program.cwd)})
    return subprocess.run(
        ["mcp-inspector", "--cli", *words],
        env=environment, cwd=program.cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("over", ["stdio", "http"])
def test_the_inspector_finds_nothing_to_complain_about(
    clients: Path, program: Program, server: Server, over: str, era: str
) -> None:
    target = [server.url] if over == "http" else [*COMMAND, "mcp", "--profile", "full"]
    done = inspect(clients, program, *target, "--method", "tools/list", "--strict", "--protocol-era", era)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done
    assert {"vm_boot", "vm_destroy"} <= {tool["name"] for tool in json.loads(done.stdout)["tools"]}


def test_the_inspector_calls_a_tool_and_gets_a_prompt(clients: Path, program: Program, server: Server) -> None:
    wrong = inspect(clients, program, server.url, "--method", "tools/call", "--tool-name", "vm_list", "--tool-arg", "nono=1")
    assert wrong.returncode == 5  # an error of the tool
    assert "there is no argument 'nono'" in wrong.stdout
    words = ["--method", "prompts/get", "--prompt-name", "quick_sandbox", "--prompt-args", "task=count to three"]
    prompt = inspect(clients, program, server.url, *words)
    assert "count to three" in prompt.stdout


SCENARIOS = [
    "server-initialize", "ping", "tools-list", "dns-rebinding-protection", "http-header-validation", "caching",
    "server-stateless",
]  # fmt: skip
NEED_FIXTURE_TOOLS = {
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
}
"""They call tools that only servers made for these tests have, and say that they cannot test others."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_protocol_is_kept(clients: Path, program: Program, server: Server, scenario: str) -> None:
    environment = program.environment({"PATH": f"{clients}:{os.environ['PATH']}", "HOME": str(program.cwd)})
    done = subprocess.run(
        ["conformance", "server", "--url", server.url, "--scenario", scenario],
        env=environment, cwd=program.cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    said = re.sub(r"\x1b\[\d+m", "", done.stdout)
    failed = set(re.findall(r"\[([a-z0-9-]+) *\] FAILURE", said))
    assert failed == (NEED_FIXTURE_TOOLS if scenario == "server-stateless" else set()), said
    assert len(re.findall(r"\] SUCCESS ", said)) >= 2, said + done.stderr
