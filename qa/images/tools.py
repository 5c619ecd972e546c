"""Running the programs that read and write images, under limits: image files come from strangers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa.errors import HostError, ImageError, NoSpace, ToolMissing
from qa.host.packages import install_hint

CPU_LIMIT_S = 30
"""Processor seconds. Checking the tables of a sound image of 50 GB took 0.04."""
MEMORY_LIMIT = 2 << 30
"""Address space in bytes. qemu-img maps its libraries and threads (0.5 GB) and at most some hundred MB of an image's tables."""
TIME_LIMIT_S = 60.0
"""Wall-clock seconds: twice the processor's, for slow disks."""

_FULL = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True)
class ToolResult:
    """How a program ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


def find_tool(name: str) -> Path:
    """The program ``name``.

    Raises:
        ToolMissing: it is not in PATH, nor where administrators' programs are.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise ToolMissing(f"the program {name} is not installed", hint=install_hint(name))
    return Path(path)


async def run_tool(
    argv: Sequence[str | Path],
    *,
    time_limit_s: float = TIME_LIMIT_S,
    cpu_limit_s: int = CPU_LIMIT_S,
    file_limit: int | None = None,
) -> ToolResult:
    """Run ``argv`` to its end in a process group of its own, within limits; the group dies with this call.

    Args:
        file_limit: bytes that a file it writes may have; None for no limit.

    Raises:
        HostError: it was not done within ``time_limit_s`` seconds.
        NoSpace: a file system was full.
        ToolMissing: there is no such program.
    """
    program = find_tool(str(argv[0]))
    process = await asyncio.create_subprocess_exec(
        *_limited(cpu_limit_s, file_limit),
        program,
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        async with asyncio.timeout(time_limit_s):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        raise HostError(
            f"{program.name} did not end within {time_limit_s:g} s", hint="the disk is very slow, or the file is a trap"
        ) from None
    finally:
        await end_group(process)
    return _checked(ToolResult(process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace")))


STALL_LIMIT_S = 600.0
"""Seconds in which a long task must say something: disks that hang do so for ever."""
LONG_CPU_LIMIT_S = 6 * 3600
"""Processor seconds of a long task: compressing 1 TB takes some hours."""


async def run_long_tool(
    argv: Sequence[str | Path], tell: Callable[[bytes], None], *, file_limit: int | None = None
) -> ToolResult:
    """Like `run_tool`, for a program that may take hours and says on stdout how far it is: ``tell`` gets each piece of that.

    Raises:
        HostError: it has said nothing for ten minutes.
        NoSpace: a file system was full.
        ToolMissing: there is no such program.
    """
    program = find_tool(str(argv[0]))
    process = await asyncio.create_subprocess_exec(
        *_limited(LONG_CPU_LIMIT_S, file_limit),
        program,
        *argv[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    try:
        while True:
            async with asyncio.timeout(STALL_LIMIT_S):
                piece = await process.stdout.read(4096)
            if not piece:
                break
            tell(piece)
        async with asyncio.timeout(STALL_LIMIT_S):
            stderr = (await errors).decode(errors="replace")
            await process.wait()
    except TimeoutError:
        raise HostError(
            f"{program.name} has got no further for {STALL_LIMIT_S / 60:g} minutes", hint="the disk does not answer"
        ) from None
    finally:
        await end_group(process)
        errors.cancel()
    return _checked(ToolResult(process.returncode or 0, "", stderr))


def _checked(result: ToolResult) -> ToolResult:
    if result.exit_code and any(text in result.stderr for text in _FULL):
        raise NoSpace(f"no space left: {last_line(result.stderr)}", hint="anima-qa image prune and anima-qa gc free space")
    return result


async def require(argv: Sequence[str | Path], what: str, *, file_limit: int | None = None) -> ToolResult:
    """Like `run_tool`, for programs that must succeed. ``what`` begins the message of the error: ``cannot create ...``."""
    result = await run_tool(argv, file_limit=file_limit)
    if result.exit_code:
        raise ImageError(f"{what}: {_why(argv[0], result)}", evidence={"what it said": result.stderr})
    return result


def _why(program: str | Path, result: ToolResult) -> str:
    if result.exit_code < 0 and not result.stderr.strip():
        return f"{Path(program).name} was killed by signal {-result.exit_code}"
    return last_line(result.stderr)


async def end_group(process: asyncio.subprocess.Process, patience_s: float = 5.0) -> None:
    """End a process group: politely, then surely. Nothing happens where its leader has ended and was waited for."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(patience_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _limited(cpu_s: int, file_limit: int | None) -> list[str]:
    """What goes before a command to limit it from its first instruction on.

    A shell does it, because Python code between fork and exec can deadlock in a process with threads. A lower limit stays.
    """
    limits = {"-t": cpu_s, "-v": MEMORY_LIMIT // 1024}
    if file_limit is not None:
        limits["-f"] = file_limit // 512
    script = "".join(f"ulimit {flag} {value} 2>/dev/null; " for flag, value in limits.items())
    return ["sh", "-c", script + 'exec "$0" "$@"']
