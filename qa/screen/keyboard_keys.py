"""Keys by name, and combinations of them as people write them."""

from __future__ import annotations

from difflib import get_close_matches

from qa.errors import UsageError
from qa.qemu.input import QUEUE, bytes_of
from qa.screen.layouts import Layout, Stroke, load_layout

_ALIASES = {
    "enter": "ret", "return": "ret", "space": "spc", "escape": "esc", "del": "delete", "ins": "insert", "pageup": "pgup",
    "pagedown": "pgdn", "control": "ctrl", "win": "meta_l", "super": "meta_l", "meta": "meta_l", "bksp": "backspace",
    "altgr": "alt_r", "printscreen": "print", "capslock": "caps_lock", "numlock": "num_lock", "scrolllock": "scroll_lock",
}  # fmt: skip
_NAMED = {
    "ret", "esc", "tab", "spc", "backspace", "delete", "insert", "home", "end", "pgup", "pgdn", "up", "down", "left", "right",
    "shift", "shift_r", "ctrl", "ctrl_r", "alt", "alt_r", "meta_l", "meta_r", "menu", "caps_lock", "num_lock", "scroll_lock",
    "print", "sysrq", "pause", "kp_enter", "kp_add", "kp_subtract", "kp_multiply", "kp_divide", "kp_decimal",
    *(f"f{number}" for number in range(1, 13)), *(f"kp_{number}" for number in range(10)),
}  # fmt: skip
_PLACES = frozenset({
    "grave_accent", "minus", "equal", "bracket_left", "bracket_right", "backslash", "semicolon", "apostrophe", "comma", "dot",
    "slash", "less",
})  # fmt: skip
"""Keys by their place, whatever is printed on them; the names are those of a US keyboard."""


def parse_combination(text: str, layout: Layout | None = None) -> Stroke:
    """The keys of ``ctrl-alt-delete``, ``ret`` or ``a``. A character is the key that makes it in ``layout`` (default: US).

    Raises:
        UsageError: a key is not known; with the nearest name.
    """
    layout = layout or load_layout("us")
    parts = [part.lower() for part in text.strip().split("-")]
    if parts[-2:] == ["", ""]:  # the minus key itself: "-" or "ctrl--"
        parts = [*parts[:-2], "-"]
    keys: list[str] = []
    for part in parts:
        name = _ALIASES.get(part, part)
        if name in _NAMED or name in _PLACES:
            keys.append(name)
        elif part in layout.direct:
            keys += layout.direct[part]
        else:
            near = get_close_matches(part, [*_NAMED, *_ALIASES], n=1)
            where = f" in the keyboard layout {layout.name}" if len(part) == 1 else ""
            raise UsageError(f"there is no key {part!r}{where}: {text!r}", hint=f"did you mean {near[0]!r}?" if near else None)
    if bytes_of(keys) > QUEUE - 2:
        raise UsageError(f"{text!r} are too many keys at once for a keyboard", hint="press some of them after the others")
    return tuple(dict.fromkeys(keys))
