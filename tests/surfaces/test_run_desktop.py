"""A desktop used as a person does it: the example, with the needles that come with the program, and an agent over MCP."""

from __future__ import annotations

from pathlib import Path

from mcp_client import Client
from program import Program

EXAMPLE = Path(__file__).parents[2] / "examples" / "desktop.yaml"


def test_a_desktop_is_used_as_a_person_does_it(program: Program) -> None:
    ended = program.run("run", EXAMPLE)
    assert ended.status == 0, ended.text
    seen = [one for group in ended.result["steps"] for one in (group, *group.get("steps", [])) if one.get("screen")]
    assert len(seen) >= 10
    assert (ended.folder / "shots").is_dir()
    assert program.leftovers() == []


def test_an_agent_uses_mouse_and_keyboard_there(program: Program) -> None:
    """With the options of the example, whose boot it shares."""
    with Client(program) as client:
        client.initialize()
        client.boot(image="desktop", network="restricted")

        def until(what: str, value: str) -> list[list[int]]:
            waited = client.done("vm_wait", vm="vm1", until=what, value=value, timeout_s=20)
            assert waited["met"], waited
            areas: list[list[int]] = waited["areas"]
            return areas

        until("needle", "desktop-login")
        client.said("vm_input", vm="vm1", text="tester\n")
        until("text", "Password")
        client.said("vm_input", vm="vm1", text="tester\n")
        until("needle", "desktop-empty")
        client.said("vm_screenshot", vm="vm1")
        assert "changed" in client.said("vm_input", vm="vm1", click=[500, 400], button="right")
        assert "changed" in client.said("vm_input", vm="vm1", click_on="Editor")
        until("needle", "desktop-editor")
        lines = "".join(f"line {number}\n" for number in range(60))
        client.said("vm_input", vm="vm1", text=f"the top\n{lines}the end", picture=False)
        until("text", "the end")
        client.said("vm_input", vm="vm1", move=[500, 400], scroll=-100, picture=False)
        [[x, y, width, height]] = until("text", "the top")
        client.said("vm_input", vm="vm1", click=[x + width - 10, y + height // 2], double=True, picture=False)  # selects "top"
        client.said("vm_input", vm="vm1", text="NEW", picture=False)
        until("text", "NEW")
        client.said("vm_input", vm="vm1", drag=[330, 181, 750, 400], picture=False)
        until("needle", "desktop-room")
        assert client.close() == 0
        assert client.nothing_is_left()
