"""Regular expressions that people and agents write, over texts that guests write: none may stop everything else."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qa.errors import UsageError

SEARCH_LIMIT_S = 2.0
"""Seconds of computing for one search. Sound expressions take milliseconds for what a console keeps; one that repeats what it
repeats, such as ``(a+)+$``, would take longer than any guest lives, and no deadline ends it: nothing else runs meanwhile."""


SHOWN = 120
"""Letters of an expression, and of what is wrong with it, that an error quotes."""


class _TooLong(Exception):
    """The search is cut short."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression over several lines.

    Raises:
        UsageError: it is not one.
    """
    try:
        return re.compile(pattern, re.MULTILINE)
    except RecursionError:
        wrong = "it is nested too deeply"
    except (re.error, OverflowError, ValueError) as error:  # numbers that are too large, flags that exclude each other
        wrong = str(error)
    raise UsageError(f"{_short(pattern)!r} is not a regular expression: {_short(wrong)}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


@contextmanager
def in_time(*patterns: str) -> Iterator[None]:
    """Search for ``patterns`` inside, in `SEARCH_LIMIT_S` at most. Only the main thread can be held to it.

    Raises:
        UsageError: it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    searching = True

    def stop(*_: object) -> None:
        if searching:
            raise _TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SEARCH_LIMIT_S)
    try:
        yield
    except _TooLong:
        shown = ", ".join(repr(_short(pattern)) for pattern in patterns)
        hint = "let no part that repeats be repeated itself: (a+)+ is a+"
        raise UsageError(f"the search for {shown} was given up after {SEARCH_LIMIT_S:g} s of computing", hint=hint) from None
    finally:
        searching = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
