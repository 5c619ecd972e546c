"""The command line. Thin: it parses, calls, and prints."""

from __future__ import annotations

import sys

from qa.zipapp.streams import open_missing_streams


def main() -> None:
    """Entry point of ``anima-qa``."""
    _open_missing_streams()
    try:
        if sys.argv[1:] == ["--version"]:  # asked for by scripts and completion: answer without importing the rest
            from qa import __version__

            sys.stdout.write(f"anima-qa {__version__}\n")
            return
        from qa.cli.root import run

        run()
    except KeyboardInterrupt:  # while modules were imported
        sys.exit(130)


def _open_missing_streams() -> None:
    open_missing_streams()
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False, encoding="utf-8"))  # noqa: SIM115
