"""Waiting for the guest: every wait ends at what it waits for, at a known failure, or at its deadline."""

from __future__ import annotations

import shlex
from typing import Annotated

from pydantic import Field

from qa.console import TextWatch
from qa.errors import CheckFailed
from qa.guest.channel import CommandResult
from qa.machine.base import WAIT_LIMIT, Duration, MachineBase, Pattern, PortNumber
from qa.machine.commands import Commands, output_evidence

_UNIT = """\
u={unit}
command -v systemctl >/dev/null || {{ echo "the guest has no systemd"; exit 3; }}
while :; do
  ActiveState= LoadState= Job=
  for p in $(systemctl show "$u" -p ActiveState -p LoadState -p Job); do
    case $p in ActiveState=*|LoadState=*|Job=*) eval "${{p%%=*}}=\\${{p#*=}}";; esac
  done
  case $ActiveState in
    active) exit 0;;
    failed) echo "it has failed"; break;;
    inactive) [ "$LoadState" = not-found ] && {{ echo "there is no such unit"; exit 3; }}
              case $Job in ''|0) echo "it is inactive, and nothing is about to start it"; break;; esac;;
  esac
  sleep 0.1
done
journalctl -q -b --no-pager -n 20 -u "$u" >&2 || systemctl status --no-pager "$u" >&2
exit 3
"""

_PORT = """\
port={port}; hex=$(printf %04X $port)
listening() {{
  if [ -r /proc/net/tcp ]; then grep -qE "^ *[0-9]+: [0-9A-F]+:$hex [0:]+ 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null
  else nc -z 127.0.0.1 $port >/dev/null 2>&1; fi
}}
while {condition} listening; do sleep 0.1; done
"""
"""Reads the kernel's table of listening sockets: nothing is connected to, and no program is needed in the guest."""


class Waiting(Commands, MachineBase):
    """Verbs that wait."""

    async def wait_for_unit(
        self,
        unit: Annotated[str, Field(min_length=1, description="A systemd unit; .service where no kind is given.")],
        timeout: Duration = WAIT_LIMIT,
    ) -> str:
        """Wait until a systemd unit is active; fail at once when it failed, does not exist, or will not start by itself."""
        name = unit if "." in unit else f"{unit}.service"
        result = await self._wait_in_guest(_UNIT.format(unit=shlex.quote(name)), timeout, f"unit {name} to be active")
        if result.exit_code != 0:
            why = result.stdout_text.strip() or f"systemctl exited with {result.exit_code}"
            journal = {f"journal of {name}": result.stderr_text.strip()} if result.stderr_text.strip() else {}
            raise CheckFailed(f"unit {name} is not active: {why}", evidence=journal)
        return f"unit {name} is active"

    async def wait_for_open_port(self, port: PortNumber, timeout: Duration = WAIT_LIMIT) -> None:
        """Wait until something in the guest listens on a TCP port."""
        await self._wait_in_guest(_PORT.format(port=port, condition="!"), timeout, f"port {port} to be open")

    async def wait_for_closed_port(self, port: PortNumber, timeout: Duration = WAIT_LIMIT) -> None:
        """Wait until nothing in the guest listens on a TCP port."""
        await self._wait_in_guest(_PORT.format(port=port, condition=""), timeout, f"port {port} to be closed")

    async def wait_for_file(
        self,
        path: Annotated[str, Field(min_length=1, description="A path in the guest.")],
        timeout: Duration = WAIT_LIMIT,
    ) -> None:
        """Wait until a file or folder exists in the guest."""
        await self._wait_in_guest(f"until [ -e {shlex.quote(path)} ]; do sleep 0.1; done", timeout, f"{path} to exist")

    async def wait_for_console_text(self, pattern: Pattern, timeout: Duration = WAIT_LIMIT) -> str:
        """Wait until the serial console shows a text: in its recent output or on its screen, now or from now on.

        Kernel messages in the middle of a line do not disturb. The text that matched is the result.
        """
        self._on()
        deadline = self._deadline(timeout)
        watch = TextWatch(self._console, [pattern], terminal=self._terminal, seen=True)
        try:
            found = await self._guarded(watch.wait(), deadline, f"console text /{pattern}/")
        finally:
            watch.close()
        return found.text

    async def converse(self, text: str, pattern: str, timeout: float) -> str:
        """Type a text into the serial console, and wait for a text in what comes after that. The text that matched is the result.

        Raises:
            UsageError: the pattern is no regular expression; nothing was typed.
            DeadlineExceeded: nothing like it came within ``timeout`` seconds, before the factor for emulation.
        """
        self._on()
        deadline = self._deadline(timeout)
        watch = TextWatch(self._console, [pattern])  # what is on the screen already does not count
        try:
            self._console.write(text.replace("\n", "\r").encode())
            found = await self._guarded(watch.wait(), deadline, f"console text /{pattern}/")
        finally:
            watch.close()
        return found.text

    async def _wait_in_guest(self, loop: str, timeout: float, what: str) -> CommandResult:
        """Run a loop in the guest: it sees a change at once, and costs no round trips."""
        deadline = self._deadline(timeout)
        result = await self._run(loop, deadline.remaining)
        if result.timed_out:
            error = deadline.exceeded(f"{self.name}: {what}", self.console_tail(12))
            error.evidence.update({title: text for title, text in output_evidence(result).items() if text != "(none)"})
            raise error
        return result
