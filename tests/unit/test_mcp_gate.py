"""The rules of the host's owner, as agents meet them: calls through the whole server, on machines that are not there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from desks import PlayedHost, PlayedMachine, play
from mcp import Client
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ElicitResult, ErrorData

from qa.mcp import server
from qa.mcp.grants import Offer
from qa.operations import jobs
from qa.operations.desk import Desk
from qa.paths import Paths

Connect = Callable[..., Any]
NOT_LISTED = "Unknown tool"


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[PlayedHost]:
    """The played host of each server that was connected to."""
    found: list[PlayedHost] = []

    def desk(*arguments: Any, **more: Any) -> Desk:
        made = Desk(*arguments, **more)
        found.append(play(made))
        return made

    monkeypatch.setattr(server, "Desk", desk)
    return found


@pytest.fixture
def connect(home: Paths, tmp_path: Path, hosts: list[PlayedHost], monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Connects to a server in the folder ``project`` whose owner has written ``rules``, with the machine vm1."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for name in ("project", "temporary", "person/.ssh"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "person" / ".ssh" / "id").write_text("SECRETLINE")

    @asynccontextmanager
    async def connected(rules: str = "", offer: Offer | None = None, *, boot: bool = True, **more: Any) -> AsyncIterator[Client]:
        home.config.mkdir(parents=True, exist_ok=True)
        (home.config / "config.toml").write_text(rules)
        built = server.build(offer or Offer("full"), transport="stdio", folder=tmp_path / "project")
        async with Client(built, **more) as client:
            if boot:
                booted = await client.call_tool("vm_boot", {"image": "builtin"})
                assert not booted.is_error, booted
            yield client

    return connected


async def rule(client: Client, tool: str, **arguments: Any) -> str:
    """The rule that refuses a call; empty where it gets as far as the machine."""
    data: dict[str, Any] = (await client.call_tool(tool, arguments)).structured_content or {}
    return str(data.get("rule", ""))


def lines(home: Paths) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.audit.read_text().splitlines()]


# files of this host


@pytest.mark.parametrize("tool", ["script_check", "script_run"])
@pytest.mark.parametrize("rules", ["", "[policy]\nprotect_home = 'none'\nallow_paths = ['{project}']"])
@pytest.mark.parametrize(
    "script",
    [
        "image: builtin\nsteps: [{{include: {secret}}}]",
        "image: builtin\nsteps: [{{include: {project}/way}}]",
        "image: builtin\nneedles: [{secret}]\nsteps: [reboot]",
        "image: builtin\nsteps: [{{include: {project}/part.yaml}}]",
    ],
)
async def test_a_script_reads_no_file_that_its_agent_may_not_read(
    connect: Connect, home: Paths, tmp_path: Path, tool: str, rules: str, script: str
) -> None:
    project, secret = tmp_path / "project", tmp_path / "person" / ".ssh" / "id"
    (project / "way").symlink_to(secret)
    (project / "part.yaml").write_text(f"- include: {secret}")
    async with connect(rules.format(project=project), boot=False) as client:
        result = await client.call_tool(tool, {"text": f"name: a\n{script.format(project=project, secret=secret)}"})
        assert result.structured_content["rule"] == ("policy.allow_paths" if rules else "policy.protect_home")
        assert "SECRETLINE" not in str(result)
    (line,) = lines(home)
    assert (line["tool"], line["outcome"]) == (tool, "refused")


async def test_a_server_that_only_reads_has_no_way_to_secrets_by_scripts(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "project" / "a.yaml").write_text(f"image: builtin\nsteps: [{{include: {tmp_path}/person/.ssh/id}}]")
    async with connect("", Offer("full", read_only=True), boot=False) as client:
        assert await rule(client, "script_check", script="a.yaml") == "policy.protect_home"


async def test_what_a_script_may_include_is_read(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "project" / "part.yaml").write_text("- reboot")
    (tmp_path / "project" / "a.yaml").write_text("image: builtin\nsteps: [{include: part.yaml}]")
    async with connect(boot=False) as client:
        checked = await client.call_tool("script_check", {"script": "a.yaml"})
        assert checked.structured_content["ok"], checked


@pytest.mark.parametrize("direction", ["to_vm", "from_vm"])
async def test_denied_paths_are_refused(connect: Connect, tmp_path: Path, direction: str) -> None:
    project = tmp_path / "project"
    (project / "file").touch()
    async with connect(f"[policy]\ndeny_paths = ['{project}/file']") as client:
        places = {"source": "file", "target": "/x"} if direction == "to_vm" else {"source": "/x", "target": f"{project}/file"}
        assert await rule(client, "vm_copy", vm="vm1", direction=direction, **places) == "policy.deny_paths"


async def test_a_new_file_outside_of_the_servers_folder_is_asked_about(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []

    async def copy_out(_: PlayedMachine, source: str, final: Path, timeout: float) -> None:
        copied.append(final)
        final.write_text(source)

    monkeypatch.setattr(PlayedMachine, "copy_out", copy_out, raising=False)
    out: dict[str, Any] = {"vm": "vm1", "direction": "from_vm", "source": "/x"}
    (tmp_path / "etc").mkdir()
    async with connect() as client:
        assert not await rule(client, "vm_copy", **out, target=f"{tmp_path}/project/new")
        refused = (await client.call_tool("vm_copy", {**out, "target": f"{tmp_path}/etc/new"})).structured_content
        assert refused["rule"] == "policy.confirm"
        assert f"Write to {tmp_path}/etc/new on this host" in refused["error"]
        assert copied == [tmp_path / "project" / "new"]
        assert not await rule(client, "vm_copy", **out, target=f"{tmp_path}/etc/new", force=True)
    async with connect(f"[policy]\nallow_paths = ['{tmp_path}/etc']") as client:
        assert not await rule(client, "vm_copy", **out, target=f"{tmp_path}/etc/more")
    assert copied[1:] == [tmp_path / "etc" / "new", tmp_path / "etc" / "more"]


@pytest.mark.parametrize(
    ("target", "lands", "asked"),
    [
        ("nix/..", "x", ""),
        ("nix/../", "x", ""),
        ("nix/../new", "new", ""),
        ("nix/../src/main.c", "src/main.c", "Replace {project}/src/main.c on this host?"),
        ("nix/../src", "src/x", ""),
        ("src/../src/main.c", "src/main.c", "Replace {project}/src/main.c on this host?"),
        ("nix/../../etc/new", "../etc/new", "Write to {etc}/new on this host"),
        ("../project/nix/../.git/hooks/x", ".git/hooks/x", "Write to {project}/.git/hooks/x on this host"),
        ("way/main.c", "src/main.c", "Replace {project}/src/main.c on this host?"),
    ],
)
async def test_what_is_asked_about_a_path_is_true_of_the_place_where_the_copy_comes(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, lands: str, asked: str
) -> None:
    copied: list[Path] = []

    async def copy_out(_: PlayedMachine, source: str, final: Path, timeout: float) -> None:
        copied.append(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        assert not final.is_dir()
        final.write_text(source)

    monkeypatch.setattr(PlayedMachine, "copy_out", copy_out, raising=False)
    project, etc = tmp_path / "project", tmp_path / "etc"
    for folder in (project / "src", project / ".git", etc):
        folder.mkdir()
    (project / "src" / "main.c").write_text("precious")
    (project / "way").symlink_to("src")
    out: dict[str, Any] = {"vm": "vm1", "direction": "from_vm", "source": "/x", "target": f"{project}/{target}"}
    async with connect("[policy]\nprotect_home = 'none'") as client:
        told = (await client.call_tool("vm_copy", out)).structured_content
        if asked:
            assert told["rule"] == "policy.confirm"
            assert asked.format(project=project, etc=etc) in told["error"]
            assert copied == []
            assert (project / "src" / "main.c").read_text() == "precious"
            told = (await client.call_tool("vm_copy", {**out, "force": True})).structured_content
    assert copied == [(project / lands).resolve()]
    assert told["target"] == str(copied[0])


async def test_the_folder_of_the_server_is_replaced_by_no_copy(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as client:
        monkeypatch.chdir(tmp_path / "project")
        given = {"vm": "vm1", "direction": "from_vm", "source": "/x/project", "target": str(tmp_path), "force": True}
        told = (await client.call_tool("vm_copy", given)).structured_content
        assert "this program works in it" in told["error"]
        results = (await client.call_tool("vm_list", {})).structured_content["machines"][0]["folder"]
        given |= {"source": "/x/vm1", "target": ".."}
        assert f"{results} cannot be replaced" in (await client.call_tool("vm_copy", given)).structured_content["error"]


# commands


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("vm_exec", {"command": "rm -rf /"}),
        ("vm_wait", {"until": "succeeds", "value": "rm -rf /"}),
        ("vm_console", {"send": "ls\n"}),
        ("vm_input", {"text": "ls\n"}),
        ("vm_input", {"keys": "ret"}),
        ("vm_input", {"click": [1, 1]}),
        ("vm_input", {"drag": [1, 1, 2, 2]}),
        ("vm_copy", {"direction": "to_vm", "content": "x", "target": "/bin/ls"}),
        ("vm_copy", {"direction": "to_vm", "source": "file", "target": "/etc/cron.d/x"}),
    ],
)
async def test_with_a_list_of_commands_there_is_no_way_round(
    connect: Connect, tmp_path: Path, tool: str, given: dict[str, Any]
) -> None:
    (tmp_path / "project" / "file").touch()
    async with connect("[policy]\nallow_commands = ['ls']") as client:
        assert await rule(client, tool, vm="vm1", **given) == "policy.allow_commands"


@pytest.mark.parametrize("login", [{"user": "root\nid"}, {"password": "secret\ncurl x | sh\n"}, {"password": "a\x03"}])
async def test_a_login_types_no_commands(connect: Connect, hosts: list[PlayedHost], login: dict[str, str]) -> None:
    async with connect("[policy]\nallow_commands = ['ls']", boot=False) as client:
        options = {"channel": "serial", "login": login}
        told = (await client.call_tool("vm_boot", {"image": "builtin", "options": options})).structured_content
        assert (told["kind"], f"login.{next(iter(login))}: what is typed at a login" in told["error"]) == ("UsageError", True)
        assert "control characters" in told["error"]
    assert hosts[0].opened == 0


# denied by name


@pytest.mark.parametrize(
    ("denied", "tool", "given"),
    [
        ("vm_exec", "vm_wait", {"vm": "vm1", "until": "succeeds", "value": "true"}),
        ("execute", "vm_wait", {"vm": "vm1", "until": "succeeds", "value": "true"}),
        ("vm_screenshot", "vm_input", {"vm": "vm1", "keys": "ret"}),
        ("screenshot", "vm_screenshot", {"vm": "vm1"}),
        ("send_*", "vm_console", {"vm": "vm1", "send": "x"}),
        ("vm_console", "vm_console", {"vm": "vm1"}),
        ("vm_input", "vm_input", {"vm": "vm1", "text": "x", "picture": False}),
        ("copy_to", "vm_copy", {"vm": "vm1", "direction": "to_vm", "content": "x", "target": "/x"}),
        ("restore", "vm_snapshot", {"vm": "vm1", "action": "restore", "name": "x"}),
        ("execute", "vm_exec", {"vm": "vm1", "command": "true"}),
    ],
)
async def test_what_is_denied_is_denied_under_all_of_its_names(
    connect: Connect, denied: str, tool: str, given: dict[str, Any]
) -> None:
    async with connect(f"[policy]\ndeny_operations = ['{denied}']") as client:
        if tool in {one.name for one in (await client.list_tools()).tools}:
            assert await rule(client, tool, **given) == "policy.deny_operations"
        else:
            with pytest.raises(MCPError, match=NOT_LISTED):
                await client.call_tool(tool, given)


@pytest.mark.parametrize(
    ("denied", "resource"),
    [
        ("vm_screenshot", "vm/vm1/screen"),
        ("screenshot", "vm/vm1/screen"),
        ("vm_console", "vm/vm1/console"),
        ("vm_list", "machines"),
        ("template_list", "templates"),
        ("read_resource", "machines"),
    ],
)
async def test_resources_are_denied_with_what_they_show(connect: Connect, denied: str, resource: str) -> None:
    async with connect(f"[policy]\ndeny_operations = ['{denied}']") as client:
        with pytest.raises(MCPError, match="not allowed here"):
            await client.read_resource(f"anima-qa://{resource}")
        uris = [str(one.uri) for one in (await client.list_resources()).resources]
        assert f"anima-qa://{resource}" not in uris
        assert bool(uris) is (denied != "read_resource")
        kept = {str(one.uri_template) for one in (await client.list_resource_templates()).resource_templates}
        assert resource.replace("vm1", "{vm}") not in {one.removeprefix("anima-qa://") for one in kept}


async def test_steps_of_scripts_are_denied_with_the_tools_that_do_the_same(connect: Connect, tmp_path: Path) -> None:
    rules = server.with_verbs(server.load_config(Paths.from_environment()).policy)
    assert rules.deny_operations == ()
    async with connect("[policy]\ndeny_operations = ['vm_exec', 'vm_screenshot']", boot=False):
        rules = server.with_verbs(server.load_config(Paths.from_environment()).policy)
    assert set(rules.deny_operations) == {"vm_exec", "vm_screenshot", "execute", "screenshot", "read_screen_text"}


@pytest.mark.parametrize(("toolset", "resource"), [("scripts", "report"), ("templates", "templates"), ("machines", "machines")])
async def test_resources_belong_to_toolsets(connect: Connect, toolset: str, resource: str) -> None:
    async with connect(f"[policy.toolsets]\n{toolset} = 'none'", boot=False) as client:
        assert f"anima-qa://{resource}" not in [str(one.uri) for one in (await client.list_resources()).resources]
        with pytest.raises(MCPError, match=f"operations on {toolset} are not offered"):
            await client.read_resource(f"anima-qa://{resource}")


async def test_prompts_whose_tools_are_not_there_are_not_there(connect: Connect) -> None:
    async with connect("", Offer(read_only=True), boot=False) as client:
        assert (await client.list_prompts()).prompts == []
        with pytest.raises(MCPError, match="Unknown prompt: quick_sandbox"):
            await client.get_prompt("quick_sandbox", {"task": "x"})


# limits


async def test_limits_are_refused_as_such(connect: Connect) -> None:
    async with connect("[limits]\nmachines = 2\nmemory = '2G'") as client:
        second = (await client.call_tool("vm_boot", {"image": "builtin", "memory": "1536M"})).structured_content
        assert (second["kind"], "are promised" in second["error"]) == ("LimitReached", True)
        assert not (await client.call_tool("vm_boot", {"image": "builtin"})).is_error
        third = (await client.call_tool("vm_boot", {"image": "builtin"})).structured_content
        assert (third["kind"], "2 are allowed" in third["error"]) == ("LimitReached", True)
        assert "config.toml" in third["next"]


async def test_no_more_jobs_are_begun_than_a_client_may_have(
    connect: Connect, hosts: list[PlayedHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_RUNNING", 2)
    async with connect() as client:
        hosts[0].gate.clear()
        for _ in range(2):
            assert not (await client.call_tool("vm_boot", {"image": "builtin", "wait_s": 0})).is_error
        refused = (await client.call_tool("vm_boot", {"image": "builtin", "wait_s": 0})).structured_content
        assert (refused["kind"], "vm_wait" in refused["next"]) == ("LimitReached", True)
        machines = (await client.call_tool("vm_list", {})).structured_content["machines"]
        assert [one["vm"] for one in machines] == ["vm1", "vm2", "vm3"], "none that nobody waits for"
        hosts[0].gate.set()


# going back


async def test_to_go_back_is_not_asked_about_and_to_lose_a_snapshot_is(connect: Connect) -> None:
    async with connect() as client:
        keep = {"vm": "vm1", "action": "save", "name": "s"}
        assert not (await client.call_tool("vm_snapshot", keep)).is_error
        assert not (await client.call_tool("vm_snapshot", {**keep, "action": "restore"})).is_error
        assert await rule(client, "vm_snapshot", **keep) == "policy.confirm"
        assert not await rule(client, "vm_snapshot", **keep, force=True)
    async with connect("[policy.toolsets]\nmachines = 'change'") as client:
        assert not (await client.call_tool("vm_snapshot", keep)).is_error
        assert not (await client.call_tool("vm_snapshot", {**keep, "action": "restore"})).is_error
        assert await rule(client, "vm_snapshot", **keep, force=True) == "policy.toolsets.machines"


# what is written down


async def test_calls_of_what_is_not_offered_are_written_down(connect: Connect, home: Paths) -> None:
    async with connect("", Offer(read_only=True), boot=False) as client:
        for tool in ("vm_boot", "image_list", "nono" * 50):
            with pytest.raises(MCPError, match=NOT_LISTED):
                await client.call_tool(tool, {"image": "builtin", "reason": "to try"})
    told = [(line["tool"], line["outcome"], line["result"].get("rule"), line["reason"]) for line in lines(home)]
    assert told == [
        ("vm_boot", "refused", "policy.read_only", "to try"),
        ("image_list", "error", None, "to try"),
        (("nono" * 50)[:100], "error", None, "to try"),
    ]


async def test_resources_that_are_not_there_are_written_down(connect: Connect, home: Paths) -> None:
    async with connect(boot=False) as client:
        with pytest.raises(MCPError, match="there is no resource"):
            await client.read_resource("anima-qa://nono")
    assert [(line["tool"], line["outcome"]) for line in lines(home)] == [("read_resource", "error")]


UNUSABLE = ["~nobody-of-that-name/x", "/" + "a" * 300, "a\0b.raw"]
TAKING_PATHS: list[tuple[str, dict[str, Any]]] = [
    ("vm_boot", {"image": "{}"}),
    ("vm_boot", {"image": "builtin", "options": {"disks": [{"path": "{}"}]}}),
    ("vm_copy", {"vm": "vm1", "direction": "to_vm", "source": "{}", "target": "/x"}),
    ("vm_copy", {"vm": "vm1", "direction": "from_vm", "source": "/x", "target": "{}"}),
    ("script_check", {"script": "{}"}),
    ("script_run", {"script": "{}"}),
    ("image_info", {"image": "{}"}),
    ("image_convert", {"image": "{}", "target": "new.raw"}),
    ("image_convert", {"image": "disk.raw", "target": "{}", "replace": True}),
    ("image_overlay", {"image": "disk.raw", "target": "{}"}),
    ("image_resize", {"image": "{}", "size": "1G"}),
]


def filled(value: Any, path: str) -> Any:
    """``value`` with ``path`` in it."""
    if isinstance(value, dict):
        return {name: filled(one, path) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, path) for one in value]
    return path if value == "{}" else value


async def mistake(client: Client, capsys: pytest.CaptureFixture[str], tool: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is told of a call that is wrong in itself."""
    result = await client.call_tool(tool, given)
    assert result.is_error
    assert "Traceback" not in capsys.readouterr().err
    told: dict[str, Any] = result.structured_content
    assert told["kind"] != "Defect", told
    return told


