"""``anima-qa mcp`` as a client sees it that starts it and talks to it over stdin and stdout."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import signal
import socket
import string
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_client import NEW, OLD, Client
from PIL import Image
from program import COMMAND, PROGRAM, Program, eventually, is_alive, qemus_of

CORE = {
    "vm_boot", "vm_list", "vm_exec", "vm_console", "vm_screenshot", "vm_input", "vm_wait", "vm_copy", "vm_snapshot", "vm_destroy",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(module_program: Program) -> Iterator[Client]:
    """One server with the machine vm1, for tests that leave it well."""
    with Client(module_program) as client:
        client.initialize()
        client.boot()
        yield client
        assert client.close() == 0
        assert client.nothing_is_left()


@pytest.fixture(scope="module")
def newer(module_program: Program) -> Iterator[Client]:
    """The same in the newer generation of the protocol."""
    with Client(module_program, era=NEW) as client:
        client.boot()
        yield client
        assert client.close() == 0
        assert client.nothing_is_left()


@pytest.fixture(params=["client", "newer"], ids=[OLD, NEW])
def either(request: pytest.FixtureRequest) -> Client:
    """A client of each generation, for what the generations do in ways of their own."""
    client: Client = request.getfixturevalue(request.param)
    return client


@pytest.mark.parametrize("era", [OLD, NEW])
def test_both_generations_are_served(program: Program, era: str) -> None:
    with Client(program, era=era) as client:
        said = client.initialize()
        assert "vm_boot" in said["instructions"]
        tools = client.request("tools/list")["result"]["tools"]
        assert {tool["name"] for tool in tools} == CORE
        assert client.data("vm_list") == {"machines": [], "jobs": []}
        assert client.close() == 0


def test_a_client_may_ask_what_is_spoken_here_and_go_on_in_the_older_generation(program: Program) -> None:
    with Client(program, era=NEW) as client:
        assert NEW in client.request("server/discover")["result"]["supportedVersions"]
        client.era = OLD
        assert client.initialize()["protocolVersion"] == OLD
        assert client.data("vm_list") == {"machines": [], "jobs": []}
        assert client.close() == 0


def test_what_was_asked_before_the_end_of_input_is_answered(program: Program) -> None:
    hello = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "pipe", "version": "1"}}
    asked = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        *({"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(2, 9)),
    ]
    done = subprocess.run(
        [*COMMAND, "mcp"],
        input="".join(json.dumps(message) + "\n" for message in asked),
        capture_output=True,
        text=True,
        env=program.environment({}),
        timeout=60,
        check=True,
    )
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == list(range(1, 9))


def test_it_starts_nothing_and_a_second_one_beside_it_neither(fresh_program: Program) -> None:
    with Client(fresh_program) as first, Client(fresh_program) as second:
        for client in (first, second):
            client.initialize()
            client.request("tools/list")
            client.request("prompts/list")
            assert subprocess.run(["pgrep", "-P", str(client.pid)], capture_output=True, check=False).stdout == b""
        assert not (fresh_program.home / "state").exists()
        assert not (fresh_program.home / "cache" / "work").exists()
        assert first.close() == second.close() == 0


HANDED_ON = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""All that clients which are made with the protocol's own libraries hand on to what they start."""


@pytest.mark.parametrize("which", ["claude-code", "claude-desktop", "codex", "vscode", "cursor"])
def test_what_is_printed_for_a_client_starts_a_server(fresh_program: Program, which: str) -> None:
    printed = fresh_program.run("mcp", "--print-config", which, "--profile", "full").stdout
    settings = tomllib.loads(printed) if which == "codex" else json.loads(printed)
    servers = settings[{"codex": "mcp_servers", "vscode": "servers"}.get(which, "mcpServers")]
    entry = servers["anima-qa"]
    environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ} | entry["env"]
    with Client(fresh_program, command=[entry["command"], *entry["args"]], environment=environment) as client:
        client.initialize()
        assert {tool["name"] for tool in client.request("tools/list")["result"]["tools"]} > CORE
        client.data("vm_list")
        assert client.close() == 0
    assert (fresh_program.home / "state").exists()  # the folder that ANIMA_QA_HOME names, in which the call is written down


