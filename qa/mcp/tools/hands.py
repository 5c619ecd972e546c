"""``vm_input``: keyboard, mouse and power button."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qa.errors import UsageError
from qa.machine import Machine
from qa.mcp.call import LONGEST_WAIT, Call, Looked
from qa.mcp.fields import ShortWaitSeconds, VmName
from qa.mcp.looking import glance, say_changes, settled
from qa.mcp.pictures import View, changed
from qa.mcp.tool import Reply, Tool, ToolArguments
from qa.mcp.verbs import perform
from qa.operations.calls import BY_HAND, Facts
from qa.operations.vm import Vm
from qa.screen.frames import Frame

Point = Annotated[tuple[float, float], Field(description="[x, y]")]
Power = Literal["shutdown", "reboot", "crash", "boot", "pause", "resume"]

NEEDLE = "needle:"
FIND_LIMIT_S = 20.0
"""Seconds, before the factor for emulation, in which a text or a needle that is to be clicked must be on the screen."""


def _joined(value: Any) -> Any:
    """Keys as a list are the same as keys with blanks between them."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


class InputArguments(ToolArguments):
    """See `VmInput`."""

    vm: VmName
    click: Annotated[Point | None, Field(description="[x, y] in pixels of the last picture, as all places here")] = None
    click_on: Annotated[str | None, Field(min_length=1, description="Click this text on the screen (regex), or needle:NAME")] = (
        None
    )
    button: Literal["left", "right", "middle"] = "left"
    double: bool = False
    drag: Annotated[tuple[float, float, float, float] | None, Field(description="[x1, y1, x2, y2]")] = None
    move: Annotated[tuple[float, float] | None, Field(description="[x, y]")] = None
    scroll: Annotated[int | None, Field(ge=-100, le=100, description="Wheel notches, down if positive; at the place of move")] = (
        None
    )
    text: Annotated[str | None, Field(max_length=20_000, description="Typed as keys; \\n is Enter")] = None
    layout: Annotated[str | None, Field(description="Keyboard layout of the guest, such as de")] = None
    keys: Annotated[str | None, BeforeValidator(_joined), Field(description="Such as ctrl-alt-f2, or several: down down ret")] = (
        None
    )
    power: Annotated[Power | None, Field(description="crash: cut the power")] = None
    picture: Annotated[bool, Field(description="Answer with a picture too")] = True
    wait_s: ShortWaitSeconds = LONGEST_WAIT

    @property
    def pressed(self) -> list[str]:
        """The key combinations, one after the other."""
        return (self.keys or "").split()


class VmInput(Tool[InputArguments]):
    """Keyboard, mouse and power button."""

    name = "vm_input"
    title = "Keyboard, mouse, power"
    worst = "destroy"
    description = (
        "Use mouse, keyboard and power, in this order: move, click, drag, scroll, text, keys, power. "
        "Answers what changed on the screen once it stands still."
    )
    arguments = InputArguments
    verbs = ("move_mouse", "click", "drag", "scroll", "send_chars", "send_key", name)  # and it has the power button

    def facts(self, call: Call, arguments: InputArguments) -> Facts:
        """See Tool."""
        used = (arguments.click, arguments.click_on, arguments.drag, arguments.move, arguments.scroll, arguments.power)
        if all(one is None for one in used) and not arguments.text and not arguments.pressed:
            raise UsageError("nothing is to be done", hint="give click, click_on, drag, move, scroll, text, keys or power")
        typed = (arguments.text,) if arguments.text else ()
        verbs = tuple(_verbs(arguments))
        by_hand = any(verb in self.verbs and verb != "send_chars" for verb in verbs)
        return Facts(typed=typed, other_ways=(BY_HAND,) if by_hand else (), verbs=verbs)

    async def run(self, call: Call, arguments: InputArguments) -> Reply:
        """See Tool."""
        vm = call.vm(arguments.vm)
        machine = vm.machine
        job = call.start(f"input for {vm.name}", lambda _: _use(call, vm, machine, arguments), vm=vm)
        return await call.outcome(job, arguments.wait_s, vm)


