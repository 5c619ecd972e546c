"""``python -m benchmarks``: run the measurements and print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import forks, intake, machine, mcp, startup, zipapp
from benchmarks.measure import Row


async def measure(*, short: bool, debian: bool) -> list[Row]:
    rounds = 3 if short else 60
    rows = await startup.measure(3 if short else 20)
    rows += await zipapp.measure(3 if short else 20)
    rows += await intake.measure(2 if short else 100)
    rows += await mcp.measure(rounds)
    async with machine.machine("builtin") as running:
        rows += await machine.commands(running, "built-in guest", rounds)
        rows += await machine.pictures(running, rounds)
        rows += await machine.steps(running, 5 if short else 200)
    rows += await forks.measure("builtin", "built-in guest", rounds=1 if short else 10, forks=2 if short else 16)
    if debian:
        rows += await forks.measure("debian", "Debian guest", rounds=1 if short else 10, forks=2 if short else 16)
        async with machine.machine("debian") as running:
            rows += await machine.readiness(running)
            rows += await machine.commands(running, "Debian guest", rounds)
    return rows


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="few rounds: shows that it works, its figures mean nothing")
    parser.add_argument("--no-debian", action="store_true", help="leave out the Debian guest")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(short=arguments.short, debian=not arguments.no_debian))
    if arguments.json:
        print(json.dumps({"host": platform.platform(), "rows": [row.as_record() for row in rows]}, indent=2))
    else:
        print_table(rows)


main()
