"""What a console says, as text: without escape sequences, and without the kernel's interjections."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC up to their end
    r"|\x1b[ -/]*[0-~]"  # two-character sequences and character sets
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    re.DOTALL,
)
_KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? [^\n]*(?:\n|$)")


def plain(data: bytes) -> str:
    """``data`` as text with ``\\n`` line ends; escape sequences and control characters are dropped."""
    text = _ESCAPES.sub("", data.decode("utf-8", errors="replace"))
    return re.sub(r"\r+\n", "\n", text).replace("\r", "\n")


def without_kernel_lines(text: str) -> str:
    """``text`` without kernel messages.

    The kernel writes whole lines, but at any moment: in the middle of a prompt (``log[  12.345678] usb 1-1: ...\\nin:``)
    they are cut out and what stood around them joins again.
    """
    return _KERNEL_LINE.sub("", text)
