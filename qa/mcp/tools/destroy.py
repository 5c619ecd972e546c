"""``vm_destroy``: the end of a machine."""

from __future__ import annotations

from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.fields import Force, ShortWaitSeconds, VmName
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations.calls import Facts
from qa.operations.vm import Vm


class DestroyArguments(ToolArguments):
    """See `VmDestroy`."""

    vm: VmName
    force: Force = False
    wait_s: ShortWaitSeconds = LONGEST_WAIT


class VmDestroy(Tool[DestroyArguments]):
    """The end of a machine."""

    name = "vm_destroy"
    title = "Destroy a machine"
    worst = "destroy"
    idempotent = True
    description = "Destroy a machine with its disks and snapshots. Pictures and logs stay in its folder."
    arguments = DestroyArguments

    def facts(self, call: Call, arguments: DestroyArguments) -> Facts:
        """A fork, and a machine that is broken or never came up, has nothing that anybody must be asked about."""
        vm = call.vm(arguments.vm)
        if vm.forked_from or vm.state in {"dead", "booting", "gone"}:
            return Facts(effect="change")
        question = f"Destroy the machine {vm.name} ({vm.image}), with all that is on its disks and its snapshots?"
        return Facts(effect="destroy", question=question, force=arguments.force)

    async def run(self, call: Call, arguments: DestroyArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        job = call.start(f"destroy {vm.name}", lambda _: _destroy(call, vm))  # about no machine: those jobs end here
        return await call.outcome(job, arguments.wait_s, vm)


async def _destroy(call: Call, vm: Vm) -> Reply:
    await call.desk.destroy(vm)
    await call.jobs.leave(call.client, vm=vm.name)
    return Reply({"vm": vm.name, "state": "destroyed", "folder": str(vm.results)})
