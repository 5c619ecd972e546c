"""The state of a machine's devices, without memory: saved from one that stands still, loaded into one that never ran."""

from __future__ import annotations

import asyncio
from pathlib import Path

from qa.deadline import Deadline
from qa.errors import QemuFailed
from qa.qemu.monitor import Monitor

LOAD_LIMIT = 60.0
"""Seconds for loading, which takes 15 ms on an idle host."""

POLL = 0.001
"""Seconds between two looks at a load that is under way: QEMU tells its end by an event only when asked to beforehand."""


async def save_devices(monitor: Monitor, path: Path) -> None:
    """Write the state of all devices of a stopped machine to ``path`` (227 KB, 3 ms).

    Of all ways to have QEMU write its state this one alone leaves the memory out, also where the memory is private to the
    process. It came in with Xen support and needs none.

    Raises:
        QemuFailed: QEMU could not write it.
    """
    await monitor.execute("xen-save-devices-state", {"filename": str(path), "live": False})


async def load_devices(monitor: Monitor, path: Path, limit: float = LOAD_LIMIT) -> None:
    """Load what `save_devices` wrote into a QEMU that was started for it (``MachineSpec.frozen_memory``).

    The memory must be complete by now: devices look at their queues in it.

    Raises:
        QemuFailed: the state does not fit, is damaged, or did not load in time.
        QemuExited: QEMU could not go on after a failure; its log says why.
    """
    file = {"transport": "file", "filename": str(path), "offset": 0}  # in a URI ",offset=" in the path would be taken for one
    await monitor.execute("migrate-incoming", {"channels": [{"channel-type": "main", "addr": file}]})
    deadline = Deadline.after(limit)
    while (status := (await monitor.execute("query-migrate")).get("status")) != "completed":
        if status == "failed" or deadline.expired:
            raise QemuFailed(f"QEMU could not load the state of the devices ({status})")
        await asyncio.sleep(POLL)