async def _use(call: Call, vm: Vm, machine: Machine, arguments: InputArguments) -> Reply:
    if arguments.power == "boot":
        await perform(machine, "boot")
    before = await machine.grab()
    view = _view(call.looked(vm), before, arguments)
    await _use_mouse(machine, view, arguments)
    if arguments.text:
        await perform(machine, "send_chars", text=arguments.text, layout=arguments.layout)
    for keys in arguments.pressed:
        await perform(machine, "send_key", keys=keys, layout=arguments.layout)
    if arguments.power and arguments.power != "boot":
        await perform(machine, arguments.power)
        vm.note = ""  # why it was paused before
    if machine.power_state == "off":
        return Reply({"vm": vm.name, "state": vm.state, "why": vm.why, "next": "vm_input power=boot switches it on again"})
    frame, still = await settled(machine, before)
    return await _answer(vm, arguments, before, frame, view, still=still)


async def _answer(vm: Vm, arguments: InputArguments, before: Frame, frame: Frame, view: View, *, still: bool) -> Reply:
    state = "" if still else " (the screen goes on changing: vm_wait until=still)"
    if not view.fits(frame):
        view = View.of(frame)
    elif before.digest == frame.digest:
        return Reply(text=f"{vm.name}: done; nothing changed on the screen{state}")
    elif not arguments.picture:
        return Reply(text=f"{vm.name}: done; {say_changes(changed(before, frame), view)}{state}")
    shown = await glance(vm, frame, view, since=before)
    pictures = (shown.png,) if shown.png else ()
    return Reply(text=f"{vm.name}: done; {shown.words}{state}", pictures=pictures)


def _verbs(arguments: InputArguments) -> Iterator[str]:
    """What is done."""
    if arguments.move is not None:
        yield "move_mouse"
    if arguments.click is not None or arguments.click_on is not None:
        yield "click"
    if arguments.drag is not None:
        yield "drag"
    if arguments.scroll is not None:
        yield "scroll"
    if arguments.text:
        yield "send_chars"
    if arguments.pressed:
        yield "send_key"
    if arguments.power is not None:
        yield arguments.power
    if arguments.picture:
        yield "screenshot"


def _view(seen: Looked | None, now: Frame, arguments: InputArguments) -> View:
    """What the places in the arguments mean."""
    pointed = any(one is not None for one in (arguments.click, arguments.drag, arguments.move))
    if seen is None:
        return View.of(now)
    if not seen.view.fits(now):
        if pointed:
            was, now_is = "x".join(map(str, seen.view.screen)), f"{now.width}x{now.height}"
            raise UsageError(
                f"the screen is {now_is} now, and was {was} in the last picture", hint="look with vm_screenshot first"
            )
        return View.of(now)
    return seen.view


async def _use_mouse(machine: Machine, view: View, arguments: InputArguments) -> None:
    if arguments.move is not None and arguments.scroll is None:
        await perform(machine, "move_mouse", at=view.to_screen(*arguments.move))
    how: dict[str, Any] = {"button": arguments.button, "double": arguments.double}
    if arguments.click is not None:
        await perform(machine, "click", at=view.to_screen(*arguments.click), **how)
    if arguments.click_on is not None:
        is_needle, name = arguments.click_on.startswith(NEEDLE), arguments.click_on.removeprefix(NEEDLE)
        there = {"needle": name} if is_needle else {"text": name}
        await perform(machine, "click", **there, **how, timeout=FIND_LIMIT_S)
    if arguments.drag is not None:
        x1, y1, x2, y2 = arguments.drag
        places = {"from": {"at": view.to_screen(x1, y1)}, "to": {"at": view.to_screen(x2, y2)}}
        await perform(machine, "drag", **places, button=arguments.button)
    if arguments.scroll:
        place = view.to_screen(*arguments.move) if arguments.move else None
        direction = "down" if arguments.scroll > 0 else "up"
        await perform(machine, "scroll", direction=direction, amount=abs(arguments.scroll), at=place)
