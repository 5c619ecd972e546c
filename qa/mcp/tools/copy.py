"""``vm_copy``: files into the guest and out of it."""

from __future__ import annotations

import asyncio
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from qa.errors import UsageError
from qa.guest.copying import landing
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.fields import Force, TimeoutSeconds, VmName, WaitSeconds
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import INTO_GUESTS, Facts
from qa.operations.jobs import Job
from qa.operations.vm import Vm
from qa.places import followed, is_there, place


class CopyArguments(ToolArguments):
    """See `VmCopy`."""

    vm: VmName
    direction: Literal["to_vm", "from_vm"]
    source: Annotated[str | None, Field(min_length=1)] = None
    target: Annotated[str | None, Field(min_length=1, description="from_vm: the machine's folder if not given")] = None
    content: Annotated[str | None, Field(description="to_vm: this text instead of a source")] = None
    timeout_s: TimeoutSeconds = 600
    wait_s: WaitSeconds = LONGEST_WAIT
    force: Force = False


class VmCopy(Tool[CopyArguments]):
    """Files into the guest and out of it."""

    name = "vm_copy"
    title = "Copy files"
    worst = "destroy"
    needs = MappingProxyType({"force": "change"})
    description = "Copy a file or folder between this host and the guest, with its modes, or write a text to a file in the guest."
    arguments = CopyArguments
    verbs = ("copy_to", "copy_from")

    def facts(self, call: Call, arguments: CopyArguments) -> Facts:
        """See Tool."""
        vm = call.vm(arguments.vm)
        if arguments.direction == "from_vm":
            if arguments.source is None or arguments.content is not None:
                raise UsageError("from_vm copies a source out of the guest", hint="give source, and no content")
            return _writing(vm, arguments)
        if arguments.target is None or (arguments.source is None) == (arguments.content is None):
            raise UsageError("to_vm puts a source, or a content, to a target in the guest", hint="give target and one of the two")
        reads = () if arguments.source is None else (_from_host(call, arguments.source),)
        return Facts(reads=reads, other_ways=(INTO_GUESTS,), verbs=("copy_to",))

    async def run(self, call: Call, arguments: CopyArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        machine = vm.machine
        path = _on_host(vm, arguments) if arguments.direction == "from_vm" else None

        async def work(job: Job) -> Reply:
            if path is not None:
                assert arguments.source
                await machine.copy_out(arguments.source, path, arguments.timeout_s)
                return Reply({"vm": vm.name, "source": arguments.source, "target": str(path), "bytes": await _size(path)})
            assert arguments.target
            if arguments.content is not None:
                return await _write(vm, arguments.content, arguments.target, arguments.timeout_s)
            assert arguments.source
            source = _from_host(call, arguments.source)
            await perform(machine, "copy_to", source=source, target=arguments.target, timeout=arguments.timeout_s)
            return Reply(
                {"vm": vm.name, "source": str(source), "target": arguments.target, "bytes": await _size(followed(source))}
            )

        way = "into" if arguments.direction == "to_vm" else "out of"
        job = call.start(f"copy {way} {vm.name}", work, vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


def _writing(vm: Vm, arguments: CopyArguments) -> Facts:
    """What is there already, be it a whole folder, is replaced; in the machine's own folder nobody minds."""
    target = _on_host(vm, arguments)
    if target.is_relative_to(vm.results) or not is_there(target):
        return Facts(writes=(target,), force=arguments.force, verbs=("copy_from",))
    question = f"Replace {target} on this host?"
    return Facts("destroy", writes=(target,), question=question, force=arguments.force, verbs=("copy_from",))


def _from_host(call: Call, source: str) -> Path:
    return place(call.desk.base_folder, source)


def _on_host(vm: Vm, arguments: CopyArguments) -> Path:
    """What the copy will be."""
    assert arguments.source
    return landing(vm.results, arguments.target or "files/", arguments.source)


async def _write(vm: Vm, content: str, target: str, timeout_s: float) -> Reply:
    data = content.encode("utf-8", errors="surrogateescape")
    with tempfile.NamedTemporaryFile(dir=vm.results, prefix="content-") as file:
        await asyncio.to_thread(file.write, data)
        file.flush()
        path = Path(file.name)
        path.chmod(0o644)
        await perform(vm.machine, "copy_to", source=path, target=target, timeout=timeout_s)
    return Reply({"vm": vm.name, "target": target, "bytes": len(data)})


async def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; a link counts itself, and what has gone meanwhile counts nothing."""

    def count() -> int:
        total = 0
        with suppress(OSError):
            inside = path.is_dir() and not path.is_symlink()
            for one in path.rglob("*") if inside else [path]:
                found = one.lstat()
                total += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        return total

    return await asyncio.to_thread(count)
