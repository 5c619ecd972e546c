"""What a console says, as text: without escape sequences, and without the kernel's interjections."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b\](?:R|P[0-9A-Fa-f]{7})"  # the Linux console's palette, which has no end
    r"|\x1b[\]PX^_][^\x07\x18\x1a\x1b\r\n]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"  # two-character sequences and character sets
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)
"""None looks for its end behind the line or the next one: a stray byte would hide all that follows, and many would take long."""

_LINE_ENDS = re.compile(r"(?<!\r)\r+\n")  # each run of them is looked at once
_KERNEL_LINE = re.compile(r"\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? [^\n]*(?:\n|$)")


def plain(data: bytes) -> str:
    """``data`` as text with ``\\n`` line ends; escape sequences and control characters are dropped."""
    text = _ESCAPES.sub("", data.decode("utf-8", errors="replace"))
    return _LINE_ENDS.sub("\n", text).replace("\r", "\n")


def without_kernel_lines(text: str) -> str:
    """``text`` without kernel messages.

    The kernel writes whole lines, but at any moment: in the middle of a prompt (``log[  12.345678] usb 1-1: ...\\nin:``)
    they are cut out and what stood around them joins again.
    """
    return _KERNEL_LINE.sub("", text)
