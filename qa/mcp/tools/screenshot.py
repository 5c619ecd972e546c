"""``vm_screenshot``: the screen as a picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qa.machine import Machine
from qa.mcp.call import LONGEST_WAIT, Call
from qa.mcp.fields import VmName
from qa.mcp.looking import glance
from qa.mcp.pictures import View
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import Facts
from qa.operations.vm import Vm
from qa.screen.frames import Frame

Region = Annotated[
    tuple[int, int, int, int],
    Field(description="[x, y, width, height] in pixels of the last picture; the whole screen if not given"),
]


class ScreenshotArguments(ToolArguments):
    """See `VmScreenshot`."""

    vm: VmName
    region: Region | None = None
    scale: Annotated[
        float | None, Field(gt=0, le=8, description="Picture pixels per screen pixel; large screens shrink to fit")
    ] = None
    text: Annotated[bool, Field(description="The text on it instead of a picture")] = False
    again: Annotated[bool, Field(description="Give the picture even if unchanged")] = False


class VmScreenshot(Tool[ScreenshotArguments]):
    """The screen as a picture."""

    name = "vm_screenshot"
    title = "Look at the screen"
    effect = worst = "read"
    description = (
        "See the screen, and in words what changed since the last picture. Coordinates of later calls are pixels of this picture."
    )
    arguments = ScreenshotArguments
    verbs = ("screenshot", "read_screen_text")

    def facts(self, call: Call, arguments: ScreenshotArguments) -> Facts:
        """See Tool."""
        return Facts(effect="read", verbs=("read_screen_text" if arguments.text else "screenshot",))

    async def run(self, call: Call, arguments: ScreenshotArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        if arguments.text:  # tesseract may take longer than a call
            machine = vm.machine
            job = call.start(f"text on the screen of {vm.name}", lambda _: _read(call, vm, machine, arguments), vm=vm)
            return await call.outcome(job, LONGEST_WAIT, vm)
        with vm.use() as machine:
            frame = await machine.grab()
            shown = await glance(vm, frame, _view(call, vm, frame, arguments), again=arguments.again)
        words = f"{vm.name}: {shown.words}"
        if shown.png is None:
            return Reply(text=f"{words}. again=true gives it nevertheless")
        return Reply(text=words, pictures=(shown.png,))


def _view(call: Call, vm: Vm, frame: Frame, arguments: ScreenshotArguments) -> View:
    """The part of the frame that is asked for."""
    box = None
    if arguments.region is not None:
        seen = call.looked(vm)
        view = seen.view if seen and seen.view.fits(frame) else View.of(frame)
        box = view.box_on_screen(arguments.region)
    return View.of(frame, box, arguments.scale)


async def _read(call: Call, vm: Vm, machine: Machine, arguments: ScreenshotArguments) -> Reply:
    frame = await machine.grab()
    view = _view(call, vm, frame, arguments)
    x, y, width, height = view.box
    region = None if view.is_whole else {"x": x, "y": y, "width": width, "height": height}
    text = str(await perform(machine, "read_screen_text", region=region)) or "(no text)"
    return Reply(text=f"{vm.name}: screen {frame.describe()}\n{text}")
