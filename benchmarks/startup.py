"""What a person waits for before anything happens: the command line's start."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from benchmarks.measure import Row, Subject, take_turns

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "hello.yaml"


_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Users run compiled modules; the first call of each subject compiles them."""


def _program(*argv: str) -> Subject:
    async def run() -> None:
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL, env=_ENVIRONMENT)
        if await process.wait() != 0:
            raise RuntimeError(f"{argv} failed")

    return run


async def measure(rounds: int) -> list[Row]:
    subjects = {
        "python -c pass": _program(sys.executable, "-c", "pass"),
        "anima-qa --version": _program(sys.executable, "-m", "qa", "--version"),
        "anima-qa --help": _program(sys.executable, "-m", "qa", "--help"),
        "anima-qa check": _program(sys.executable, "-m", "qa", "check", str(SCRIPT)),
    }
    return await take_turns("start of the command line", subjects, rounds)
