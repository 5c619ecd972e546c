"""What QEMU takes for keyboard and pointer, and what it tells of how far the guest has read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from qa.qemu.monitor import Monitor

Button = Literal["left", "middle", "right", "wheel-up", "wheel-down"]

QUEUE = 16
"""Bytes that the PS/2 keyboard holds for the guest. What comes when it is full is lost without a word, also releases of keys."""

_TWO_BYTES = frozenset({
    "alt_r", "ctrl_r", "meta_l", "meta_r", "menu", "insert", "delete", "home", "end", "pgup", "pgdn", "up", "down", "left",
    "right", "kp_enter", "kp_divide",
})  # fmt: skip
_MORE_BYTES = {"print": 4, "sysrq": 4, "pause": 6}

_LINE_OF_KEYBOARD = re.compile(r"^\s*1: (\d+)", re.MULTILINE)

_ABSOLUTE = 0x8000
"""An absolute pointer's positions on each axis, whatever the size of the screen."""


def key_event(key: str, *, down: bool) -> dict[str, Any]:
    """A key, by QEMU's name, that goes down or up."""
    return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": key}}}


def button_event(button: Button, *, down: bool) -> dict[str, Any]:
    """A button of the pointer, or a notch of its wheel, that goes down or up."""
    return {"type": "btn", "data": {"down": down, "button": button}}


def position_events(x: int, y: int, width: int, height: int) -> list[dict[str, Any]]:
    """The absolute pointer in the middle of a pixel of a screen of this size: whatever way a guest rounds, it is that pixel."""
    return [_axis("x", x, width), _axis("y", y, height)]


def _axis(axis: str, pixel: int, size: int) -> dict[str, Any]:
    return {"type": "abs", "data": {"axis": axis, "value": (2 * pixel + 1) * _ABSOLUTE // (2 * size)}}


def bytes_of(keys: Iterable[str]) -> int:
    """How many bytes the PS/2 keyboard makes of keys that are pressed and released, as all guests have it set up."""
    return sum(_MORE_BYTES.get(key, 2 if key in _TWO_BYTES else 1) * 2 for key in keys)


async def send_input(monitor: Monitor, events: list[dict[str, Any]]) -> None:
    """Send events, all at once.

    Raises:
        QemuFailed: QEMU knows one of them not.
        QemuExited: QEMU is gone.
    """
    await monitor.execute("input-send-event", {"events": events})


async def keyboard_bytes_taken(monitor: Monitor) -> int:
    """How many bytes of the PS/2 keyboard were offered to the guest since QEMU started.

    The keyboard raises its interrupt line for each byte, the next one when the guest has read the one before; QEMU counts that.
    Firmware, boot loaders and kernels alike: the line is raised whether they listen to it or ask the keyboard themselves.
    """
    return max(map(int, _LINE_OF_KEYBOARD.findall(await monitor.human("info irq"))), default=0)


async def pointer_is_read(monitor: Monitor) -> bool:
    """Whether the guest has ever fetched from the absolute pointer: QEMU then puts it in front of the relative one."""
    return any(one["current"] and one["absolute"] for one in await monitor.execute("query-mice"))