@pytest.mark.parametrize("path", UNUSABLE, ids=lambda path: repr(path)[:10])
@pytest.mark.parametrize(("tool", "given"), TAKING_PATHS, ids=lambda one: str(one)[:40])
async def test_a_path_that_there_cannot_be_is_a_mistake_and_written_down(
    connect: Connect, home: Paths, capsys: pytest.CaptureFixture[str], tool: str, given: dict[str, Any], path: str
) -> None:
    async with connect() as client:
        told = await mistake(client, capsys, tool, filled(given, path))
    assert "is no path of this host" in told["error"]
    outcomes = [line["outcome"] for line in lines(home) if line["tool"] == tool and "by_itself" not in line["result"]]
    assert outcomes[-1] in {"error", "refused"}
    assert len(outcomes) == (2 if tool == "vm_boot" else 1)


async def test_a_name_that_is_too_long_for_a_file_is_no_image(
    connect: Connect, home: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(boot=False) as client:
        for tool in ("vm_boot", "image_info"):
            assert "File name too long" in (await mistake(client, capsys, tool, {"image": "a" * 300}))["error"]
    assert [line["outcome"] for line in lines(home)] == ["error", "error"]


async def test_a_defect_in_judging_a_call_is_written_down_as_well(
    connect: Connect, home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("qa.mcp.tools.boot.boot_facts", broken)
    async with connect(boot=False) as client:
        assert (await client.call_tool("vm_boot", {"image": "builtin"})).structured_content["kind"] == "Defect"
    assert [(line["outcome"], line["result"]) for line in lines(home)] == [("error", {"error": "ZeroDivisionError"})]


async def test_a_question_is_written_down_as_one_and_not_as_an_error(connect: Connect, home: Paths) -> None:
    asked: list[str] = []

    async def answer(_: Any, params: Any) -> Any:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"confirm": True})

    async with connect(elicitation_callback=answer) as client:
        result = await client.call_tool("vm_destroy", {"vm": "vm1"})
        assert not result.is_error, result
    assert len(asked) == 1
    outcomes = [line["outcome"] for line in lines(home) if line["tool"] == "vm_destroy"]
    assert outcomes == ["asked", "ok"]


