"""The keyboard: key combinations and texts as explicit presses and releases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from qa.errors import UsageError

if TYPE_CHECKING:
    from qa.qemu.monitor import Monitor

KEYS_PER_SECOND = 40
"""Rate of ``send_chars``. A PS/2 keyboard buffers 16 bytes, about 4 shifted keys; guests under emulation lost keys at 186 a
second and none at 30."""

_ALIASES = {
    "enter": "ret", "return": "ret", "space": "spc", "escape": "esc", "del": "delete", "ins": "insert", "pageup": "pgup",
    "pagedown": "pgdn", "control": "ctrl", "win": "meta_l", "super": "meta_l", "meta": "meta_l", "bksp": "backspace",
}  # fmt: skip
_NAMED = {
    "ret", "esc", "tab", "spc", "backspace", "delete", "insert", "home", "end", "pgup", "pgdn", "up", "down", "left", "right",
    "shift", "shift_r", "ctrl", "ctrl_r", "alt", "alt_r", "meta_l", "meta_r", "menu", "caps_lock", "num_lock", "scroll_lock",
    "print", "sysrq", "pause", "kp_enter", "kp_add", "kp_subtract", "kp_multiply", "kp_divide", "kp_decimal",
    *(f"f{number}" for number in range(1, 13)), *(f"kp_{number}" for number in range(10)),
}  # fmt: skip

# The US layout: character to QEMU's key name; the second of each pair is the character with shift.
_US = {
    "`": "grave_accent", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", "\\": "backslash",
    ";": "semicolon", "'": "apostrophe", ",": "comma", ".": "dot", "/": "slash", " ": "spc", "\t": "tab", "\n": "ret",
}  # fmt: skip
_US_SHIFTED = dict(zip('~_+{}|:"<>?', "`-=[]\\;',./", strict=True)) | dict(zip("!@#$%^&*()", "1234567890", strict=True))


def keys_for(character: str) -> tuple[str, ...] | None:
    """The keys that make ``character`` on a US keyboard, held together; None where there are none."""
    if character in _US_SHIFTED:
        base = _US_SHIFTED[character]
        return ("shift", _US.get(base, base))
    if character in _US:
        return (_US[character],)
    if character.isascii() and character.isalnum():
        return ("shift", character.lower()) if character.isupper() else (character,)
    return None


def parse_combination(text: str) -> tuple[str, ...]:
    """The keys of ``ctrl-alt-delete``, ``ret`` or ``a``.

    Raises:
        UsageError: a key is not known; with the nearest name.
    """
    parts = [part.lower() for part in text.strip().split("-")]
    if parts[-2:] == ["", ""]:  # the minus key itself: "-" or "ctrl--"
        parts = [*parts[:-2], "minus"]
    keys: list[str] = []
    for part in parts:
        name = _ALIASES.get(part, part)
        if name not in _NAMED and (found := keys_for(part)) is not None and len(part) == 1:
            keys += found
        elif name in _NAMED or name in _US.values():
            keys.append(name)
        else:
            near = get_close_matches(part, [*_NAMED, *_ALIASES], n=1)
            raise UsageError(f"there is no key {part!r} in {text!r}", hint=f"did you mean {near[0]!r}?" if near else None)
    return tuple(keys)


class Keyboard:
    """Presses keys of one machine."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._lock = asyncio.Lock()

    async def press(self, keys: Iterable[str]) -> None:
        """Press ``keys`` one after the other, and release them in reverse; released they are whatever happens."""
        held = tuple(keys)
        async with self._lock:
            try:
                await self._send([_event(key, down=True) for key in held])
            finally:
                await self._send([_event(key, down=False) for key in reversed(held)])

    async def type(self, text: str, rate: float = KEYS_PER_SECOND) -> None:
        """Type ``text`` on a US keyboard, ``rate`` characters a second.

        Raises:
            UsageError: a character has no key; nothing has been typed then.
        """
        strokes = []
        for position, character in enumerate(text):
            keys = keys_for(character)
            if keys is None:
                raise UsageError(
                    f"{character!r} (character {position + 1} of the text) has no key in the US layout; nothing was typed"
                )
            strokes.append(keys)
        for keys in strokes:
            await self.press(keys)
            await asyncio.sleep(1 / rate)

    async def _send(self, events: list[dict[str, Any]]) -> None:
        await self._monitor.execute("input-send-event", {"events": events})


def _event(key: str, *, down: bool) -> dict[str, Any]:
    return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": key}}}
