"""``anima-qa run``: run scripts against machines, and report."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TextIO, cast

import click

from qa.cli.check import print_problems
from qa.cli.enter import enter
from qa.cli.entering import Entering, read_kept_script, with_entering
from qa.cli.output import print_error, print_json
from qa.errors import Interrupted, QaError, UsageError
from qa.places import is_file, read_path

if TYPE_CHECKING:
    from rich.console import Console

    from qa.config import Config
    from qa.paths import Paths
    from qa.report.overview import Command
    from qa.scenario.batch import Ended
    from qa.scenario.runner import Manner
    from qa.scenario.script import Script

MAX_REPEAT = 1000
"""Each round has a results folder; who needs more wants a loop around the command."""


@click.command("run")
@click.argument("scripts", nargs=-1, type=click.Path(path_type=Path), metavar="SCRIPT...")
@click.option("--image", metavar="IMAGE", help="Boot this image instead of the scripts' own: a name, a path or a URL.")
@click.option("--start", type=click.Choice(["warm", "cold"]), help="How machines start, instead of what the scripts say.")
@click.option("--jobs", metavar="N|auto", help="How many runs at once; auto: as many as this host has room for.")
@click.option(
    "--repeat", type=click.IntRange(1, MAX_REPEAT), metavar="N", help="Run each script N times, and count its failures."
)
@click.option("--until-fail", is_flag=True, help="With --repeat: begin no further run once one has failed.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where each run makes its results folder.")
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable. May be given several times.")
@click.option("--accel", type=click.Choice(["auto", "kvm", "tcg"]), help="Hardware (kvm), software (tcg), or what works.")
@click.option("--require-kvm", is_flag=True, default=None, help="Refuse to run where KVM does not work.")
@click.option("--film/--no-film", default=None, help="Keep a film of what the machines show, or none. Default: --film.")
@click.option("--keep", is_flag=True, help="Leave the machines' disks in place after the run, and say where.")
@click.option("--accept", is_flag=True, help="Afterwards, offer screens on which a needle was not seen as its new picture.")
@click.option("--yes", is_flag=True, help="With --accept: take all of them without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show what commands in the guest print, as they do.")
@with_entering
def command(
    *,
    entering: Entering,
    scripts: tuple[Path, ...],
    image: str | None,
    start: str | None,
    variables: tuple[str, ...],
    repeat: int | None,
    until_fail: bool,
    keep: bool,
    accept: bool,
    yes: bool,
    as_json: bool,
    verbose: bool,
    **flags: Any,
) -> int:
    """Run scripts against machines and report.

    All scripts are checked first, and none runs when any has a mistake. The exit status is 0 when all passed, 1 when a step
    failed, 2 for mistakes, 3 when this host cannot run them, 4 when a guest or QEMU died, 5 when a deadline passed outside a
    step, 130 when it was interrupted; of several scripts the most serious.

    Several scripts, combinations of a matrix and rounds of --repeat run at once where there is room. At their end an overview
    beside their results shows them side by side.
    """
    import asyncio

    from qa.cli.accept import check_options
    from qa.config import load_config
    from qa.operations import CATALOGUE
    from qa.paths import Paths
    from qa.scenario.reader import Given, parse_variables, read_scripts

    check_options(accept, yes)
    entering.check(scripts, **{"--image": image, "--start": start})
    if not scripts and not entering.resume:
        raise UsageError("no script was given", hint="anima-qa run SCRIPT...")
    if until_fail and not repeat:
        raise UsageError("--until-fail needs --repeat", hint="anima-qa run --repeat 100 --until-fail SCRIPT")
    paths = Paths.from_environment()
    config = load_config(paths, **flags)
    given = Given(parse_variables(variables), _from_here(image), start)
    kept = entering.kept(paths, config)
    good, problems, errors = read_kept_script(kept, scripts, given) if kept else read_scripts(scripts, CATALOGUE, given)
    if problems or errors:
        print_problems(problems, errors, err=True)
        return UsageError.exit_code
    if kept and entering.interactive:
        return enter(entering, kept, good[0], config, paths)
    manner, show = entering.manner(kept, good), Show(as_json, verbose, "all" if yes else "ask" if accept else "none")
    return asyncio.run(_run(good, config, paths, rounds=repeat or 1, until_fail=until_fail, keep=keep, show=show, manner=manner))


@dataclass(frozen=True)
class Show:
    """What is printed."""

    as_json: bool
    verbose: bool
    accept: Literal["none", "ask", "all"] = "none"
    """Screens that are offered as new pictures of needles."""


async def _run(
    scripts: list[Script], config: Config, paths: Paths, *, rounds: int, until_fail: bool, keep: bool, show: Show, manner: Manner
) -> int:
    from rich.console import Console

    from qa.events import Bus
    from qa.fleet import Owner
    from qa.fleet.admission import Admission
    from qa.host.resources import use_all_descriptors
    from qa.operations.boot import Host
    from qa.operations.calls import Caller
    from qa.operations.gate import Door, Gate
    from qa.report.terminal import TerminalReport
    from qa.scenario.batch import run_scripts
    from qa.scenario.needs import needs_on
    from qa.scenario.opening import describe, open_on
    from qa.scenario.stop import Stop, stop_on_signals

    use_all_descriptors()
    console = Console(file=lasting(sys.stderr))
    bus, stop = Bus(), Stop()
    summary = console if show.as_json else Console(file=lasting(sys.stdout))
    planned = len(scripts) * rounds
    jobs = None if config.jobs == "auto" else config.jobs
    began = datetime.now(UTC)
    with Owner.register(paths) as owner:
        host = Host(paths, config, owner, keep)
        host.store.sweep()
        door = Door(Gate.of(paths, config), Caller("run", f"uid {os.getuid()}"))
        at_once = min(jobs or planned, planned)
        async with TerminalReport(bus, console, jobs=at_once, verbose=show.verbose, summary=summary, runs=planned) as terminal:
            with stop_on_signals(stop, bus.notice):
                ended = await run_scripts(
                    scripts,
                    open_for=open_on(host, door),
                    out=config.out,
                    stop=stop,
                    admission=Admission(jobs, say=bus.notice),
                    needs=needs_on(paths),
                    rounds=rounds,
                    until_fail=until_fail,
                    tcg_factor=config.tcg_factor,
                    follow=terminal.follow,
                    describe_host=partial(describe, host),
                    door=door,
                    manner=manner,
                )
    return _conclude(ended, Planned(planned, began, config.out), summary, show, stopped=stop.requested)


@dataclass(frozen=True)
class Planned:
    """What was to be run: how many runs, since when, and where their folders are."""

    runs: int
    began: datetime
    out: Path


def _conclude(ended: list[Ended], planned: Planned, summary: Console, show: Show, *, stopped: bool) -> int:
    """Show the runs together, offer their screens, print the record; the exit status of all."""
    from qa.report.overview import Command
    from qa.scenario.verdict import most_serious

    interrupted = [Interrupted.exit_code] if stopped else []
    status = most_serious([*(one.result.exit_status for one in ended), *interrupted])
    record: dict[str, Any] = {"runs": [_as_record(one) for one in ended]}
    if planned.runs > 1 and ended:
        command = Command(planned.began, datetime.now(UTC), planned.runs, status)
        overview, failure = _overview(ended, command, planned.out, summary)
        record["overview"] = overview
        status = most_serious([status, failure])
    if show.accept != "none" and not stopped:
        from qa.cli.accept import offer

        offer(ended, yes=show.accept == "all")
    if show.as_json:
        print_json(record, lasting(sys.stdout))
    return status


def _overview(ended: list[Ended], command: Command, out: Path, summary: Console) -> tuple[dict[str, Any], int]:
    """Show the runs side by side and write their overview: what it says, and the exit status of what kept it from the disk."""
    from qa.report.failures import say
    from qa.report.overview import make_overview
    from qa.report.overview_files import write_overview
    from qa.report.overview_text import print_overview

    overview = make_overview(ended, command, out)
    record: dict[str, Any] = overview.model_dump(mode="json", by_alias=True)
    print_overview(overview, summary)
    try:
        page = write_overview(out, overview, ended, command.ended.astimezone())
    except QaError as error:
        print_error(error)
        return record, error.exit_code
    say(summary)
    say(summary, f"side by side: {page}")
    return {"page": str(page), **record}, 0


def _as_record(ended: Ended) -> dict[str, Any]:
    return {"folder": str(ended.folder.path), **ended.result.model_dump(mode="json", by_alias=True)}


def _from_here(image: str | None) -> str | None:
    """A path on the command line is meant from the current folder, one in a script from the script's."""
    if image is None or "://" in image:
        return image
    path = read_path(image)
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone", hint="change to one that is there") from None
    return str(path.absolute()) if "/" in image or (path.suffix and is_file(path)) else image


class Lasting:
    """A stream that may lose its reader: what is written after that goes nowhere.

    A closed terminal or ``| head`` must not keep a run from closing its machines and writing its report.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or let it be."""
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flush, or let it be."""
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: TextIO) -> IO[str]:
    """``stream`` so that losing its reader is no error."""
    return cast("IO[str]", Lasting(stream))
