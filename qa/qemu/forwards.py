"""Host ports that lead into the guest: chosen by the kernel, bound to 127.0.0.1 only."""

from __future__ import annotations

import re

from qa.errors import QemuFailed
from qa.qemu.argv import NIC
from qa.qemu.monitor import Monitor

_ROW = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)")


async def forward_port(monitor: Monitor, guest_port: int, *, wish: int = 0) -> int:
    """Forward a TCP port of the guest; the host's port is returned.

    Port 0 lets the kernel choose a free one, so no other program can take it in between.

    Args:
        wish: the host's port if it can be had: where it led before.

    Raises:
        QemuFailed: QEMU could not bind any.
    """
    answer = await monitor.human(f"hostfwd_add {NIC} tcp:127.0.0.1:{wish}-:{guest_port}")
    if answer.strip() and wish:
        answer = await monitor.human(f"hostfwd_add {NIC} tcp:127.0.0.1:0-:{guest_port}")
    if answer.strip():  # the human monitor says nothing when all went well
        raise QemuFailed(f"port {guest_port} of the guest cannot be forwarded: {answer.strip()}")
    table = await monitor.human("info usernet")
    ports = [int(host) for host, guest in _ROW.findall(table) if int(guest) == guest_port]
    if not ports:
        raise QemuFailed(
            f"port {guest_port} of the guest was forwarded, but QEMU does not list it", evidence={"info usernet": table}
        )
    return ports[-1]
