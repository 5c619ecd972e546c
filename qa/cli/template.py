"""``anima-qa template``: the frozen machines that runs start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from qa.cli.frozen import called, count, facts, table, trees
from qa.errors import QaError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from qa.snapshots.overview import Row
    from qa.snapshots.store import Gone, Store

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
LASTING = {"template", "failure", "checkpoint"}
"""What outlives a run. Restore points are of no use to anybody else."""


def _store() -> Store:
    from qa.config import load_config
    from qa.paths import Paths
    from qa.snapshots.store import Store

    paths = Paths.from_environment()
    return Store.of(paths, load_config(paths))


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        items = _store().survey()
    except QaError:
        return []
    given = context.params.get(parameter.name or "") or ()
    return [
        CompletionItem(name, help=f"{item.kind} {item.title}".strip())
        for name, item in items.items()
        if name.startswith(incomplete) and name not in given
    ]


@click.group("template")
def command() -> None:
    """List and remove frozen machines: templates of warm starts, failed steps, checkpoints.

    An ID may be cut short as long as only one begins with it.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="List the restore points of running scripts too.")
@json_option
def list_templates(everything: bool, as_json: bool) -> None:
    """List the frozen machines, with the room they take and when they were used last."""
    from qa.snapshots.overview import overview

    store = _store()
    rows = overview(store)
    shown = [row for row in rows if everything or row.problem or row.kind in LASTING]
    if as_json:
        _json([row.as_record() for row in shown])
        return
    if shown:
        table(shown)
    click.echo(_total(store, rows, hidden=len(rows) - len(shown)))


@command.command("info")
@click.argument("template", metavar="ID", shell_complete=_complete)
@json_option
def template_info(template: str, as_json: bool) -> None:
    """Tell what a frozen machine is, what it builds on, and what builds on it."""
    from qa.errors import SnapshotUnusable
    from qa.snapshots.manifest import reason
    from qa.snapshots.overview import family, overview

    store = _store()
    name = store.full_id(template)
    rows = {row.id: row for row in overview(store)}
    if name not in rows:
        raise UsageError(f"the frozen machine {name} was removed just now")
    record = rows[name].as_record()
    above, below = family(rows.values(), name)
    record["children"] = below[name]
    try:
        entry = store.get(name)
        record["files"] = {file: one.size for file, one in entry.manifest.files.items()}
        record["bases"] = [base.path for base in entry.manifest.bases]
        entry.check()
    except SnapshotUnusable as error:
        record["problem"] = reason(error)
    if as_json:
        _json(record)
        return
    facts(record)
    trees(rows, name, above, below)


@command.command("remove")
@click.argument("templates", nargs=-1, metavar="ID...", shell_complete=_complete)
@click.option("--all", "everything", is_flag=True, help="Remove all that no machine is using.")
@json_option
def remove_templates(templates: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Remove frozen machines. What is in use stays, and so does what others build on, unless they go as well."""
    if bool(templates) == everything:
        raise UsageError("name what is to be removed, or say --all", hint="anima-qa template list shows the ids")
    store = _store()
    names = tuple(dict.fromkeys(store.full_id(one) for one in templates))
    what = f"remove {', '.join(names) or 'all frozen machines that no machine is using'}?"
    work = (lambda: store.prune(0, broken=True)) if everything else (lambda: store.remove(*names))
    _removed(store, _destroy("template_remove", what, {"templates": names, "all": everything}, work), as_json)


@command.command("prune")
@click.option("--to", "size", metavar="SIZE", help="Leave at most this much, for example 5G; by default the store's limit.")
@json_option
def prune_templates(size: str | None, as_json: bool) -> None:
    """Make room: remove leftovers of dead runs, what cannot be used, and then what was not used for the longest time."""
    limit = None if size is None else _bytes(size)
    store = _store()
    what = "remove frozen machines that were not used for the longest time?"
    gone = _destroy("template_prune", what, {"to": size}, lambda: [*store.sweep(), *store.prune(limit, broken=True)])
    _removed(store, gone, as_json)


def _destroy(name: str, question: str, arguments: dict[str, Any], work: Callable[[], list[Gone]]) -> list[Gone]:
    from qa.cli.host_operation import through_gate
    from qa.operations.calls import Facts

    async def run(_: object) -> list[Gone]:
        return work()

    return through_gate(name, Facts("destroy", "templates", question=question), arguments, run)


def _bytes(size: str) -> int:
    from qa.sizes import parse_size

    try:
        return int(parse_size(size))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _removed(store: Store, gone: list[Gone], as_json: bool) -> None:
    from qa.sizes import format_size

    left = store.survey()
    freed = sum(one.size for one in gone)
    if as_json:
        removed = [{"id": one.id, "kind": one.kind, "title": one.title, "size": one.size} for one in gone]
        _json({"removed": removed, "freed": freed, "left": list(left)})
        return
    for one in gone:
        click.echo(f"removed {one.id} {called(one.kind, one.title)} ({format_size(one.size)})")
    click.echo(f"{format_size(freed)} freed, {count(len(left))} left")


def _total(store: Store, rows: list[Row], *, hidden: int) -> str:
    from qa.sizes import format_size

    if not rows:
        return f"no frozen machines in {store.root}"
    taken = sum(row.size for row in rows)
    more = f"; --all shows {hidden} more of running scripts" if hidden else ""
    return f"{count(len(rows))}, {format_size(taken)} of {format_size(store.allowance(taken))}{more}"


def _json(value: Any) -> None:
    from qa.cli.output import print_json

    print_json(value)
