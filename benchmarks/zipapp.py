"""The single file: how long its starts take beside the same program in a virtual environment, and what its megabytes are.

Measures ``dist/anima-qa.pyz``, which ``./build_zipapp.sh`` makes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.measure import Row, Subject, take_turns
from qa.zipapp.gate import CLEAN

TOP = Path(__file__).resolve().parent.parent
FILE = TOP / "dist" / "anima-qa.pyz"
INSTALLED = Path(sys.executable).with_name("anima-qa")
SCRIPT = TOP / "examples" / "hello.yaml"

COMMANDS = {"--version": ["--version"], "check": ["check", str(SCRIPT)], "mcp to its first answer": ["mcp"]}
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO}).encode() + b"\n"
"""What ``mcp`` is asked first."""

PARTS = {
    "qa/_data/prebuilt": "the built-in guest",
    "qa": "the program",
    "numpy": "numpy (comparing pictures)",
    "numpy.libs": "numpy (comparing pictures)",
    "mcp": "mcp (the server for agents)",
    "mcp_types": "mcp (the server for agents)",
    "rpds": "mcp (the server for agents)",
    "PIL": "Pillow (screenshots)",
    "pillow.libs": "Pillow (screenshots)",
    "pydantic_core": "pydantic (scripts, results)",
    "pydantic": "pydantic (scripts, results)",
    "cryptography": "cryptography (SSH, keys)",
    "asyncssh": "asyncssh (SSH)",
    "pygments": "rich (what the terminal shows)",
    "rich": "rich (what the terminal shows)",
    "wcwidth": "pyte (the serial console)",
    "pyte": "pyte (the serial console)",
}
OTHER = "all else"


async def measure(rounds: int) -> list[Row]:
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE}: run ./build_zipapp.sh first")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = []
        for name, arguments in COMMANDS.items():
            subjects = {
                "python -c pass": _program(home, sys.executable, "-sE", "-c", "pass"),
                f"{name}, from a virtual environment": _program(home, sys.executable, INSTALLED, *arguments),
                f"{name}, from the single file": _program(home, sys.executable, CLEAN, FILE, *arguments),
            }
            rows += await take_turns(f"the single file: later starts of {name}", subjects, rounds)
        first: dict[str, Subject] = {"python -c pass": _program(home, sys.executable, "-sE", "-c", "pass")}
        first |= {f"{name}, unpacking itself": _first(home / name, arguments) for name, arguments in COMMANDS.items()}
        rows += await take_turns("the single file: the first start", first, max(2, rounds // 4))
    return rows + sizes(FILE)


def _program(home: Path, *argv: object) -> Callable[[], Awaitable[Callable[[], Awaitable[None]]]]:
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings["ANIMA_QA_HOME"] = str(home)

    words = [str(word) for word in argv]
    pipe = asyncio.subprocess.PIPE

    async def run() -> Callable[[], Awaitable[None]]:
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env=settings)
        if words[-1] == "mcp":
            assert process.stdin
            assert process.stdout
            process.stdin.write(INITIALIZE)
            answer = await process.stdout.readline()
            if b"serverInfo" not in answer:
                raise RuntimeError(f"{words} gave {answer!r}")
        else:
            await process.communicate()

        async def end() -> None:
            await process.communicate(b"")  # closes its stdin, which Python 3.11 does not do for None
            if process.returncode != 0:
                raise RuntimeError(f"{words} failed")

        return end

    return run


def _first(home: Path, arguments: list[str]) -> Subject:
    start = _program(home, sys.executable, CLEAN, FILE, *arguments)

    async def run() -> Callable[[], Awaitable[None]]:
        end = await start()

        async def clear() -> None:
            await end()
            shutil.rmtree(home / "cache" / "zipapp")

        return clear

    return run


def sizes(file: Path) -> list[Row]:
    """A row for the whole file, and one for each part that has more than half a megabyte in it; largest first."""
    parts: Counter[str] = Counter()
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            parts[_part(info.filename.removeprefix("site-packages/"))] += info.compress_size
    total = file.stat().st_size
    large = [(name, size) for name, size in parts.most_common() if size >= 500_000 and name != OTHER]
    shown = [*large, (OTHER, total - sum(size for _, size in large))]
    group = "the single file: size"
    rows = [Row(group, file.name, total / 1e6, "MB", 1.0)]
    return rows + [Row(group, name, size / 1e6, "MB", size / total) for name, size in shown]


def _part(name: str) -> str:
    for start, part in PARTS.items():
        if name.startswith(f"{start}/"):
            return part
    return OTHER
