"""The root command: loads each subcommand only when it is used, and is the one place that prints errors."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from qa import __version__
from qa.cli.output import print_error
from qa.errors import HostError, Interrupted, QaError, UsageError

COMMANDS = {
    "run": ("qa.cli.run", "Run scripts against machines and report."),
    "check": ("qa.cli.check", "Check scripts without running them."),
    "doctor": ("qa.cli.doctor", "Tell what this host can do, and how to get what is missing."),
    "image": ("qa.cli.image", "List, pull, build, import, convert and check disk images."),
    "template": ("qa.cli.template", "List and remove frozen machines, which runs start from."),
    "needle": ("qa.cli.needle", "Make and check needles: pictures of screens, and what of them counts."),
    "mcp": ("qa.cli.mcp", "Serve machines to agents over the Model Context Protocol."),
    "audit": ("qa.cli.audit", "Read what agents did, and see whether the log of it was changed."),
    "gc": ("qa.cli.gc", "Remove what dead runs left behind."),
}
"""Subcommand to the module that holds it under the same name (called ``command`` there), and its line in the help."""


COMPLETE = "_ANIMA_QA_COMPLETE"
"""The variable that a shell's completion sets, whatever name the program's file has."""


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when that subcommand is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help's list of subcommands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Like click's, with a suggestion for a mistyped name."""
        from difflib import get_close_matches

        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, n=1)
            raise UsageError(
                f"there is no command {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else "anima-qa --help lists the commands",
            )
        return super().resolve_command(ctx, args)


def _print_licenses(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from qa.cli import licenses

        click.echo(licenses.text(), nl=False)
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="anima-qa", message="%(prog)s %(version)s")
@click.option(
    "--licenses", is_flag=True, is_eager=True, expose_value=False, callback=_print_licenses,
    help="List what the program is made of, and under which licenses.",
)  # fmt: skip
def root() -> None:
    """Boot any UEFI disk image, drive it like a person and like a program, and hand over a report."""


def run() -> None:
    """Run the command line; its exit status is that of section "exit status" in the documentation."""
    try:
        status = root(standalone_mode=False, prog_name=_name(), complete_var=COMPLETE)
    except QaError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except PermissionError as error:
        print_error(_not_allowed(error))
        sys.exit(HostError.exit_code)
    except Exception:  # a defect of ours: the traceback is for the bug report
        traceback.print_exc()
        sys.stderr.write("\nThis is a defect of anima-qa, please report it with the lines above.\n")
        sys.exit(70)
    sys.exit(status if isinstance(status, int) else 0)


def _name() -> str:
    """The program's own name; but shells complete a command by the name of its file."""
    file = Path(sys.argv[0]).name
    return file if COMPLETE in os.environ and file != "__main__.py" else "anima-qa"


def _not_allowed(error: PermissionError) -> HostError:
    """Any file may turn out to be another user's, so what needs it does not ask first."""
    return HostError(
        f"{error.filename or 'a file'}: {error.strerror}",
        hint="if it should be yours, it may be from a run as root (sudo): give it back with chown; "
        "or set ANIMA_QA_HOME to a folder that is yours",
    )
