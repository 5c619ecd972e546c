"""``vm_screenshot``: the screen as a picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from qa.errors import QaError
from qa.mcp.call import Call
from qa.mcp.fields import VmName
from qa.mcp.looking import glance
from qa.mcp.pictures import View
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import Facts

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
        with vm.use() as machine:
            frame = await machine.grab()
            seen = call.looked(vm)
            box = None
            if arguments.region is not None:
                view = seen.view if seen and seen.view.fits(frame) else View.of(frame)
                box = view.box_on_screen(arguments.region)
            view = View.of(frame, box, arguments.scale)
            if arguments.text:
                return Reply(text=f"{vm.name}: screen {frame.describe()}\n{await _read(machine, view)}")
            shown = await glance(vm, frame, view, again=arguments.again)
        words = f"{vm.name}: {shown.words}"
        if shown.png is None:
            return Reply(text=f"{words}. again=true gives it nevertheless")
        return Reply(text=words, pictures=(shown.png,))


async def _read(machine: object, view: View) -> str:
    x, y, width, height = view.box
    region = None if view.is_whole else {"x": x, "y": y, "width": width, "height": height}
    try:
        return str(await perform(machine, "read_screen_text", region=region)) or "(no text)"  # type: ignore[arg-type]
    except KeyError:
        raise QaError("screens cannot be read here", hint="look at the picture") from None
