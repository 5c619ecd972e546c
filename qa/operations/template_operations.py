"""What can be done with frozen machines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from qa.errors import SnapshotNotFound, SnapshotUnusable
from qa.operations.bench import Bench
from qa.operations.calls import Facts
from qa.sizes import Size
from qa.snapshots.manifest import reason
from qa.snapshots.overview import family, overview
from qa.snapshots.store import Gone, Store

LASTING = {"template", "failure", "checkpoint"}
"""What outlives a run. Restore points are of no use to anybody else."""

TemplateId = Annotated[str, Field(min_length=1, description="Its id, or the beginning of it.")]


async def template_list(
    bench: Bench, everything: Annotated[bool, Field(description="Also restore points of running machines.")] = False
) -> list[dict[str, Any]]:
    """List the frozen machines that starts and failed runs go on from, with the room they take."""
    rows = await asyncio.to_thread(overview, _store(bench))
    return [row.as_record() for row in rows if everything or row.problem or row.kind in LASTING]


async def template_info(bench: Bench, template: TemplateId) -> dict[str, Any]:
    """Tell what a frozen machine is, what it builds on, and what builds on it."""
    return await asyncio.to_thread(about, _store(bench), template)


def about(store: Store, template: str) -> dict[str, Any]:
    """All that is known of one.

    Raises:
        SnapshotNotFound: there is none of that id.
    """
    name = store.full_id(template)
    rows = {row.id: row for row in overview(store)}
    if name not in rows:
        raise SnapshotNotFound(f"the frozen machine {name} was removed just now")
    record = rows[name].as_record()
    record["children"] = family(rows.values(), name)[1][name]
    try:
        entry = store.get(name)
        record["files"] = {file: one.size for file, one in entry.manifest.files.items()}
        record["bases"] = [base.path for base in entry.manifest.bases]
        entry.check()
    except SnapshotUnusable as error:
        record["problem"] = reason(error)
    return record


async def template_remove(
    bench: Bench, templates: Annotated[list[TemplateId], Field(min_length=1, description="Which.")]
) -> dict[str, Any]:
    """Remove frozen machines. What is in use stays, and so does what others build on, unless they go as well."""
    store = _store(bench)
    names = dict.fromkeys(store.full_id(one) for one in templates)
    return await asyncio.to_thread(lambda: _gone(store, store.remove(*names)))


async def template_prune(
    bench: Bench, to: Annotated[Size | None, Field(description="Leave at most this much; by default the store's limit.")] = None
) -> dict[str, Any]:
    """Make room: remove leftovers, what cannot be used, and then what was not used for the longest time."""
    store = _store(bench)
    return await asyncio.to_thread(lambda: _gone(store, [*store.sweep(), *store.prune(to, broken=True)]))


# what calls do, for the gate


def reads_store(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """It only looks."""
    return Facts("read", "templates")


def removes(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """Starts boot again without them, and failed runs cannot be entered."""
    return Facts("destroy", "templates", question=f"remove the frozen machines {', '.join(arguments['templates'])}?")


def prunes(bench: Bench, arguments: Mapping[str, Any]) -> Facts:
    """See `removes`."""
    return Facts("destroy", "templates", question="remove frozen machines that were not used for the longest time?")


def _store(bench: Bench) -> Store:
    return Store.of(bench.paths, bench.config)


def _gone(store: Store, gone: list[Gone]) -> dict[str, Any]:
    removed = [{"id": one.id, "kind": one.kind, "title": one.title, "size": one.size} for one in gone]
    return {"removed": removed, "freed": sum(one.size for one in gone), "left": list(store.survey())}