def test_a_skill_is_printed(program: Program) -> None:
    assert program.run("mcp", "--print-skill").stdout.startswith("---\nname: ")


def test_lines_that_are_no_messages_are_answered_and_the_next_one_is_served(program: Program) -> None:
    with Client(program) as client:
        client.initialize()
        client.send_line(b"hello")
        assert client.hear()["error"]["code"] == -32700
        client.send_line(b'{"jsonrpc": "2.0", "id": 9}')
        assert (client.hear()["error"]["code"], client.heard[-1]["id"]) == (-32600, 9)
        assert client.request("nono")["error"]["code"] == -32601
        assert client.request("tools/call", name=5)["error"]["code"] == -32602
        assert client.request("tools/call", name="vm_exek")["error"]["code"] == -32602
        assert "did you mean vm_exec" in client.heard[-1]["error"]["message"]
        assert client.close() == 0


# with a machine


def test_a_command_gives_what_it_gave(client: Client) -> None:
    data = client.data("vm_exec", vm="vm1", command="echo out; echo err >&2; exit 3")
    assert (data["exit_code"], data["stdout"], data["stderr"]) == (3, "out\n", "err\n")


def test_long_output_is_cut_in_the_middle_and_whole_in_a_file(client: Client) -> None:
    data = client.data("vm_exec", vm="vm1", command="seq 30000")
    assert "bytes cut out here" in data["stdout"]
    assert data["stdout"].startswith("1\n2\n")
    assert data["stdout"].endswith("29999\n30000\n")
    assert len(data["stdout"]) < 17_000
    assert Path(data["whole_output"]).read_text() == "".join(f"{number}\n" for number in range(1, 30001))


def test_a_command_in_the_background_is_followed_with_a_cursor(client: Client) -> None:
    begun = client.data("vm_exec", vm="vm1", command="echo one; read line < /tmp/go; echo two; exit 5", wait_s=0)
    assert begun["state"] == "running"
    client.data("vm_exec", vm="vm1", command="test -p /tmp/go || { rm -f /tmp/go; mkfifo /tmp/go; }")
    begun = client.data("vm_exec", vm="vm1", command="echo one; read line < /tmp/go; echo two; exit 5", wait_s=0)
    first = client.data("vm_wait", job=begun["job"], cursor=0)
    assert (first["output"], first["state"]) == ("one\n", "running")
    client.data("vm_exec", vm="vm1", command="echo > /tmp/go")
    last = client.data("vm_wait", job=begun["job"])
    assert (last["exit_code"], last["stdout"]) == (5, "one\ntwo\n")
    assert client.data("vm_wait", job=begun["job"], cursor=first["cursor"])["exit_code"] == 5


def test_a_call_that_is_cancelled_ends_the_command_in_the_guest(either: Client) -> None:
    command = "sh -c 'echo $$ > /tmp/pid; exec sleep 987'"
    identity = either.begin("tools/call", {"name": "vm_exec", "arguments": {"vm": "vm1", "command": command}})
    assert either.data("vm_wait", vm="vm1", until="succeeds", value="test -s /tmp/pid && kill -0 $(cat /tmp/pid)")["met"]
    either.send({"method": "notifications/cancelled", "params": {"requestId": identity}})
    assert either.data("vm_wait", vm="vm1", until="succeeds", value="! kill -0 $(cat /tmp/pid)")["met"]
    assert [job for job in either.data("vm_list")["jobs"] if job["state"] == "running"] == []


def test_progress_is_told_while_a_command_runs(either: Client) -> None:
    asked = {"name": "vm_exec", "arguments": {"vm": "vm1", "command": "sleep 4.5; echo over"}, "_meta": {"progressToken": "mine"}}
    before = len(either.heard)
    answer = either.end_of(either.begin("tools/call", asked))
    assert answer["result"]["structuredContent"]["stdout"] == "over\n"
    told = [one["params"] for one in either.heard[before:] if one.get("method") == "notifications/progress"]
    assert told
    assert told[0]["progressToken"] == "mine"
    assert told[0]["progress"] < 4.9


