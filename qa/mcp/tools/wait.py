"""``vm_wait``: for something in a machine, or for a job."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from qa.errors import CheckFailed, DeadlineExceeded, UsageError
from qa.machine import Machine
from qa.mcp.call import LONGEST_WAIT, Call, Looked
from qa.mcp.clipping import clip
from qa.mcp.describe import describe_job, output_of, under_way
from qa.mcp.fields import TimeoutSeconds, VmName, WaitSeconds
from qa.mcp.pictures import View
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import Facts
from qa.operations.jobs import Job
from qa.operations.vm import Vm
from qa.screen.sight import Sight

Until = Literal["ready", "text", "needle", "still", "port", "closed_port", "unit", "file", "succeeds", "off"]

_VERBS: dict[str, tuple[str, str]] = {
    "ready": ("wait_for_ready", ""),
    "text": ("wait_for_text", "pattern"),
    "needle": ("wait_for_screen", "needle"),
    "still": ("wait_for_still_screen", ""),
    "port": ("wait_for_open_port", "port"),
    "closed_port": ("wait_for_closed_port", "port"),
    "unit": ("wait_for_unit", "unit"),
    "file": ("wait_for_file", "path"),
    "succeeds": ("wait_until_succeeds", "command"),
    "off": ("wait_for_shutdown", ""),
}
"""What is waited for, to the verb that waits, and the argument that says for which."""


class WaitArguments(ToolArguments):
    """See `VmWait`."""

    vm: VmName | None = None
    until: Annotated[Until | None, Field(description="text, needle: on the screen; unit: of systemd; succeeds: a command")] = None
    value: Annotated[
        str | None, Field(coerce_numbers_to_str=True, description="The text's regex, needle, port, unit, file or command")
    ] = None
    job: Annotated[str | None, Field(description="Instead of vm and until: pick up this job")] = None
    cursor: Annotated[int | None, Field(ge=0, description="job: answer at once with output since this")] = None
    cancel: Annotated[bool, Field(description="End the job")] = False
    timeout_s: TimeoutSeconds = 60
    wait_s: WaitSeconds = LONGEST_WAIT


class VmWait(Tool[WaitArguments]):
    """For something in a machine, or for a job."""

    name = "vm_wait"
    title = "Wait"
    effect = "read"
    worst = "destroy"
    needs = MappingProxyType({"cancel": "change", "until.succeeds": "change"})
    description = "Wait for something in a machine, or go on with a job: its result once it has ended, else its new output."
    arguments = WaitArguments
    verbs = (*(verb for verb, _ in _VERBS.values()), name)  # and it picks up jobs

    def facts(self, call: Call, arguments: WaitArguments) -> Facts:
        """See Tool."""
        if arguments.job is not None:
            if arguments.until is not None:
                raise UsageError("a job and until do not go together", hint="wait for one of them")
            call.job(arguments.job)
            return Facts(effect="change" if arguments.cancel else "read")
        if arguments.vm is None or arguments.until is None:
            raise UsageError("what is waited for is not said", hint="give vm and until, or job")
        verb, wanted = _VERBS[arguments.until]
        if bool(wanted) != (arguments.value is not None):
            hint = f"value is the {wanted}" if wanted else f"leave out value with until={arguments.until}"
            raise UsageError(f"until={arguments.until} {'needs a' if wanted else 'takes no'} value", hint=hint)
        if arguments.until == "succeeds":
            return Facts(commands=(arguments.value or "",), verbs=(verb, "execute"))
        return Facts(effect="read", verbs=(verb,))

    async def run(self, call: Call, arguments: WaitArguments) -> Reply:
        """See Tool."""
        if arguments.job is not None:
            return await _go_on_with(call, call.job(arguments.job), arguments)
        assert arguments.vm
        vm = call.vm(arguments.vm)
        if arguments.until == "ready" and vm.state == "booting":
            job = call.start(f"{vm.name} until ready", lambda job: _until_booted(vm, job), vm=vm)
        else:
            machine = vm.machine
            job = call.start(f"{vm.name} until {arguments.until}", lambda job: _until(vm, machine, arguments, job), vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


async def _until_booted(vm: Vm, job: Job) -> Reply:
    await vm.wait_ready()
    return Reply({"vm": vm.name, "until": "ready", "met": True, "waited_s": round(job.elapsed_s, 1)})


async def _until(vm: Vm, machine: Machine, arguments: WaitArguments, job: Job) -> Reply:
    assert arguments.until
    verb, wanted = _VERBS[arguments.until]
    given = {wanted: arguments.value} if wanted else {}
    data: dict[str, Any] = {"vm": vm.name, "until": arguments.until, **({"value": arguments.value} if wanted else {})}
    try:
        found = await perform(machine, verb, **given, timeout=arguments.timeout_s)
        if verb == "wait_for_ready" and machine.channel_name:  # it may have restarted by itself since it was ready
            await perform(machine, "wait_until_succeeds", command="true", timeout=arguments.timeout_s)
            found = None
    except (DeadlineExceeded, CheckFailed) as error:
        seen = {title: clip(text, 3000)[0] for title, text in error.evidence.items()}
        data |= {
            "met": False,
            "why": error.message,
            **({"hint": error.hint} if error.hint else {}),
            **({"seen": seen} if seen else {}),
        }
    else:
        data |= {"met": True, **({"found": found} if isinstance(found, str) else {})}
        if isinstance(found, Sight):
            data |= _where(vm, found)
    return Reply({**data, "waited_s": round(job.elapsed_s, 1)})


def _where(vm: Vm, sight: Sight) -> dict[str, Any]:
    """What was found, and where, in pixels of the last picture, so that it can be clicked."""
    match = sight.match
    if match:
        name, places = match.name, [(area.x, area.y, area.width, area.height) for area in match.areas if area.counts]
    else:
        name = ", ".join(mark.label for mark in sight.marks)
        places = [(mark.x, mark.y, mark.width, mark.height) for mark in sight.marks]
    if not places:
        return {}
    frame = sight.frame
    seen = vm.last_frame.view if isinstance(vm.last_frame, Looked) and vm.last_frame.view.fits(frame) else View.of(frame)
    areas = [seen.in_picture(place) for place in places]
    told: dict[str, Any] = {"found": name, "areas": [list(area) for area in areas if area]}
    return told | ({"workaround": match.workaround} if match and match.workaround else {})


async def _go_on_with(call: Call, job: Job, arguments: WaitArguments) -> Reply:
    at = arguments.cursor or 0
    if arguments.cancel:
        job.stop()
    ended = await call.wait(job, arguments.wait_s, own=False, cursor=None if arguments.cancel else arguments.cursor)
    if not ended:
        return Reply(under_way(job, at))
    if arguments.cancel and job.state == "cancelled":
        return Reply({**describe_job(job), **output_of(job, at)})
    new = output_of(job, at) if arguments.cursor is not None and job.output and job.output.file.exists() else {}
    reply: Reply = job.outcome()
    if reply.text is not None:
        return Reply(text=f"{job.id} is {job.state}: {reply.text}", pictures=reply.pictures)
    return Reply({"job": job.id, "state": job.state, **reply.data, **new})
