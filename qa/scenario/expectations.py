"""``expect``, and how a command's result is kept in the report."""

from __future__ import annotations

from typing import Any

from qa.deadline import format_duration
from qa.errors import CheckFailed, DeadlineExceeded, UsageError
from qa.patterns import compile_pattern, in_time
from qa.scenario.results import CommandOutcome
from qa.scenario.schema import Expect

KEPT = 64 * 1024
"""Characters of each stream that go into the report, half from the head and half from the tail: people read no more, and a
report of many steps stays small."""


def is_command(result: Any) -> bool:
    """Whether ``result`` is that of a command in a guest (told by its shape: its module need not be loaded for that)."""
    return hasattr(result, "exit_code") and hasattr(result, "stdout") and hasattr(result, "stderr")


def command_outcome(result: Any) -> CommandOutcome:
    """A command's result as it stands in the report."""
    stdout, stderr = _text(result.stdout), _text(result.stderr)
    short_stdout, short_stderr = shorten(stdout), shorten(stderr)
    return CommandOutcome(
        command=result.command,
        exit_code=result.exit_code,
        stdout=short_stdout,
        stderr=short_stderr,
        truncated=bool(result.truncated) or short_stdout is not stdout or short_stderr is not stderr,
        duration_s=result.duration_s,
    )


def check_in_time(result: Any) -> None:
    """A command that was killed at its time limit has not passed, whatever it printed until then.

    Raises:
        DeadlineExceeded: it was killed.
    """
    if getattr(result, "timed_out", False):
        raise DeadlineExceeded(f"the command was killed at its time limit, after {format_duration(result.duration_s)}")


def check_expectations(expect: Expect, result: Any) -> None:
    """Compare a step's result with what it should be.

    Raises:
        CheckFailed: something is not as expected; the message has all that differs.
        UsageError: the result is nothing that can be compared.
    """
    if is_command(result):
        exit_code, stdout, stderr = result.exit_code, _text(result.stdout), _text(result.stderr)
    elif isinstance(result, str):
        exit_code, stdout, stderr = None, result, ""
    else:
        raise UsageError("the step gave no output to expect anything of", hint="use expect with execute")
    wrong: list[str] = []
    if expect.exit_code is not None and exit_code != expect.exit_code:
        got = "it was killed at its time limit" if exit_code is None else f"it was {exit_code}"
        wrong.append(f"the exit code should be {expect.exit_code}, {got}")
    for name, pattern, text in (("stdout", expect.stdout, stdout), ("stderr", expect.stderr, stderr)):
        if pattern is not None and not _is_in(text, pattern):
            wrong.append(f"{name} has nothing that matches {pattern!r}" + ("" if text.strip() else ": it is empty"))
    if wrong:
        evidence = {} if is_command(result) else {"text": shorten(stdout)}
        raise CheckFailed("; ".join(wrong), evidence=evidence)


def _is_in(text: str, pattern: str) -> bool:
    wanted = compile_pattern(pattern)
    with in_time(pattern):
        return wanted.search(text) is not None


def shorten(text: str, limit: int = KEPT) -> str:
    """``text`` itself, or its head and its tail with a line between them that says how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out here ...]\n{text[-half:]}"


def _text(stream: bytes | str) -> str:
    return stream if isinstance(stream, str) else stream.decode("utf-8", errors="replace")