def test_the_screen_is_a_picture_once_and_words_after_that(client: Client) -> None:
    first = client.call("vm_screenshot", vm="vm1", again=True)
    assert [part["type"] for part in first["content"]] == ["text", "image"]
    assert first["content"][1]["mimeType"] == "image/png"
    assert "structuredContent" not in first
    again = client.call("vm_screenshot", vm="vm1")
    assert [part["type"] for part in again["content"]] == ["text"]
    assert "unchanged" in again["content"][0]["text"]


def test_keys_are_answered_with_what_they_changed(client: Client) -> None:
    client.call("vm_screenshot", vm="vm1")
    result = client.call("vm_input", vm="vm1", text="x", keys="ret ret")
    assert "changed: [" in result["content"][0]["text"]
    assert result["content"][1]["type"] == "image"
    wrong = client.call("vm_input", vm="vm1", click=[5000, 1])
    assert wrong["isError"]
    assert "outside the last picture" in wrong["content"][0]["text"]


def test_the_console_is_read_typed_into_and_waited_for(client: Client) -> None:
    before = client.data("vm_console", vm="vm1")
    answered = client.data("vm_console", vm="vm1", send="\n", wait_for="login:", timeout_s=30)
    assert answered["met"] is True
    news = client.data("vm_console", vm="vm1", cursor=before["cursor"])
    assert "login:" in news["text"]
    assert len(news["text"]) < len(before["text"]) + 40
    assert client.data("vm_console", vm="vm1", wait_for="never printed", timeout_s=0.2)["met"] is False


def test_what_is_waited_for_and_does_not_come_is_no_error(client: Client) -> None:
    data = client.data("vm_wait", vm="vm1", until="file", value="/nono", timeout_s=0.1)
    assert (data["met"], data["until"]) == (False, "file")
    assert "/nono" in data["why"]


def test_whatever_comes_is_waited_for(client: Client) -> None:
    assert client.done("vm_wait", vm="vm1", until="ready")["met"]
    assert client.done("vm_wait", vm="vm1", until="port", value=22)["met"]
    assert client.done("vm_wait", vm="vm1", until="closed_port", value=81)["met"]
    assert not client.done("vm_wait", vm="vm1", until="port", value=81, timeout_s=0.1)["met"]
    assert client.done("vm_wait", vm="vm1", until="still")["met"]
    client.said("vm_input", vm="vm1", text="echo $((6*7)) is seen\n")
    text = client.done("vm_wait", vm="vm1", until="text", value=r"^\d+ is seen")
    assert (text["found"], text["areas"][0][0], text["areas"][0][2:]) == ("42 is seen", 0, [80, 16])
    client.said("vm_input", vm="vm1", text="clear\n", layout="us", picture=False)
    needle = client.done("vm_wait", vm="vm1", until="needle", value="builtin-cleared")
    assert (needle["met"], needle["found"], len(needle["areas"])) == (True, "builtin-cleared", 2)


def test_a_part_of_the_screen_is_enlarged_shrunk_and_read(client: Client) -> None:
    client.said("vm_input", vm="vm1", text="echo $((7*6)) to read\n")
    assert "42 to read" in client.said("vm_screenshot", vm="vm1", text=True)
    small = client.call("vm_screenshot", vm="vm1", scale=0.5, again=True)
    assert "picture 400x300" in small["content"][0]["text"]
    assert size_of(small) == (400, 300)
    part = client.call("vm_screenshot", vm="vm1", region=[0, 0, 100, 50], scale=3)  # in pixels of the small picture
    assert "of it the part x 0, y 0, 200x100" in part["content"][0]["text"]
    assert size_of(part) == (600, 300)
    outside = client.call("vm_screenshot", vm="vm1", region=[700, 0, 10, 10])
    assert "outside the last picture, which is 600x300" in outside["content"][0]["text"]
    assert size_of(client.call("vm_screenshot", vm="vm1", again=True)) == (800, 600)


