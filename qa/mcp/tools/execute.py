"""``vm_exec``: a command in the guest."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from qa.events import Bus
from qa.guest.channel import CommandResult, Stream
from qa.mcp.call import Call
from qa.mcp.clipping import TEXT_LIMIT, clip
from qa.mcp.describe import whole
from qa.mcp.fields import WAIT, TimeoutSeconds, VmName, WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations.calls import Facts
from qa.operations.jobs import Job
from qa.operations.vm import Vm

STDERR_LIMIT = TEXT_LIMIT // 4
SAID = 200
"""Letters of a line of output that is told as a sign of life."""


class ExecArguments(ToolArguments):
    """See `VmExec`."""

    vm: VmName
    command: Annotated[str, Field(min_length=1, max_length=1_000_000, description="Shell command or script")]
    timeout_s: Annotated[TimeoutSeconds, Field(description="Killed after this; more under software emulation")] = 120
    wait_s: Annotated[WaitSeconds, Field(description="As for vm_boot; 0: run in the background")] = WAIT


class VmExec(Tool[ExecArguments]):
    """A command in the guest."""

    name = "vm_exec"
    title = "Run a command in a machine"
    open_world = True
    worst = "destroy"
    description = "Run a shell command in the guest, as root. Gives exit_code, stdout, stderr. Each call has a new shell."
    arguments = ExecArguments
    verbs = ("execute",)

    def facts(self, call: Call, arguments: ExecArguments) -> Facts:
        """See Tool."""
        return Facts(commands=(arguments.command,), verbs=self.verbs)

    async def run(self, call: Call, arguments: ExecArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        machine = vm.machine

        async def work(job: Job) -> Reply:
            output = job.output
            assert output

            def hear(_: Stream, data: bytes) -> None:
                output.add(data)
                lines = data.decode(errors="replace").split("\n")
                job.said = next((line.strip()[:SAID] for line in reversed(lines) if line.strip()), job.said)

            return describe_result(vm, await machine.follow(arguments.command, arguments.timeout_s, hear), job)

        what = " ".join(arguments.command.split())
        job = call.start(f"{vm.name}: {what[:60]}", work, vm=vm, output=vm.results / "output", bus=Bus())
        return await call.outcome(job, arguments.wait_s, vm)


def describe_result(vm: Vm, result: CommandResult, job: Job) -> Reply:
    """What a command gave: head and tail of long output, and where the whole is."""
    stdout, cut_out = clip(result.stdout_text)
    stderr, cut_err = clip(result.stderr_text, STDERR_LIMIT)
    data: dict[str, Any] = {"vm": vm.name, "exit_code": result.exit_code, "stdout": stdout, "stderr": stderr}
    data["duration_s"] = round(result.duration_s, 2)
    if result.timed_out:
        data["timed_out"] = True
        data["next"] = "it was killed at timeout_s: give it more, or find out what it waits for"
    assert job.output
    if cut_out or cut_err or result.truncated:
        data |= whole(job.output)
    else:
        with suppress(OSError):  # all of it is in the result
            job.output.file.unlink()
    return Reply(data)
