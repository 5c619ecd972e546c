"""``vm_list``: what there is."""

from __future__ import annotations

from qa.mcp.call import Call
from qa.mcp.describe import describe_job, describe_vm
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.operations.calls import Facts


class ListArguments(ToolArguments):
    """See `VmList`."""


class VmList(Tool[ListArguments]):
    """What there is."""

    name = "vm_list"
    title = "List machines and jobs"
    effect = worst = "read"
    idempotent = True
    description = "Your machines with their states, snapshots and forwarded ports, and your jobs."
    arguments = ListArguments

    def facts(self, call: Call, arguments: ListArguments) -> Facts:
        """See Tool."""
        return Facts(effect="read")

    async def run(self, call: Call, arguments: ListArguments) -> Reply:
        """See Tool."""
        jobs = [job for job in call.jobs.of(call.client) if job.running or not job.collected]
        return Reply(
            {
                "machines": [describe_vm(facts) for facts in call.desk.facts(call.client)],
                "jobs": [describe_job(job) for job in jobs],
            }
        )
