"""The options of ``anima-qa run`` about moments of a run: to keep them, to begin at them, to enter them again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import ScriptError, UsageError

if TYPE_CHECKING:
    from qa.config import Config
    from qa.paths import Paths
    from qa.scenario.problems import Problem
    from qa.scenario.reader import Given
    from qa.scenario.resume import KeptRun
    from qa.scenario.runner import Manner
    from qa.scenario.script import Script

_OPTIONS = (
    click.option(
        "--resume", type=click.Path(path_type=Path), metavar="RESULTS", help="Go on at the step that failed in the run before."
    ),
    click.option("--shell", is_flag=True, help="With --resume: run no script, but open a root shell at that moment."),
    click.option("--console", is_flag=True, help="With --resume: run no script, but open the serial console at that moment."),
    click.option("--on", metavar="MACHINE", help="The machine for --shell or --console; else that of the failed step."),
    click.option("--checkpoint", is_flag=True, help="Keep the state after each step; begin where the script has changed."),
    click.option("--no-keep-failed", is_flag=True, help="Do not keep the machines of a step that fails for --resume."),
)


@dataclass(frozen=True)
class Entering:
    """What was said about moments of a run."""

    resume: Path | None
    shell: bool
    console: bool
    on: str | None
    checkpoint: bool
    keep_failed: bool

    @property
    def interactive(self) -> bool:
        """Whether somebody wants to look into a machine, and no script is run."""
        return self.shell or self.console

    def check(self, scripts: Sequence[Path], **others: object) -> None:
        """Refuse what does not go together. ``others`` are options that have no effect on a run that goes on.

        Raises:
            UsageError: it does not.
        """
        if self.resume is None:
            if self.interactive or self.on:
                option = "--shell" if self.shell else "--console" if self.console else "--on"
                raise UsageError(f"{option} needs --resume", hint=f"anima-qa run --resume RESULTS {option}")
            return
        for option, given in (("--checkpoint", self.checkpoint), *others.items()):
            if given:
                raise UsageError(
                    f"{option} has no effect with --resume", hint="leave it out: the machines are those of the run before"
                )
        if len(scripts) > 1:
            raise UsageError(
                "--resume goes on with one script", hint="name the mended one, or none: then it is taken from where it was"
            )
        if self.shell and self.console:
            raise UsageError("--shell and --console are two things", hint="take one of them")
        if self.on and not self.interactive:
            raise UsageError("--on needs --shell or --console", hint="in scripts, steps say on which machine they are")
        if self.interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
            what = "--shell" if self.shell else "--console"
            raise UsageError(
                f"{what} needs a terminal to type at", hint="run it without pipes; for programs there are steps in scripts"
            )

    def kept(self, paths: Paths, config: Config) -> KeptRun | None:
        """The run to go on from, where its machines are still there.

        Raises:
            UsageError: there is none.
            SnapshotUnusable: its machines cannot be used any more.
        """
        from qa.scenario.resume import read_kept
        from qa.snapshots.store import Store

        if self.resume is None:
            return None
        kept = read_kept(self.resume)
        kept.check(Store.of(paths, config).get)
        return kept

    def manner(self, kept: KeptRun | None, scripts: Sequence[Script]) -> Manner:
        """How scripts are run.

        Raises:
            UsageError: the step to go on at is gone.
        """
        from qa.scenario.runner import Manner

        return Manner(self.keep_failed, self.checkpoint, kept.enter(scripts[0]) if kept else None)


def read_kept_script(
    kept: KeptRun, scripts: Sequence[Path], given: Given
) -> tuple[list[Script], list[Problem], list[ScriptError]]:
    """The script that goes on from ``kept``, as it is on disk now; or all that is wrong with it."""
    from qa.operations import CATALOGUE
    from qa.scenario.problems import ScriptRejected

    try:
        return [kept.script(scripts[0] if scripts else None, CATALOGUE, given.variables)], [], []
    except ScriptRejected as rejected:
        return [], list(rejected.problems), []
    except ScriptError as error:
        return [], [], [error]


def with_entering(command: Callable[..., int]) -> Callable[..., int]:
    """Give ``command`` these options, as one argument ``entering``."""

    @functools.wraps(command)
    def wrapped(
        *,
        resume: Path | None,
        shell: bool,
        console: bool,
        on: str | None,
        checkpoint: bool,
        no_keep_failed: bool,
        **others: Any,
    ) -> int:
        return command(entering=Entering(resume, shell, console, on, checkpoint, not no_keep_failed), **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