def size_of(result: dict[str, Any]) -> tuple[int, int]:
    """Of the picture in a result."""
    with Image.open(io.BytesIO(base64.b64decode(result["content"][1]["data"]))) as picture:
        return picture.size


def test_a_machine_is_paused_switched_off_and_on_again(client: Client) -> None:
    client.done("vm_snapshot", vm="vm1", action="fork", names=["power"])
    client.said("vm_input", vm="power", power="pause")
    assert [one["state"] for one in client.data("vm_list")["machines"] if one["vm"] == "power"] == ["paused"]
    client.said("vm_input", vm="power", power="resume")
    off = client.done("vm_input", vm="power", power="shutdown")
    assert (off["state"], "power=boot" in off["next"]) == ("off", True)
    assert client.done("vm_wait", vm="power", until="off")["met"]
    assert "done" in client.said("vm_input", vm="power", power="boot", wait_s=0)  # longer than many clients wait, on a slow host
    assert client.data("vm_exec", vm="power", command="cat /proc/uptime")["exit_code"] == 0
    assert client.done("vm_input", vm="power", power="crash")["state"] == "off"
    client.done("vm_destroy", vm="power")


def test_a_machine_boots_through_its_firmware_as_it_was_asked_for(client: Client) -> None:
    asked = {"memory": "300M", "cpus": 1, "network": "restricted", "forward": [22], "options": {"disks": [{"size": "10M"}]}}
    booted = client.boot(name="cold", start="cold", **asked)
    assert (booted["start"], booted["memory_mb"], booted["cpus"]) == ("cold", 300, 1)
    assert client.done("vm_wait", vm="cold", until="port", value="22")["met"]  # commands work before SSH does
    host, port = booted["forwards"]["22"].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as ssh:
        assert ssh.recv(4) == b"SSH-"
    assert client.data("vm_exec", vm="cold", command="cat /sys/block/vdb/size")["stdout"] == f"{(10 << 20) // 512}\n"
    client.done("vm_destroy", vm="cold", force=True)


def test_what_the_full_profile_does_to_images_scripts_and_templates(fresh_program: Program) -> None:
    with Client(fresh_program, "--profile", "full") as client:
        client.initialize()
        (fresh_program.cwd / "empty.raw").write_bytes(bytes(510) + b"\x55\xaa" + bytes((1 << 20) - 512))  # it has a boot sector
        assert client.done("image_list")["images"]
        assert client.done("image_info", image="empty.raw")["format"] == "raw"
        client.done("image_overlay", image="empty.raw", target="mine.qcow2")
        client.done("image_convert", image="mine.qcow2", target="mine.raw", backing=True)
        client.done("image_resize", image="mine.raw", size="2M")
        assert (fresh_program.cwd / "mine.raw").stat().st_size == 2 << 20
        again = client.call("image_convert", image="mine.raw", target="mine.qcow2", replace=True)
        assert again["structuredContent"]["rule"] == "policy.confirm"

        script = "name: two steps\nimage: builtin\nsteps: [{succeed: 'true'}, {name: the second, succeed: 'false'}]\n"
        ran = client.done("script_run", text=script)
        (run,) = ran["runs"]
        assert (ran["outcome"], run["steps"], [one["name"] for one in run["not_passed"]]) == ("failed", 2, ["the second"])
        (report,) = client.request("resources/read", uri="anima-qa://report")["result"]["contents"]
        assert (json.loads(report["text"])["name"], (Path(run["folder"]) / "report.html").exists()) == ("two steps", True)

        frozen = [one["id"] for one in client.done("template_list")["templates"]]
        kinds = [client.done("template_info", template=one)["kind"] for one in frozen]
        assert sorted(kinds) == ["failure", "template"]
        assert client.call("template_remove", templates=frozen)["structuredContent"]["rule"] == "policy.confirm"
        client.done("template_remove", templates=frozen, force=True)
        assert client.done("template_prune", to="1G", force=True)
        assert client.done("template_list")["templates"] == []
        assert client.close() == 0
    assert fresh_program.leftovers() == []


