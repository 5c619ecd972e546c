"""Talk to an MCP server on its stdin and stdout as an agent does, with nothing but Python: boot a machine, ask it something, end.

    mcp_conversation.py [--no-machine] COMMAND [ARGUMENT...]

With --no-machine it only asks which tools there are.

Ends with 0 when each answer was as it should be, and says what was not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


class Server:
    """The server, which is asked one thing at a time."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked = 0

    def send(self, message: dict[str, Any]) -> None:
        """One line."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request; what the server tells meanwhile is passed over."""
        assert self.process.stdout
        self.asked += 1
        self.send({"id": self.asked, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.asked:
                if "result" not in answer:
                    sys.exit(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
        sys.exit(f"the server ended instead of answering {method}, with status {self.process.wait()}")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool gives, waited for where it takes longer than a call may."""
        result = self.ask("tools/call", name=tool, arguments=arguments)
        if result.get("isError"):
            sys.exit(f"{tool}: {result['content'][0]['text']}")
        content: dict[str, Any] = result["structuredContent"]
        return self.call("vm_wait", job=content["job"]) if content.get("state") == "running" and "job" in content else content


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(f"{text}\n")


def use_a_machine(server: Server) -> None:
    """Boot one and run a command in it."""
    booted = server.call("vm_boot", image="builtin")
    say(f"{booted['vm']} is {booted['state']}")
    given = server.call("vm_exec", vm=booted["vm"], command="echo out; echo err >&2; exit 3")
    say(f"exit code {given['exit_code']}, stdout {given['stdout']!r}, stderr {given['stderr']!r}")
    if (given["exit_code"], given["stdout"], given["stderr"]) != (3, "out\n", "err\n"):
        sys.exit(f"vm_exec gave {given}")


def main(command: list[str]) -> None:
    """Have the conversation."""
    machine = command[0] != "--no-machine"
    server = Server(command if machine else command[1:])
    about = {"name": "conversation", "version": "1"}
    said = server.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=about)
    server.send({"method": "notifications/initialized"})
    tools = server.ask("tools/list")["tools"]
    say(f"{said['serverInfo']['name']} {said['serverInfo']['version']} offers {len(tools)} tools")
    if machine:
        use_a_machine(server)
    assert server.process.stdin
    server.process.stdin.close()
    sys.exit(server.process.wait())


main(sys.argv[1:])
