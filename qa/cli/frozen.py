"""Frozen machines as people read them: tables, facts, family trees."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from qa.snapshots.overview import Row


def table(rows: Iterable[Row]) -> None:
    """Print a line for each, under a header."""
    from rich.table import Table
    from rich.text import Text

    from qa.sizes import format_size

    console = _console()
    lines = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, right in (("ID", False), ("KIND", False), ("SIZE", True), ("CREATED", False), ("USED", False), ("TITLE", False)):
        lines.add_column(name, justify="right" if right else "left", no_wrap=name != "TITLE")
    for row in rows:
        title = Text(row.title)
        if row.problem:
            title = Text(f"cannot be used: {row.problem}", style="red")
        used = "now" if row.in_use else ago(row.last_used)
        lines.add_row(row.id, row.kind, format_size(row.size), ago(row.created), used, title)
    with console.capture() as captured:
        console.print(lines)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def facts(record: dict[str, Any]) -> None:
    """Print what is known of one."""
    from qa.sizes import format_size

    for name in ("id", "kind", "title", "key"):
        if record[name]:
            click.echo(f"{name}: {record[name]}")
    for name in ("created", "last_used"):
        if record[name]:
            click.echo(f"{name.replace('_', ' ')}: {record[name]} ({ago(record[name])})")
    click.echo(f"in use: {'yes' if record['in_use'] else 'no'}")
    click.echo(f"on the disk: {format_size(record['size'])} in {record['folder']}")
    for file, size in record.get("files", {}).items():
        click.echo(f"  {file}: {format_size(size)}")
    for base in record.get("bases", []):
        click.echo(f"image: {base}")
    click.echo(f"problem: {record['problem']}" if record["problem"] else "problem: none")


def trees(rows: dict[str, Row], name: str, above: dict[str, list[str]], below: dict[str, list[str]]) -> None:
    """Print what the entry ``name`` builds on, and what builds on it."""
    console = _console()
    for title, links in (("builds on", above), ("what builds on it", below)):
        if links[name]:
            console.print(_tree(rows, links, name, title))


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 4000  # a pipe has no width
    return console


def _tree(rows: dict[str, Row], links: dict[str, list[str]], name: str, title: str) -> Tree:
    """Each entry once: where it comes again, its branch is not repeated."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(f"{title}:"))
    shown: set[str] = set()
    todo = [(root, other) for other in reversed(links[name])]
    while todo:
        branch, current = todo.pop()
        label = f"{current} {called(rows[current].kind, rows[current].title)}"
        if current in shown:
            branch.add(Text(f"{label} (see above)"))
            continue
        shown.add(current)
        limb = branch.add(Text(label))
        todo += [(limb, other) for other in reversed(links[current])]
    return root


def called(kind: str, title: str) -> str:
    """What it is called in a sentence."""
    return f"{kind} {title}".strip() or "(unknown)"


def ago(time: str) -> str:
    """How long ago a time in ISO 8601 is."""
    if not time:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (number := int(seconds // length)) >= 1:
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def count(number: int) -> str:
    """So many of them."""
    return "1 frozen machine" if number == 1 else f"{number} frozen machines"
