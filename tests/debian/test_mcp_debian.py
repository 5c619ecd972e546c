"""A session of an agent with a real distribution, from the first call to the last."""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

from machines import CLOUD_INIT
from mcp import Client, StdioServerParameters
from PIL import Image

from qa.paths import Paths

CONTROL = """\
Package: greeter
Version: 1.0
Architecture: all
Maintainer: tests
Description: says hello
"""
MAKE = "cd /root && chmod 755 greeter/usr/bin/greet && dpkg-deb --build greeter >&2 && dpkg -i greeter.deb >&2 && greet"


class Agent:
    """Calls tools as an agent does: what gives a job is picked up, and what fails is an error."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        assert not result.is_error, result
        data: dict[str, Any] = result.structured_content
        while data.get("state") == "running":
            data = await self("vm_wait", job=data["job"])
        return data

    async def run(self, vm: str, command: str) -> tuple[int, str]:
        data = await self("vm_exec", vm=vm, command=command, timeout_s=300)
        return data["exit_code"], data["stdout"].strip()

    async def look(self, vm: str) -> Image.Image:
        result = await self._client.call_tool("vm_screenshot", {"vm": vm, "again": True})
        data = result.content[1].data  # type: ignore[union-attr]
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            return picture.convert("RGB")


async def test_a_package_is_installed_and_a_fork_is_broken_seen_and_rolled_back(shared_home: Paths, tmp_path: Path) -> None:
    environment = {**os.environ, "ANIMA_QA_HOME": str(shared_home.cache.parent)}
    server = StdioServerParameters(command=sys.executable, args=["-m", "qa", "mcp"], env=environment, cwd=tmp_path)
    async with Client(server) as client:
        agent = Agent(client)
        booted = await agent("vm_boot", image="debian", name="web", cloud_init=CLOUD_INIT)  # as other tests, whose boot it shares
        assert (booted["vm"], booted["commands_over"]) == ("web", "shell")
        await agent.run("web", "mkdir -p /root/greeter/DEBIAN /root/greeter/usr/bin")
        await agent("vm_copy", vm="web", direction="to_vm", content=CONTROL, target="/root/greeter/DEBIAN/control")
        program = "#!/bin/sh\necho hello from a package\n"
        await agent("vm_copy", vm="web", direction="to_vm", content=program, target="/root/greeter/usr/bin/greet")
        assert await agent.run("web", MAKE) == (0, "hello from a package")
        assert (await agent("vm_wait", vm="web", until="unit", value="systemd-journald"))["met"]

        await agent("vm_snapshot", vm="web", action="save", name="installed")
        forks = (await agent("vm_snapshot", vm="web", action="fork", names=["risky"]))["forks"]
        assert [(one["vm"], one["forked_from"]) for one in forks] == [("risky", "web")]
        await agent("vm_exec", vm="risky", command="rm -rf /usr; echo the rest of /usr: /usr/* > /dev/tty1", timeout_s=300)
        assert (await agent.run("risky", "greet"))[0] == 127
        assert await agent.run("web", "greet") == (0, "hello from a package")

        broken, well = await agent.look("risky"), await agent.look("web")
        assert broken.size == well.size
        assert broken.tobytes() != well.tobytes()
        assert len(well.getcolors() or []) > 1  # there is something to see

        await agent("vm_snapshot", vm="risky", action="restore", name="installed")
        assert await agent.run("risky", "greet && ls -d /usr/share") == (0, "hello from a package\n/usr/share")
        out = await agent("vm_copy", vm="risky", direction="from_vm", source="/root/greeter.deb", target=str(tmp_path) + "/")
        assert Path(out["target"]).read_bytes().startswith(b"!<arch>\ndebian-binary")
        for vm in ("risky", "web"):
            await agent("vm_destroy", vm=vm, force=True)
        assert (await agent("vm_list"))["machines"] == []
