"""``vm_snapshot``: keep a state, go back to it, fork it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from qa.errors import UsageError
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.describe import describe_vm
from qa.mcp.fields import Force, VmName, WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations.calls import Facts
from qa.operations.jobs import Job
from qa.operations.vm import Vm

MOST_FORKS = 16
_VERBS = {"save": ("snapshot",), "restore": ("restore",)}


class SnapshotArguments(ToolArguments):
    """See `VmSnapshot`."""

    vm: VmName
    action: Literal["save", "restore", "fork", "list", "delete"]
    name: Annotated[
        str | None, Field(min_length=1, max_length=100, description="Snapshot's; with fork: go on from it instead of from now")
    ] = None
    count: Annotated[int, Field(ge=1, le=MOST_FORKS, description="fork: how many")] = 1
    names: Annotated[list[str] | None, Field(max_length=MOST_FORKS, description="fork: names of the new machines")] = None
    force: Force = False
    wait_s: WaitSeconds = LONGEST_WAIT


class VmSnapshot(Tool[SnapshotArguments]):
    """Keep a state, go back to it, fork it."""

    name = "vm_snapshot"
    title = "Snapshots and forks"
    effect = "read"
    worst = "destroy"
    needs = MappingProxyType(
        {
            "action.save": "change",
            "action.restore": "change",
            "action.fork": "change",
            "action.delete": "destroy",
            "force": "destroy",
        }
    )
    description = (
        "save keeps memory and disks under a name; restore goes back to it, and what happened since is lost; "
        "fork makes new machines that go on from here. Fork before you try something risky."
    )
    arguments = SnapshotArguments
    verbs = ("snapshot", "restore", name)  # and it makes forks

    def facts(self, call: Call, arguments: SnapshotArguments) -> Facts:
        """To go back is what a snapshot is made for: nobody is asked for that."""
        vm = call.vm(arguments.vm)
        if arguments.action == "list":
            return Facts(effect="read")
        if arguments.name is None and arguments.action != "fork":
            raise UsageError(f"{arguments.action} needs a name", hint=f"snapshots of {vm.name}: {_there(vm)}")
        if arguments.action == "delete":
            question = f"Delete the snapshot {arguments.name} of the machine {vm.name}?"
            return Facts(effect="destroy", question=question, force=arguments.force)
        verbs = _VERBS.get(arguments.action, ())
        if arguments.action == "save" and any(one.name == arguments.name for one in vm.facts().snapshots):
            question = f"Replace the snapshot {arguments.name} of the machine {vm.name}? The state that it holds is lost."
            return Facts(effect="destroy", question=question, force=arguments.force, verbs=verbs)
        return Facts(verbs=verbs)

    async def run(self, call: Call, arguments: SnapshotArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        if arguments.action == "list":
            return Reply({"vm": vm.name, "snapshots": [_described(one) for one in vm.facts().snapshots]})
        job = call.start(f"{arguments.action} {vm.name}", lambda job: _do(call, vm, arguments, job), vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


async def _do(call: Call, vm: Vm, arguments: SnapshotArguments, job: Job) -> Reply:
    if arguments.action == "fork":
        names = tuple(arguments.names or ())
        forks = await call.desk.fork(vm, count=arguments.count, names=names, snapshot=arguments.name)
        told = [describe_vm(fork.facts()) for fork in forks]
        return Reply({"vm": vm.name, "forks": told, "took_s": round(job.elapsed_s, 2)})
    assert arguments.name
    data: dict[str, Any] = {"vm": vm.name, "snapshot": arguments.name}
    if arguments.action == "save":
        data |= _described(await call.desk.save(vm, arguments.name))
    elif arguments.action == "restore":
        await call.desk.restore(vm, arguments.name)
        data |= {"state": vm.state, "next": "what you saw before is gone: look again"}
    else:
        await call.desk.forget(vm, arguments.name)
        data["deleted"] = True
    return Reply({**data, "snapshots": [one.name for one in vm.facts().snapshots], "took_s": round(job.elapsed_s, 2)})


def _described(one: Any) -> dict[str, Any]:
    return {"snapshot": one.name, "created": one.created, "mb": round(one.size / (1 << 20), 1)}


def _there(vm: Vm) -> str:
    return ", ".join(one.name for one in vm.facts().snapshots) or "none"
