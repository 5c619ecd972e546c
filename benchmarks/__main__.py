"""``python -m benchmarks``: run the measurements and print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.table import Table

from benchmarks import forks, intake, machine, mcp, needles, screen_text, startup, typing, zipapp
from benchmarks.measure import Row

Part = Callable[[bool], Awaitable[list[Row]]]
"""Measures; the argument says whether a few rounds are enough, whose figures mean nothing."""


async def _builtin(short: bool) -> list[Row]:
    rounds = 3 if short else 60
    async with machine.machine("builtin") as running:
        rows = await machine.commands(running, "built-in guest", rounds)
        rows += await machine.pictures(running, rounds)
        rows += await needles.waiting(running, rounds, 0.1 if short else 4)
        return rows + await machine.steps(running, 5 if short else 200)


async def _typing(short: bool) -> list[Row]:
    length, times = (120, 1) if short else (2000, 20)
    async with machine.machine("builtin", network="none") as running:
        return await typing.measure(running, "on tty1", length=length, times=times)


async def _desktop_typing(short: bool) -> list[Row]:
    length, times = (120, 1) if short else (2000, 20)
    async with machine.machine("desktop", network="none") as desktop:
        await typing.open_terminal(desktop)
        return await typing.measure(desktop, "in a terminal of a desktop", length=length, times=times)


async def _forks(short: bool) -> list[Row]:
    return await forks.measure("builtin", "built-in guest", rounds=1 if short else 10, forks=2 if short else 16)


async def _debian_forks(short: bool) -> list[Row]:
    return await forks.measure("debian", "Debian guest", rounds=1 if short else 10, forks=2 if short else 16)


async def _debian(short: bool) -> list[Row]:
    async with machine.machine("debian") as running:
        return await machine.readiness(running) + await machine.commands(running, "Debian guest", 3 if short else 60)


PARTS: dict[str, Part] = {
    "startup": lambda short: startup.measure(3 if short else 20),
    "zipapp": lambda short: zipapp.measure(3 if short else 20),
    "intake": lambda short: intake.measure(2 if short else 100),
    "needles": lambda short: needles.measure(2 if short else 60),
    "builtin": _builtin,
    "screen-text": lambda short: screen_text.measure(short=short),
    "typing": _typing,
    "mcp": lambda short: mcp.measure(3 if short else 60),
    "forks": _forks,
    "debian-forks": _debian_forks,
    "debian": _debian,
    "desktop-typing": _desktop_typing,
}
"""In the order of the table."""
DEBIAN = {"debian-forks", "debian", "desktop-typing"}


def print_table(rows: list[Row]) -> None:
    table = Table("what", "subject", "median", "ratio", "10th to 90th percentile, or note")
    group = ""
    for row in rows:
        if row.group != group:
            table.add_section()
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.group if row.group != group else "", row.subject, f"{row.value:.1f} {row.unit}", ratio, row.note)
        group = row.group
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def print_markdown(rows: list[Row]) -> None:
    """As the guide has it."""
    print("| what | subject | median | ratio | 10th to 90th percentile, or note |\n|---|---|---|---|---|")
    group = ""
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}" if row.ratio < 1 else f"{row.ratio:.2f}"
        print(
            f"| {row.group if row.group != group else ''} | {row.subject} | {row.value:.1f} {row.unit} | {ratio} | {row.note} |"
        )
        group = row.group


async def _measure(parts: list[str], short: bool) -> list[Row]:
    return [row for part in parts for row in await PARTS[part](short)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"what to measure: {', '.join(PARTS)}; all"
    )
    parser.add_argument("--short", action="store_true", help="few rounds: shows that it works, its figures mean nothing")
    parser.add_argument("--no-debian", action="store_true", help="leave out what needs a Debian guest or the desktop")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the rows as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table as the guide has it")
    arguments = parser.parse_args()
    parts = arguments.parts or [part for part in PARTS if not (arguments.no_debian and part in DEBIAN)]
    rows = asyncio.run(_measure(parts, arguments.short))
    if arguments.json:
        print(json.dumps({"host": platform.platform(), "rows": [row.as_record() for row in rows]}, indent=2))
    elif arguments.markdown:
        print_markdown(rows)
    else:
        print_table(rows)


main()
