"""``anima-qa gc``: what dead runs left behind."""

from __future__ import annotations

import os
from pathlib import Path

import click

from qa.cli.output import print_json


@click.command("gc")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def command(*, as_json: bool) -> None:
    """Remove what dead runs left behind, and unpacked versions of the single file that no process runs from.

    Every run does the first at its start. Living runs are not touched.
    """
    from qa.config import load_config
    from qa.fleet import sweep
    from qa.fleet.owner import Swept
    from qa.paths import Paths
    from qa.snapshots.store import Gone, Store
    from qa.zipapp import place

    paths = Paths.from_environment()
    swept: list[Swept | Gone] = [*sweep(paths), *Store.of(paths, load_config(paths)).sweep()]
    swept += [Swept(Path(folder), size) for folder, size in place.clean(os.environ)]
    if as_json:
        print_json({"removed": [{"folder": str(one.folder), "bytes": one.size} for one in swept]})
        return
    for one in swept:
        click.echo(f"removed {one.folder} ({one.size / (1 << 20):.1f} MB)")
    if not swept:
        click.echo("nothing to remove")