async def has_no_window(*_: Any) -> Any:
    return ErrorData(code=INTERNAL_ERROR, message="no window to ask in")


async def ill_formed(*_: Any, **__: Any) -> ElicitResult:
    """What the library makes of such an answer; its own client sends none."""
    return ElicitResult.model_validate({"action": "perhaps"})


@pytest.mark.parametrize(
    "why", ["the client says: no window to ask in", "the client's answer does not fit the protocol (action)"]
)
async def test_a_question_that_does_not_reach_the_user_is_no_yes_and_no_defect(
    connect: Connect,
    home: Paths,
    hosts: list[PlayedHost],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    why: str,
) -> None:
    if "protocol" in why:
        monkeypatch.setattr(ServerSession, "elicit_form", ill_formed)
    async with connect(elicitation_callback=has_no_window, mode="legacy") as client:
        for force in (False, True):
            told = (await client.call_tool("vm_destroy", {"vm": "vm1", "force": force})).structured_content
            assert (told["kind"], told.get("rule")) == ("PolicyRefused", "policy.confirm")
            assert "could not be put to the user: Destroy the machine vm1" in told["error"]
            assert why in told["error"]
            assert "force counts for nothing" in told["next"]
        assert hosts[0].open == ["vm1"]
    assert "Traceback" not in capsys.readouterr().err
    outcomes = [line["outcome"] for line in lines(home) if line["tool"] == "vm_destroy"]
    assert outcomes[:2] == ["refused", "refused"]


async def test_machines_that_end_with_the_server_are_written_down(connect: Connect, home: Paths) -> None:
    async with connect() as client:
        await client.call_tool("vm_boot", {"image": "builtin", "name": "web"})
        await client.call_tool("vm_destroy", {"vm": "web", "force": True})
    ends = [line for line in lines(home) if line["tool"] == "vm_destroy"]
    assert [line["arguments"] for line in ends] == [{"vm": "web", "force": True}, {"vm": "vm1"}]
    assert ends[1]["result"] == {"by_itself": "the server ends"}
