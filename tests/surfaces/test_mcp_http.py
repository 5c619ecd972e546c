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
    with module_program.start("mcp", "--http", "0", "--profile", "full") as running:
        yield Server(running)
        running.signal(signal.SIGTERM)
        assert running.end().status == 128 + signal.SIGTERM


class Session:
    """A client. In the older generation it has a session; in the newer one each request says all."""

    def __init__(self, http: httpx.AsyncClient, url: str, era: str = OLD) -> None:
        self.era = era
        self.told: list[dict[str, Any]] = []
        self._http = http
        self._url = url
        self._headers = dict(ACCEPT)
        self._about: dict[str, Any] = {}
        self.count = 0

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        identity, headers = self.count, dict(self._headers)
        if self.era == NEW:
            params["_meta"] = {**params.get("_meta", {}), **self._about}
            headers |= {"MCP-Protocol-Version": NEW, "Mcp-Method": method, "Mcp-Name": str(params.get("name", ""))}
        message = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
        answer = await self._http.post(self._url, json=message, headers=headers)
        assert answer.status_code == 200, answer.text
        if "mcp-session-id" in answer.headers:
            self._headers |= {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": OLD}
        if answer.headers["content-type"].startswith("application/json"):
            alone: dict[str, Any] = answer.json()
            return alone
        events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:") and line[5:].strip()]
        self.told += events
        found: dict[str, Any] = next(event for event in events if event.get("id") == identity)
        return found

    async def notify(self, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        assert (await self._http.post(self._url, json=message, headers=self._headers)).status_code == 202

    async def open(self, name: str) -> None:
        info = {"name": name, "version": "1"}
        if self.era == NEW:
            about = {"protocolVersion": NEW, "clientInfo": info, "clientCapabilities": {}}
            self._about = {f"io.modelcontextprotocol/{key}": value for key, value in about.items()}
            return
        await self.request("initialize", protocolVersion=OLD, capabilities={}, clientInfo=info)
        await self.notify("notifications/initialized")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await self.request("tools/call", name=tool, arguments=arguments))["result"]
        return found

    async def data(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.call(tool, **arguments)
        assert not result.get("isError"), result
        found: dict[str, Any] = result["structuredContent"]
        return found

    async def done(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What comes of it in the end, however long it takes."""
        data = await self.data(tool, **arguments)
        while data.get("state") == "running":
            data = await self.data("vm_wait", job=data["job"])
        return data

    async def close(self) -> None:
        assert (await self._http.delete(self._url, headers=self._headers)).status_code == 200


@pytest.mark.parametrize("era", [OLD, NEW])
async def test_ten_clients_work_in_parallel_each_with_a_machine_of_its_own(server: Server, era: str) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        first = Session(http, server.url, era)
        await first.open("first")
        await first.done("vm_boot", image="builtin", name="others")
        job = (await first.data("vm_exec", vm="others", command="sleep 1000", wait_s=0))["job"]

        async def work(number: int) -> set[str]:
            session = Session(http, server.url, era)
            await session.open(
                "one of ten" if era == OLD else f"number {number}"
            )  # the newer generation knows no more than names
            await session.done("vm_boot", image="builtin")
            await session.data("vm_exec", vm="vm1", command=f"echo {number} > /root/mine")
            mine = await session.data("vm_exec", vm="vm1", command="cat /root/mine")
            assert mine["stdout"] == f"{number}\n"
            for tool, named in (("vm_exec", {"vm": "others", "command": "true"}), ("vm_wait", {"job": job, "cancel": True})):
                refused = await session.call(tool, **named)
                assert (refused["isError"], "there is no" in refused["structuredContent"]["error"]) == (True, True)
            machines = (await session.data("vm_list"))["machines"]
            assert [one["vm"] for one in machines] == ["vm1"]
            if era == OLD:
                await session.close()
            else:
                await session.done("vm_destroy", vm="vm1", force=True)
            return {one["folder"] for one in machines}

        folders = await asyncio.gather(*map(work, range(10)))
        assert len(set().union(*folders)) == 10
        left = qemus_of(server.pid)
        assert eventually(lambda: len(qemus_of(server.pid)) == 1), left  # only that of the first client, which is still there
        assert (await first.data("vm_wait", job=job, wait_s=0))["state"] == "running"
        if era == OLD:
            await first.close()
        else:
            await first.done("vm_destroy", vm="others", force=True)
        assert eventually(lambda: not qemus_of(server.pid))


@pytest.mark.parametrize("era", [OLD, NEW])
async def test_progress_is_told_and_a_call_that_is_cancelled_ends_the_command(server: Server, era: str) -> None:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        session = Session(http, server.url, era)
        await session.open(f"impatient {era}")
        await session.done("vm_boot", image="builtin")
        arguments = {"vm": "vm1", "command": "sleep 4.5; echo over"}
        answer = await session.request("tools/call", name="vm_exec", arguments=arguments, _meta={"progressToken": "mine"})
        assert answer["result"]["structuredContent"]["stdout"] == "over\n"
        told = [one["params"] for one in session.told if one.get("method") == "notifications/progress"]
        assert [one["progressToken"] for one in told] == ["mine"]

        command = "sh -c 'echo $$ > /tmp/pid; exec sleep 987'"
        calling = asyncio.create_task(session.call("vm_exec", vm="vm1", command=command))
        await asyncio.sleep(0)  # it has begun, and has its number
        number = session.count
        alive = "test -s /tmp/pid && kill -0 $(cat /tmp/pid)"
        assert (await session.done("vm_wait", vm="vm1", until="succeeds", value=alive))["met"]
        if era == OLD:
            await session.notify("notifications/cancelled", requestId=number)
        else:
            calling.cancel()  # which closes the connection: that is how the newer generation cancels
        gone = await session.done("vm_wait", vm="vm1", until="succeeds", value="! kill -0 $(cat /tmp/pid)")
        assert gone["met"], gone
        calling.cancel()
        await asyncio.wait({calling})
        assert [one for one in (await session.data("vm_list"))["jobs"] if one["state"] == "running"] == []
        await session.done("vm_destroy", vm="vm1", force=True)


async def test_a_client_of_the_newer_generation_that_asks_nothing_before(server: Server) -> None:
    async with httpx.AsyncClient() as http:
        session = Session(http, server.url, NEW)
        await session.open("new")
        assert await session.data("vm_list") == {"machines": [], "jobs": []}
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


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_machines_end_with_the_server_though_clients_have_vanished(program: Program, end: signal.Signals) -> None:
    with program.start("mcp", "--http", "127.0.0.1:0") as running:
        server = Server(running)

        async def boot() -> None:
            async with httpx.AsyncClient(timeout=LIMIT_S) as http:
                for era in (OLD, NEW):
                    session = Session(http, server.url, era)
                    await session.open("careless")
                    await session.done("vm_boot", image="builtin")
                    await session.data("vm_exec", vm="vm1", command="sleep 1000", wait_s=0)

        asyncio.run(boot())
        qemus = qemus_of(server.pid)
        assert len(qemus) == 2
        running.signal(end)
        ended = running.end()
        assert ended.status == (-9 if end == signal.SIGKILL else 128 + end)
        assert "Traceback" not in ended.text
        assert eventually(lambda: not any(map(is_alive, qemus)))
        if end == signal.SIGKILL:
            assert program.run("gc").status == 0
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
    assert {"vm_boot", "vm_destroy", "image_list", "script_run"} <= {tool["name"] for tool in json.loads(done.stdout)["tools"]}


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("resources/list", "anima-qa://machines"),
        ("resources/templates/list", "anima-qa://vm/{vm}/screen"),
        ("prompts/list", "bisect_with_forks"),
        ("tools/call --tool-name vm_list", "machines"),
    ],
)
def test_the_inspector_reads_all_that_is_offered(
    clients: Path, program: Program, server: Server, method: str, wanted: str, era: str
) -> None:
    done = inspect(clients, program, server.url, "--method", *method.split(), "--protocol-era", era)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done
    assert wanted in done.stdout


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