def test_files_go_in_and_out(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.txt"
    source.parent.mkdir()
    source.write_text("häl\x00lo")
    client.data("vm_copy", vm="vm1", direction="to_vm", source=str(source.parent), target="/root/in")
    client.data("vm_copy", vm="vm1", direction="from_vm", source="/root/in", target=str(tmp_path / "out"))
    assert (tmp_path / "out" / "a.txt").read_bytes() == source.read_bytes()
    for _ in range(2):  # the second one replaces the first, and lies where it lay
        copied = Path(client.data("vm_copy", vm="vm1", direction="from_vm", source="/root/in")["target"])
        assert (copied.parts[-2:], [one.name for one in copied.iterdir()]) == (("files", "in"), ["a.txt"])
    written = client.data("vm_copy", vm="vm1", direction="to_vm", content="ünicode\n", target="/root/b.txt")
    assert written["bytes"] == 9
    assert client.data("vm_exec", vm="vm1", command="cat /root/b.txt")["stdout"] == "ünicode\n"


def test_a_fork_is_broken_and_the_original_is_not(client: Client) -> None:
    client.data("vm_exec", vm="vm1", command="echo well > /root/state")
    forks = client.data("vm_snapshot", vm="vm1", action="fork", names=["risky"])["forks"]
    assert [fork["vm"] for fork in forks] == ["risky"]
    client.data("vm_exec", vm="risky", command="rm /root/state")
    assert client.data("vm_exec", vm="vm1", command="cat /root/state")["stdout"] == "well\n"
    client.data("vm_destroy", vm="risky")  # nobody must be asked about a fork
    assert "gone" in client.call("vm_exec", vm="risky", command="true")["content"][0]["text"]


def test_the_machine_goes_back_to_a_snapshot(client: Client) -> None:
    client.data("vm_snapshot", vm="vm1", action="save", name="before")
    client.data("vm_exec", vm="vm1", command="touch /root/after")
    client.data("vm_snapshot", vm="vm1", action="restore", name="before")
    assert client.data("vm_exec", vm="vm1", command="test -e /root/after")["exit_code"] == 1
    asked = client.call("vm_snapshot", vm="vm1", action="delete", name="before")
    assert asked["structuredContent"]["rule"] == "policy.confirm"
    assert client.data("vm_snapshot", vm="vm1", action="delete", name="before", force=True)["snapshots"] == []


def test_resources_show_the_machine(client: Client) -> None:
    uris = [one["uri"] for one in client.request("resources/list")["result"]["resources"]]
    assert {"anima-qa://machines", "anima-qa://vm/vm1/console", "anima-qa://vm/vm1/screen"} <= set(uris)
    for uri in uris:
        if "report" not in uri:
            (content,) = client.request("resources/read", uri=uri)["result"]["contents"]
            assert content["uri"] == uri
            assert content.get("text") or content.get("blob")


def test_calls_at_random_get_well_formed_answers(either: Client) -> None:
    """A hundred, of which none can end the machine, since nothing is forced; fewer and other ones in the newer generation."""
    count, dice = (100, random.Random(20261120)) if either.era == OLD else (40, random.Random(20261127))
    tools = either.request("tools/list")["result"]["tools"]
    for number in range(count):
        tool = dice.choice(tools)
        arguments = _some_arguments(dice, tool["inputSchema"])
        answer = either.request("tools/call", name=tool["name"], arguments=arguments)
        where = f"call {number}: {tool['name']} {json.dumps(arguments)[:300]}"
        assert ("result" in answer) != ("error" in answer), where
        if "error" in answer:
            assert answer["error"]["code"] in {-32600, -32602}, (where, answer)
            continue
        result = answer["result"]
        assert result["content"], where
        assert all(part["type"] in {"text", "image"} for part in result["content"]), where
        assert "defect" not in json.dumps(result), (where, result)
        if result.get("isError"):
            assert result["structuredContent"]["error"], where
    assert either.data("vm_exec", vm="vm1", command="echo still here")["stdout"] == "still here\n"


def _some_arguments(dice: random.Random, schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments of which most are of the right kind, and some of none."""
    properties = schema["properties"]
    chosen = [name for name in properties if name in schema.get("required", []) or dice.random() < 0.3]
    arguments = {name: _something(dice, name, properties[name]) for name in chosen if dice.random() < 0.97}
    if dice.random() < 0.05:
        arguments[dice.choice(["nono", "", "vm ", "__class__"])] = None
    return arguments


def _something(dice: random.Random, name: str, about: dict[str, Any]) -> Any:
    if name == "vm" and dice.random() < 0.8:
        return "vm1"
    if name in {"wait_s", "timeout_s"}:
        return dice.choice([0.1, 0.5, 1, -1, "soon"])
    if name in {"force", "cancel"}:
        return False
    if name == "power":
        return "pause" if dice.random() < 0.1 else dice.choice(["resume", "nono", 3])
    if name == "target":
        return dice.choice(["/root/x", "/proc/nono", ""])
    if "enum" in about and dice.random() < 0.9:
        return dice.choice(about["enum"])
    some = [None, True, -1, 2**70, 1e308, "", "\x00", "ü\u2028\ud800", "x" * 5000, [], [1, 2], [1, 2, 3, 4], {}, {"a": [1]}]
    kinds = {"integer": dice.randrange(-5, 5000), "number": dice.random() * 100, "boolean": dice.random() < 0.5}
    right = kinds.get(about.get("type", ""), "".join(dice.choices(string.printable, k=dice.randrange(12))))
    return right if dice.random() < 0.6 else dice.choice(some)


# asking the user


@pytest.mark.parametrize("era", [OLD, NEW])
def test_the_user_is_asked_where_the_client_can_ask(program: Program, era: str) -> None:
    with Client(program, era=era, elicitation=True) as client:
        client.initialize()
        client.boot()
        refused = _destroy(client, {"action": "decline"})
        assert "not confirmed" in json.dumps(refused)
        assert client.data("vm_exec", vm="vm1", command="true")["exit_code"] == 0
        unsure = _destroy(client, {"action": "accept", "content": {"confirm": False}})
        assert "not confirmed" in json.dumps(unsure)
        agreed = _destroy(client, {"action": "accept", "content": {"confirm": True}})
        assert agreed["structuredContent"]["state"] == "destroyed"
        assert client.close() == 0


def _destroy(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """Destroy vm1 as an agent that claims to have asked; the user says ``answer``."""
    call: dict[str, Any] = {"name": "vm_destroy", "arguments": {"vm": "vm1", "force": True}}
    questions: list[dict[str, Any]] = []

    def reply(question: dict[str, Any]) -> dict[str, Any]:
        questions.append(question)
        return answer

    client.answer_questions = reply
    result = client.request("tools/call", **call)["result"]
    if client.era == NEW:
        unasked = client.request(
            "tools/call", **call, inputResponses={"confirm": {"action": "accept", "content": {"confirm": True}}}
        )
        assert unasked["result"]["resultType"] == "input_required"  # an answer to no question counts for nothing
        assert result["resultType"] == "input_required"
        ((key, request),) = result["inputRequests"].items()
        questions.append(request["params"])
        result = client.request("tools/call", **call, inputResponses={key: answer}, requestState=result["requestState"])["result"]
    assert [question["message"].startswith("Destroy the machine vm1") for question in questions] == [True]
    found: dict[str, Any] = result
    return found


# its end


ENDS = ["end of input", "SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"]


def end_it(client: Client, end: str) -> None:
    """End the server in one of the ways that there are, and see that it ended as it should."""
    if end == "end of input":
        client.close_input()
        assert client.wait() == 0
    else:
        number = signal.Signals[end]
        client.signal(number)
        assert client.wait() == (-9 if end == "SIGKILL" else 128 + number)
    assert client.stray == []


@pytest.mark.parametrize("end", ENDS)
def test_nothing_stays_however_it_ends(program: Program, end: str) -> None:
    with Client(program) as client:
        client.initialize()
        client.boot()
        client.data("vm_exec", vm="vm1", command="sleep 1000", wait_s=0)
        client.done("vm_snapshot", vm="vm1", action="save", name="kept")
        client.begin("tools/call", {"name": "vm_exec", "arguments": {"vm": "vm1", "command": "touch /tmp/here; sleep 1000"}})
        assert client.data("vm_wait", vm="vm1", until="file", value="/tmp/here")["met"]  # so a call is awaited
        end_it(client, end)
        assert eventually(lambda: not any(map(is_alive, client.qemus)))
        if end == "SIGKILL":
            left = [name for name in program.leftovers() if f"owner-{client.pid}-" in name]
            assert left
            with Client(program) as following:  # the next start of a machine removes what the dead server left
                following.initialize()
                following.boot()
                assert not set(left) & set(program.leftovers())
                assert following.close() == 0
        assert client.nothing_is_left()


@pytest.mark.parametrize("end", ["end of input", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("work", ["a cold boot", "a fork", "a save"])
def test_nothing_stays_when_it_ends_in_the_middle_of(program: Program, work: str, end: str) -> None:
    """With a second server beside it, whose machine goes on."""
    with Client(program) as other, Client(program) as client:
        for one in (other, client):
            one.initialize()
            one.boot()
        if work == "a cold boot":
            client.data("vm_boot", image="builtin", start="cold", name="late", wait_s=0)
        else:
            state = {"action": "fork", "count": 2} if work == "a fork" else {"action": "save", "name": "late"}
            client.begin("tools/call", {"name": "vm_snapshot", "arguments": {"vm": "vm1", **state}})
        assert client.data("vm_list")["jobs"] or work != "a cold boot"
        client.qemus |= qemus_of(client.pid)
        end_it(client, end)
        if end == "SIGKILL":
            assert program.run("gc").status == 0
        assert client.nothing_is_left()
        assert other.data("vm_exec", vm="vm1", command="echo here")["stdout"] == "here\n"
        assert other.close() == 0
        assert other.nothing_is_left()


def test_nothing_stays_when_the_client_is_killed(program: Program, tmp_path: Path) -> None:
    """A client in a process of its own, which is not given the time to say goodbye."""
    with Client(program) as probe:  # so that the next one finds a template, and is quick
        probe.initialize()
        probe.boot()
        probe.close()
    script = (
        "import sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "from pathlib import Path\n"
        "from program import Program\n"
        "from mcp_client import Client\n"
        "client = Client(Program(Path(sys.argv[2]), Path(sys.argv[3])))\n"
        "client.initialize()\n"
        "client.boot()\n"
        "print(client.pid, *client.qemus, flush=True)\n"
        "client.hear()\n"
    )
    there = ":".join(path for path in sys.path if path)
    killed = subprocess.Popen(
        [sys.executable, "-c", script, there, str(program.home), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "ANIMA_QA_PROGRAM": str(PROGRAM)},
        text=True,
    )
    assert killed.stdout
    server, *qemus = map(int, killed.stdout.readline().split())
    assert qemus == sorted(qemus_of(server))
    killed.kill()
    killed.wait()
    killed.stdout.close()
    assert eventually(lambda: not any(map(is_alive, [server, *qemus])), 20)
    assert eventually(lambda: not any(f"owner-{server}-" in name for name in program.leftovers()))


def test_a_person_who_starts_it_is_told_what_it_is(program: Program) -> None:
    import pty

    ours, theirs = pty.openpty()
    popen = subprocess.Popen(
        [*COMMAND, "mcp"],
        cwd=program.cwd, env=program.environment({}), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    assert popen.stderr
    assert b"waits for messages of an MCP client" in popen.stderr.readline()
    os.write(ours, b"\x04")
    out, _ = popen.communicate(timeout=60)
    assert (popen.returncode, out) == (0, b"")
    os.close(ours)
