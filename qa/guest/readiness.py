"""The ladder to readiness: which rung the guest has reached, and when it is ready to be worked with."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from qa.console.serial import SerialConsole
from qa.console.text import plain
from qa.guest.channel import Channel

SHELL = "shell"
READY = "ready"

_RUNGS = (
    ("firmware", re.compile(rb"BdsDxe|\x1b\[")),
    ("boot loader", re.compile(rb"BdsDxe: starting|GRUB|Loading Linux|systemd-boot")),
    ("kernel", re.compile(rb"EFI stub:|Linux version|\[ +\d+\.\d{6}\]|FreeBSD/|illumos")),
    ("init", re.compile(rb"systemd\[1\]|Welcome to [^\n]*Linux|OpenRC|cloud-init|INIT: |Starting syslogd")),
    ("login prompt", re.compile(rb"login: ?$", re.MULTILINE)),
)
"""What the serial console says at each rung. A quiet guest skips some: they tell where a boot hangs, not whether it goes on."""


SIGN_OF_LIFE = 1.0
"""Seconds between two lines of the console that are told while a guest boots."""


class Ladder:
    """Notes the first time each rung is seen.

    ``reached`` is called with its name, and ``said`` now and then with the console's newest line.
    """

    def __init__(
        self, console: SerialConsole, reached: Callable[[str], None], said: Callable[[str], None] = lambda _: None
    ) -> None:
        self._reached = reached
        self._said = said
        self._said_at = 0.0
        self._missing = dict(_RUNGS)
        self._carried = b""
        self._unsubscribe = console.subscribe(self._hear)

    def _hear(self, data: bytes) -> None:
        window = self._carried + data
        self._carried = window[-128:]
        for name, pattern in tuple(self._missing.items()):
            if pattern.search(window):
                del self._missing[name]
                self._reached(name)
        if time.monotonic() - self._said_at >= SIGN_OF_LIFE and (text := plain(window).strip()):
            self._said_at = time.monotonic()
            self._said(text.splitlines()[-1].strip())

    def close(self) -> None:
        """Stop looking; what runs in a guest that is up may print anything."""
        self._unsubscribe()
        self._unsubscribe = lambda: None


_ASK = """\
if [ -d /run/systemd/system ]; then
  state=$(systemctl is-system-running --wait 2>/dev/null)
  while case $state in initializing|starting|'') :;; *) false;; esac; do
    sleep 0.5; state=$(systemctl is-system-running 2>&1)
  done
  echo "$state"
  [ "$state" = running ] || systemctl --failed --no-legend --plain | cut -d' ' -f1
else
  echo running
fi
"""
"""Ends when systemd has run its whole boot; other systems are up when they give us a shell."""


async def wait_for_system(channel: Channel, limit: float) -> list[str]:
    """Wait until the guest has finished booting, and return the units that failed meanwhile."""
    result = await channel.run(_ASK, limit=limit)
    state, *failed = result.stdout_text.split() or ["unknown"]
    return failed if state != "running" else []


_ASK_CLOUD_INIT = (
    "command -v cloud-init >/dev/null || exit 0; cloud-init status --wait >/dev/null 2>&1 || cloud-init status --long"
)


async def cloud_init_errors(channel: Channel, limit: float) -> str:
    """What cloud-init complains about, in its own words; empty where all went well."""
    result = await channel.run(_ASK_CLOUD_INIT, limit=limit)
    text = result.stdout_text
    return text.strip() if re.search(r"status: error|^errors:\s*\n\s+-", text, re.MULTILINE) else ""
