"""``anima-qa doctor``: what this host can do, and how to get what is missing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.config import load_config
from qa.errors import HostError
from qa.paths import Paths

if TYPE_CHECKING:
    from rich.text import Text

    from qa.doctor.report import Check, Report
    from qa.events import Event
    from qa.host.qemu import Qemu

MARKS = {"ok": ("ok", "green"), "warning": ("!", "yellow"), "missing": ("--", "dim"), "broken": ("no", "bold red")}


@click.command("doctor")
@click.option("--boot", is_flag=True, help="Boot the built-in guest under each accelerator that could work.")
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), help="Look at this accelerator only.")
@click.option("--require-kvm", is_flag=True, default=None, help="Fail when KVM does not work.")
@click.option("--qemu", type=click.Path(path_type=Path), help="The QEMU program to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(boot: bool, as_json: bool, **flags: Any) -> int:
    """Tell what this host can do, and how to get what is missing.

    The exit status is 0 when scripts can run here, and 3 when they cannot.
    """
    from qa.cli.output import print_json
    from qa.doctor.examine import examine
    from qa.doctor.trial import Trials
    from qa.events import Bus
    from qa.fleet import Owner

    paths = Paths.from_environment()
    config = load_config(paths, **flags)
    bus = Bus()
    bus.subscribe(_tell)

    with ExitStack() as stack:
        work = None
        with suppress(HostError):  # a cache folder that cannot be written is one of the findings
            work = stack.enter_context(Owner.register(paths)).folder

        def make_boot(qemu: Qemu) -> Trials:
            return Trials(qemu, paths, bus, build=boot, tcg_factor=config.tcg_factor, work=work)

        report = asyncio.run(examine(paths, config, make_boot, boot=boot))
    if as_json:
        print_json(report.as_json())
    else:
        _print(report)
    return 0 if report.can_run else HostError.exit_code


def _tell(event: Event) -> None:
    from qa.events import Notice

    if isinstance(event, Notice):
        sys.stderr.write(f"{event.message}\n")


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [row for check in report.checks for row in _rows(check)]
    if report.can_run:
        speed = "" if report.accel == "kvm" else ", in software emulation"
        verdict = Text(f"Scripts can run on this host{speed}.", style="bold green")
    else:
        verdict = Text("Scripts cannot run on this host until what is marked 'no' is there.", style="bold red")
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table.grid(padding=(0, 1))
        for row in rows:
            table.add_row(*row)
        console.print(table, verdict, sep="\n")
    else:  # a pipe has no width, and a command that is cut into lines cannot be copied
        width = max(len(name) for _, name, _ in rows)
        for mark, name, text in rows:
            sys.stdout.write(f"{mark!s:<2} {name!s:<{width}} {text}\n")
        sys.stdout.write(f"{verdict}\n")


def _rows(check: Check) -> Iterator[tuple[Text, Text, Text]]:
    from rich.text import Text

    mark, style = MARKS["broken" if check.needed and check.status == "missing" else check.status]
    yield Text(mark, style=style), Text(check.name), Text(check.detail)
    if check.hint and check.status != "ok":
        yield Text(), Text(), Text(f"-> {check.hint}", style="yellow" if check.needed else "dim")
