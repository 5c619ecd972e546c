"""Prompts: ways to work with machines that a user picks in their client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

if TYPE_CHECKING:
    from qa.mcp.server import Office

LONGEST_ARGUMENT = 10_000


@dataclass(frozen=True)
class Way:
    """A prompt. ``arguments`` is name to description and default; None: it must be given. ``tools``: those that it needs."""

    title: str
    description: str
    arguments: dict[str, tuple[str, str | None]]
    text: str
    tools: tuple[str, ...] = ("vm_boot", "vm_exec")


_IMAGE = ("Disk image: builtin, debian, a name of the catalogue, a path or a URL", "debian")

WAYS = {
    "quick_sandbox": Way(
        "Quick sandbox",
        "Boot a throwaway machine and do something in it that must not touch this host.",
        {"task": ("What is to be done", None), "image": _IMAGE},
        """\
Do this in a virtual machine, and touch nothing of this host: {task}

1. vm_boot with image "{image}". If it gives a job, pick it up with vm_wait.
2. Work in it with vm_exec. Read exit_code: a command that fails is no error of the tool.
3. Before a step that may break the machine, vm_snapshot with action fork, and try the step in the fork first.
4. Tell me what you did, with the commands and the output that show it. Copy out what I need with vm_copy.
5. vm_destroy the machines.""",
    ),
    "deploy_and_test": Way(
        "Deploy and test",
        "Put a program or package into a fresh machine, and show that it works, survives a reboot, and can be removed.",
        {"source": ("File or folder of this host", None), "goal": ("What must work afterwards", "it works"), "image": _IMAGE},
        """\
Deploy {source} into a fresh virtual machine and find out whether this holds: {goal}

1. vm_boot with image "{image}", then vm_snapshot with action save and name "clean".
2. vm_copy with direction to_vm brings {source} in. Install it as its own documentation says.
3. Test it as a user would: vm_exec for commands, vm_wait until=unit or until=port instead of sleeping, vm_screenshot if it has a
   screen.
4. Fork with vm_snapshot for each thing that may go wrong, and try them in the forks: a reboot (vm_input power=reboot), a full
   disk, the removal of the program, an update over an older version.
5. For each finding give the exact commands and what they printed. Then vm_destroy the machines.""",
    ),
    "explore_image": Way(
        "Explore an image",
        "Boot a disk image that nobody knows, and report what is in it and how it behaves.",
        {"image": ("Disk image: a path, a URL, or a name of the catalogue", None)},
        """\
Boot the disk image {image} and report what it is.

1. vm_boot with start cold. If no command reaches the guest, boot it with options {{"channel": "none"}} and work by its screen:
   vm_screenshot, vm_input, vm_console.
2. Find out: firmware and boot loader, kernel, distribution and version, users, services and their states, open ports, disks and
   what fills them, packages with known trouble, errors in the journal.
3. What it does when nobody asks it to: connections, timers, first-boot jobs.
4. A report of one page: what it is, what it is for, what is odd, each with the evidence. Pictures where they say more. Then
   vm_destroy the machine.""",
    ),
    "bisect_with_forks": Way(
        "Bisect with forks",
        "Find the first of several steps that breaks something, by trying them in forks of one machine.",
        {
            "steps": ("The steps, one on each line, or where they are written", None),
            "check": ("A command that succeeds while all is well", None),
            "image": _IMAGE,
        },
        """\
Find the first step after which this check fails: {check}

The steps: {steps}

1. vm_boot with image "{image}". Run the check: it must succeed, else say so and stop. vm_snapshot with action save and name
   "start".
2. vm_snapshot with action fork and name "start", count 2 or more: each fork takes a prefix of the steps that you have not
   decided on yet, such as the first half and the first three quarters. Run the steps and then the check in each.
3. Go on between the longest prefix that is well and the shortest that is not, from fresh forks of "start", until one step is
   left.
4. Prove it: a fork with all steps before it is well, and one with that step is not. Say what the step changed (files, packages,
   services), with the output. Then vm_destroy the machines.""",
    ),
}


def _offered(context: ServerRequestContext[Any, Any]) -> dict[str, Way]:
    """Those whose tools are offered."""
    office: Office = context.lifespan_context
    return {name: way for name, way in WAYS.items() if set(way.tools) <= office.offered.tools.keys()}


async def list_prompts(context: ServerRequestContext[Any, Any], _: PaginatedRequestParams | None) -> ListPromptsResult:
    """All that are offered."""
    return ListPromptsResult(
        prompts=[
            Prompt(
                name=name,
                title=way.title,
                description=way.description,
                arguments=[
                    PromptArgument(name=argument, description=text, required=default is None)
                    for argument, (text, default) in way.arguments.items()
                ],
            )
            for name, way in _offered(context).items()
        ]
    )


async def get(context: ServerRequestContext[Any, Any], params: GetPromptRequestParams) -> GetPromptResult:
    """One, with its arguments filled in."""
    there = _offered(context)
    way = there.get(params.name)
    if way is None:
        named = ", ".join(there) or "none"
        raise MCPError(code=INVALID_PARAMS, message=f"Unknown prompt: {params.name[:100]}; there are: {named}")
    given = params.arguments or {}
    if unknown := sorted(given.keys() - way.arguments.keys()):
        raise MCPError(
            code=INVALID_PARAMS, message=f"{params.name} has no argument {unknown[0][:100]!r}: {', '.join(way.arguments)}"
        )
    filled = {}
    for name, (_text, default) in way.arguments.items():
        value = given.get(name, default)
        if not value:
            raise MCPError(code=INVALID_PARAMS, message=f"{params.name} needs the argument {name}")
        filled[name] = value[:LONGEST_ARGUMENT]
    text = TextContent(type="text", text=way.text.format(**filled))
    return GetPromptResult(description=way.description, messages=[PromptMessage(role="user", content=text)])
