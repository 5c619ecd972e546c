"""The command line. Thin: it parses, calls, and prints."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of ``anima-qa``."""
    _open_missing_streams()
    if sys.argv[1:] == ["--version"]:  # asked for by scripts and completion: answer without importing the rest
        from qa import __version__

        sys.stdout.write(f"anima-qa {__version__}\n")
        return
    from qa.cli.root import run

    run()


def _open_missing_streams() -> None:
    """Where the caller closed a standard stream (``>&-``), take one to nowhere: else the next file opened would get its place,
    and what is printed would go into a result.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False, encoding="utf-8"))  # noqa: SIM115
