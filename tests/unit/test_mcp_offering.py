"""What is listed, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qa.mcp.grants import Offer
from qa.mcp.offering import Offered
from qa.mcp.tools import TOOLS
from qa.operations.gate import Gate
from qa.operations.policy import Judge
from qa.rules import Policy

CORE = [
    "vm_boot", "vm_list", "vm_exec", "vm_console", "vm_screenshot", "vm_input", "vm_wait", "vm_copy", "vm_snapshot", "vm_destroy",
]  # fmt: skip


def offered(offer: Offer | None = None, **policy: Any) -> Offered:
    return Offered.by(offer or Offer(), Gate(Judge(Policy.model_validate(policy), Path("config.toml"))))


def properties(found: Offered, tool: str) -> dict[str, Any]:
    schema = found.schema(tool)
    assert schema is not None
    named: dict[str, Any] = schema["properties"]
    return named


def test_core_is_ten_tools_below_three_thousand_tokens() -> None:
    core = offered()
    assert list(core.tools) == CORE
    assert core.cost() < 2800


def test_names_of_arguments_are_those_that_agents_know_from_elsewhere_in_these_tools() -> None:
    core = offered()
    for name in CORE:
        if name not in {"vm_boot", "vm_list"}:
            assert "vm" in properties(core, name), name
    assert {"image", "name", "start", "wait_s"} <= set(properties(core, "vm_boot"))
    assert {"command", "timeout_s", "wait_s"} <= set(properties(core, "vm_exec"))


def test_the_full_profile_has_images_templates_and_scripts() -> None:
    full = offered(Offer("full"))
    assert list(full.tools)[:10] == CORE
    assert {"image_convert", "image_resize", "template_list", "script_run", "script_check"} <= set(full.tools)
    assert list(full.tools) == [tool.name for tool in TOOLS]


def test_toolsets_are_added_to_core() -> None:
    some = offered(Offer.read("core", "scripts, images", read_only=False))
    assert list(some.tools)[:10] == CORE
    assert {name.partition("_")[0] for name in list(some.tools)[10:]} == {"image", "script"}


def test_reading_only_lists_nothing_that_changes() -> None:
    reading = offered(Offer("full"), read_only=True)
    assert set(reading.tools) == {
        "vm_list", "vm_console", "vm_screenshot", "vm_wait", "vm_snapshot", "image_list", "image_info", "template_list",
        "template_info", "script_check",
    }  # fmt: skip
    assert "send" not in properties(reading, "vm_console")
    assert properties(reading, "vm_snapshot")["action"]["enum"] == ["list"]
    assert "force" not in properties(reading, "vm_snapshot")
    assert "succeeds" not in properties(reading, "vm_wait")["until"]["enum"]


def test_what_the_owner_of_the_host_does_not_grant_is_not_listed() -> None:
    assert "vm_exec" not in offered(deny_operations=["vm_exec"]).tools
    assert not any(name.startswith("vm_") for name in offered(Offer("full"), toolsets={"machines": "none"}).tools)
    assert properties(offered(toolsets={"machines": "change"}), "vm_snapshot")["action"]["enum"] == [
        "save", "restore", "fork", "list",
    ]  # fmt: skip
    assert "vm_exec" not in offered(deny_operations=["execute"]).tools, "it is nothing else"
    assert "vm_screenshot" in offered(deny_operations=["read_screen_text"]).tools
    assert {"vm_wait", "vm_snapshot"} <= offered(deny_operations=["wait_*", "snapshot", "restore"]).tools.keys(), (
        "for jobs, forks"
    )


def test_what_always_destroys_is_not_listed_where_nothing_may_be_destroyed() -> None:
    careful = offered(Offer("full"), toolsets={"templates": "change", "images": "change"})
    assert {name for name in careful.tools if name.startswith("template_")} == {"template_list", "template_info"}
    assert "replace" not in properties(careful, "image_convert")
    assert "replace" not in properties(careful, "image_overlay")
    assert "shrink" not in properties(careful, "image_resize")
    assert "force" in properties(careful, "image_convert"), "a file in a strange place is asked about as well"
    everything = offered(Offer("full"))
    assert {"replace", "force"} <= properties(everything, "image_convert").keys()
    assert "template_prune" in everything.tools


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_tool_is_described_for_models_and_for_clients(tool: Any) -> None:
    listed = next(one for one in offered(Offer("full")).listed if one.name == tool.name)
    assert listed.description
    assert listed.description.endswith(".")
    assert listed.annotations is not None
    assert listed.annotations.title
    assert listed.annotations.read_only_hint is not None
    assert not (listed.annotations.read_only_hint and listed.annotations.destructive_hint)
    Draft202012Validator.check_schema(listed.input_schema)
    text = str(listed.input_schema)
    assert "anyOf" not in text or "'null'" not in text
    assert "$ref" not in text
    assert "'title'" not in text


def test_looking_is_read_only_and_destroying_is_not() -> None:
    hints = {one.name: one.annotations for one in offered(Offer("full")).listed}
    assert {name for name, one in hints.items() if one and one.read_only_hint} == {
        "vm_list", "vm_screenshot", "image_list", "image_info", "template_list", "template_info", "script_check",
    }  # fmt: skip
    for name in (
        "vm_exec",
        "vm_console",
        "vm_wait",
        "vm_input",
        "vm_copy",
        "vm_destroy",
        "vm_snapshot",
        "template_remove",
        "script_run",
    ):
        found = hints[name]
        assert found is not None
        assert found.destructive_hint, name
    for one in offered(Offer("full"), read_only=True).listed:
        assert one.annotations is not None
        assert (one.annotations.read_only_hint, one.annotations.destructive_hint) == (True, False), one.name


def test_an_unknown_tool_is_told_with_the_nearest() -> None:
    assert offered().say_unknown("vm_screenshoot") == "Unknown tool: vm_screenshoot; did you mean vm_screenshot?"
    assert "there are: vm_boot" in offered().say_unknown("browser")
