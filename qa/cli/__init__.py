"""The command line. Thin: it parses, calls, and prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``anima-qa``."""
    if sys.argv[1:] == ["--version"]:  # asked for by scripts and completion: answer without importing the rest
        from qa import __version__

        sys.stdout.write(f"anima-qa {__version__}\n")
        return
    from qa.cli.root import run

    run()
