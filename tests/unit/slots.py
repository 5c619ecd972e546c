"""The guest's half of the shell channel without a guest: the real scripts in this host's shells, on sockets instead of ports."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from qa.guest.port import Port
from qa.guest.shell_script import control_prelude
from qa.guest.slot import Slot

SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "busybox": ["busybox", "sh"]}


@asynccontextmanager
async def slot_of(shell: str, folder: os.PathLike[str]) -> AsyncGenerator[Slot]:
    """A slot whose shell is one of this host's, working in ``folder``."""
    ours, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
    for end in ours:
        end.setblocking(False)
    ports = [await Port.attach(end) for end in ours]
    slot = Slot(1, *ports)
    started: list[subprocess.Popen[bytes]] = []
    keyboard, terminal = os.openpty()  # BusyBox has job control with a terminal only, as in the guest

    async def start(token: str) -> str:
        words = " ".join(SHELLS[shell])
        # Opened by path as the guest does with its ports, because a shell reopens what it redirects.
        script = f"printf '\\036{token}\\n'; exec {words}"
        process = subprocess.Popen(  # noqa: ASYNC220 -- it starts in a moment
            ["setsid", "sh", "-c", f"{{ true <>{os.ttyname(terminal)}; }} 2>/dev/null; {script}" if shell != "bash" else script],
            stdin=theirs[0], stdout=theirs[0], stderr=theirs[1], cwd=folder,
        )  # fmt: skip
        started.append(process)
        return str(process.pid)

    try:
        await asyncio.wait_for(slot.prepare(start), 10)
        yield slot
    finally:
        for process in started:
            kill_slot(process)
        for port in ports:
            port.close()
        for end in theirs:
            end.close()
        os.close(keyboard)
        os.close(terminal)


def children(process: str) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:  # noqa: PTH123
        return [int(pid) for pid in file.read().split()]


def kill_running(slot: Slot, shell: str = "sh") -> None:
    """Kill what ``slot`` runs, with the control shell's own function."""
    subprocess.run([shell], input=f"{control_prelude()}q_kill x {slot.process}\n".encode(), capture_output=True, check=True)


def kill_slot(process: subprocess.Popen[bytes]) -> None:
    """End the slot's shell and all that it runs. It is stopped first, or it would fork the next child meanwhile."""
    process.send_signal(signal.SIGSTOP)
    for child in children(str(process.pid)):
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)
    process.kill()
    process.wait()
