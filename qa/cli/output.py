"""Printing: results to stdout, everything that is said to a person to stderr."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from qa.errors import QaError


def print_error(error: QaError) -> None:
    """An error as people read it: what happened, what was seen last, what to do."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text("error: ", style="bold red") + Text(error.message))
    for title, text in error.evidence.items():
        console.print(Text(f"  {title}:", style="bold"))
        for line in text.rstrip().splitlines() or [""]:
            console.print(Text(f"    {line}", style="dim"))
    if error.hint:
        console.print(Text("  -> ", style="bold yellow") + Text(error.hint))


def print_json(value: Any, stream: IO[str] | None = None) -> None:
    """``value`` as indented JSON on ``stream``; by default stdout."""
    stream = stream or sys.stdout
    stream.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    stream.flush()
