"""The screen while somebody waits for it: each new picture once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from qa.screen.frames import Frame

SHORTEST_PAUSE = 0.1
"""Seconds between two looks at a screen that changes."""
LONGEST_PAUSE = 0.4
"""Seconds between two looks at a screen that has long been still: a person does not see the difference."""
SLOWER = 1.15


async def new_frames(grab: Callable[[], Awaitable[Frame]]) -> AsyncGenerator[Frame]:
    """The screen now, and then each frame that differs from the one before it. Without end: the caller has a deadline.

    Args:
        grab: takes a frame.
    """
    last = b""
    pause = SHORTEST_PAUSE
    while True:
        frame = await grab()
        if frame.digest != last:
            last, pause = frame.digest, SHORTEST_PAUSE
            yield frame
        else:
            pause = min(pause * SLOWER, LONGEST_PAUSE)
        await asyncio.sleep(pause)
