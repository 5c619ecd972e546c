"""``vm_boot``: a machine that is ready."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.describe import describe_vm
from qa.mcp.fields import WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import checked_as
from qa.operations.calls import Facts, boot_facts
from qa.operations.jobs import Job
from qa.operations.options import MachineOptions
from qa.operations.vm import Vm


class BootArguments(ToolArguments):
    """See `VmBoot`."""

    image: Annotated[str, Field(min_length=1, description="builtin (tiny, 1 s), debian, debian-13..., a path, or a URL")]
    name: Annotated[str | None, Field(description="vm1, vm2... if not given")] = None
    start: Annotated[
        Literal["warm", "cold"], Field(description="warm: from the cached ready state; cold: through the firmware")
    ] = "warm"
    memory: Annotated[str | None, Field(description="Such as 1G")] = None
    cpus: int | None = None
    disk: Annotated[str | None, Field(description="Grow the first disk to, such as 20G")] = None
    network: Annotated[
        Literal["user", "restricted", "none"] | None,
        Field(description="user: reaches what the host reaches; restricted: forwards only"),
    ] = None
    forward: Annotated[list[int] | None, Field(description="Guest TCP ports to reach from the host")] = None
    options: Annotated[
        dict[str, Any] | None,
        Field(description="More machine options as in scripts: disks, channel, login, identity, seed, keyboard, text_language"),
    ] = None
    cloud_init: dict[str, Any] | None = None
    wait_s: WaitSeconds = LONGEST_WAIT

    def machine_options(self) -> MachineOptions:
        """The options of the machine.

        Raises:
            UsageError: they do not fit.
        """
        own = {name: getattr(self, name) for name in ("memory", "cpus", "disk", "network", "forward")}
        given = {**(self.options or {}), **{name: value for name, value in own.items() if value is not None}}
        return checked_as(MachineOptions, given, "options")


class VmBoot(Tool[BootArguments]):
    """A machine that is ready."""

    name = "vm_boot"
    title = "Boot a machine"
    open_world = True
    description = "Boot a disk image as a new virtual machine that you can break. Ready means that commands work."
    arguments = BootArguments
    verbs = ("boot",)

    def facts(self, call: Call, arguments: BootArguments) -> Facts:
        """See Tool."""
        facts = boot_facts(arguments.image, arguments.machine_options(), arguments.cloud_init, call.desk.base_folder)
        return replace(facts, verbs=self.verbs)

    async def run(self, call: Call, arguments: BootArguments) -> Reply:
        """See Tool."""
        call.jobs.check_room(call.client)  # before there is a machine
        vm = call.desk.begin(
            call.client,
            arguments.image,
            name=arguments.name,
            options=arguments.machine_options(),
            cloud_init=arguments.cloud_init,
            start=arguments.start,
        )
        job = call.start(f"boot {vm.name}", lambda job: _boot(vm, job), vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


async def _boot(vm: Vm, job: Job) -> Reply:
    try:
        await vm.wait_ready()
    except asyncio.CancelledError:
        await asyncio.shield(vm.end("its start was cancelled"))
        raise
    return Reply({**describe_vm(vm.facts()), "took_s": round(job.elapsed_s, 1)})
