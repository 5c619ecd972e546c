"""Setting a guest's clock over a channel that takes its time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

CLOCK_ERROR = 0.05
"""Seconds by which a clock may be wrong after it was set; half of what is promised."""

TRIES = 4
"""The first answer of a guest that was thawed takes 0.15 s under emulation, the next ones 0.01 s."""


async def set_within(set_clock: Callable[[float], Awaitable[bool]], error: float = CLOCK_ERROR) -> bool:
    """Have the guest set its clock until it is right within ``error`` seconds, or as right as it gets in a few tries.

    A request needs somewhere between nothing and the whole time until its answer to reach the guest. So the guest is told the
    time at which the request would arrive if the way there took half of what the last exchange took.

    Args:
        set_clock: sets the clock to the time given, in seconds since the epoch, and tells whether that worked.
    """
    way = 0.0
    for _ in range(TRIES):
        asked = time.time()
        if not await set_clock(asked + way):
            return False
        took = time.time() - asked
        if max(way, took - way) <= error:
            break
        way = took / 2
    return True
