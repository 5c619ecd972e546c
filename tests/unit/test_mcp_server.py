"""Calls that need no machine, through the whole server, as the library's own client makes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from qa.errors import QaError
from qa.mcp.grants import Offer
from qa.mcp.server import INSTRUCTIONS, build
from qa.mcp.tools.listing import VmList
from qa.paths import Paths


@asynccontextmanager
async def connected(folder: Path, offer: Offer | None = None) -> AsyncIterator[Client]:
    async with Client(build(offer or Offer("full"), transport="stdio", folder=folder)) as client:
        yield client


async def failure(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structure of an error, which says the same as its text."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    data: dict[str, Any] = result.structured_content
    assert json.loads(result.content[0].text) == data  # type: ignore[union-attr]
    return data


async def test_the_server_says_who_it_is(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        assert client.instructions == INSTRUCTIONS
        assert client.server_info is not None
        assert (client.server_info.name, bool(client.server_info.version)) == ("anima-qa", True)


async def test_arguments_that_do_not_fit_are_all_told_with_the_nearest_names(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        data = await failure(client, "vm_exec", vm="vm1", cmd="ls", timeout_s="soon")
        assert data["kind"] == "UsageError"
        assert "command is missing" in data["error"]
        assert "did you mean 'command'?" in data["error"]
        assert "timeout_s" in data["error"]
        assert "command (required)" in data["next"]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("vm_exec", {"vm": "vm1", "command": "true"}, "there is no machine 'vm1'"),
        ("vm_boot", {"image": "nono"}, "nono"),
        ("vm_boot", {"image": "builtin", "memory": "3 cups"}, "memory"),
        ("vm_boot", {"image": "builtin", "options": {"nono": 1}}, "nono: is not known"),
        ("vm_boot", {"image": "builtin", "name": "No Name"}, "is no name for a machine"),
        ("vm_wait", {"job": "job7"}, "there is no job 'job7'"),
        ("vm_wait", {}, "what is waited for is not said"),
        ("vm_wait", {"vm": "x", "until": "port"}, "until=port needs a value"),
        ("vm_wait", {"vm": "x", "until": "still", "value": "3"}, "until=still takes no value"),
        ("script_check", {}, "either as a path or as its text"),
        ("script_run", {"text": "name: a\nimage: builtin\nsteps: [{succed: x}]"}, "line 3: unknown verb 'succed'"),
        ("image_info", {"image": "/nono.qcow2"}, "nono"),
    ],
)
async def test_what_cannot_be_done_is_told_with_the_next_step(
    home: Paths, tmp_path: Path, tool: str, arguments: dict[str, Any], said: str
) -> None:
    async with connected(tmp_path) as client:
        data = await failure(client, tool, **arguments)
        assert said in data["error"]
        assert data.get("next") or "memory" in said or "not known" in said


async def test_a_list_may_come_as_json_in_a_text(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        assert "no machine" in (await failure(client, "vm_screenshot", vm="vm1", region="[0, 0, 10, 10]"))["error"]
        assert "region" in (await failure(client, "vm_screenshot", vm="vm1", region="[0, 0"))["error"]


async def test_scripts_are_checked(home: Paths, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nimage: builtin\nsteps: [{succeed: 'true'}]\n")
    async with connected(tmp_path) as client:
        result = await client.call_tool("script_check", {"script": "a.yaml"})
        assert result.structured_content == {"ok": True, "problems": [], "runs": ["a"]}
        wrong = await client.call_tool("script_check", {"text": "name: a\nimage: builtin\nsteps: [{succed: 'true'}]\n"})
        (problem,) = wrong.structured_content["problems"]
        assert (problem["line"], problem["hint"]) == (3, "did you mean 'succeed'?")


async def test_each_call_is_one_line_of_the_audit_log_mistakes_among_them(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.call_tool("vm_list", {"reason": "to see what there is"})
        await client.call_tool("vm_exec", {"vm": "vm1", "command": "true"})
        await client.call_tool("vm_exec", {"nono": 1})
    lines = [json.loads(line) for line in home.audit.read_text().splitlines()]
    assert [(line["tool"], line["outcome"]) for line in lines] == [("vm_list", "ok"), ("vm_exec", "error"), ("vm_exec", "error")]
    assert lines[0]["reason"] == "to see what there is"


async def test_a_rule_that_refuses_is_named(home: Paths, tmp_path: Path) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text('[policy]\nallow_paths = ["/srv/images"]\n')
    async with connected(tmp_path) as client:
        data = await failure(client, "vm_boot", image=str(tmp_path / "secret.qcow2"))
        assert data["kind"] == "PolicyRefused"
        assert data["rule"] == "policy.allow_paths"


async def test_a_defect_is_told_as_one_and_the_server_lives_on(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    async with connected(tmp_path) as client:
        with monkeypatch.context() as patch:
            patch.setattr(VmList, "run", broken)
            data = await failure(client, "vm_list")
        assert (data["kind"], "secret" in json.dumps(data)) == ("Defect", False)
        assert "ZeroDivisionError: secret" in capsys.readouterr().err
        assert not (await client.call_tool("vm_list", {})).is_error


async def test_evidence_comes_with_errors_and_long_pieces_are_cut(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise QaError("it broke", hint="mend it", evidence={"log": "x\n" * 10_000})

    monkeypatch.setattr(VmList, "run", fail)
    async with connected(tmp_path) as client:
        data = await failure(client, "vm_list")
    assert (data["error"], data["next"]) == ("it broke", "mend it")
    assert 2000 < len(data["seen"]["log"]) < 4000


async def test_tools_and_prompts_that_are_not_there_are_protocol_errors(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path, Offer()) as client:
        with pytest.raises(MCPError, match="Unknown tool: image_list"):
            await client.call_tool("image_list", {})
        with pytest.raises(MCPError, match="Unknown prompt: nono"):
            await client.get_prompt("nono")
        with pytest.raises(MCPError, match="needs the argument task"):
            await client.get_prompt("quick_sandbox")
        with pytest.raises(MCPError, match="there is no resource"):
            await client.read_resource("anima-qa://nono")
        with pytest.raises(MCPError, match="no script has been run yet"):
            await client.read_resource("anima-qa://report")


async def test_prompts_are_described_and_filled_in(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        prompts = (await client.list_prompts()).prompts
        assert [one.name for one in prompts] == ["quick_sandbox", "deploy_and_test", "explore_image", "bisect_with_forks"]
        for prompt in prompts:
            assert prompt.description
            assert all(argument.description for argument in prompt.arguments or [])
            given = {argument.name: "{odd} value" for argument in prompt.arguments or [] if argument.required}
            (message,) = (await client.get_prompt(prompt.name, given)).messages
            assert "{odd} value" in message.content.text  # type: ignore[union-attr]
            assert "vm_boot" in message.content.text  # type: ignore[union-attr]


async def test_resources_are_described(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        listed = (await client.list_resources()).resources
        assert [str(one.uri) for one in listed] == ["anima-qa://machines", "anima-qa://templates", "anima-qa://report"]
        assert all(one.description for one in listed)
        templates = (await client.list_resource_templates()).resource_templates
        assert {one.uri_template for one in templates} == {"anima-qa://vm/{vm}/console", "anima-qa://vm/{vm}/screen"}
        (content,) = (await client.read_resource("anima-qa://machines")).contents
        assert json.loads(content.text) == {"machines": []}  # type: ignore[union-attr]


async def test_a_server_that_only_reads_offers_and_does_nothing_else(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path, Offer(read_only=True)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "vm_screenshot" in names
        assert not names & {"vm_boot", "vm_exec", "vm_input", "vm_copy", "vm_destroy"}
        with pytest.raises(MCPError, match="Unknown tool: vm_boot"):
            await client.call_tool("vm_boot", {"image": "builtin"})


async def test_nothing_is_written_before_a_tool_is_called(home: Paths, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await client.list_tools()
        await client.list_prompts()
    assert not home.state.exists()
    assert not home.work.exists()
