"""What a person needs to know of a failure, on a terminal: enough to understand the cause without opening anything else."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.text import Text

from qa.deadline import format_duration
from qa.report.comparison import screen_text, workaround
from qa.report.content import causes, console_tail, count_steps, flatten, last_picture, own_texts
from qa.report.folder import ResultsFolder
from qa.report.text import one_line, plain, tail
from qa.scenario.results import CommandOutcome, RunResult, StepResult

DETAILED = 3
"""Failures that are told in full. Of forty the first ones tell the cause; the others are listed, the report has them all."""

LISTED = 40
"""Failures that are listed with one line each."""

OUTPUT_LINES = 15
CONSOLE_LINES = 12
"""Lines shown of an output and of the console: one failure fits on one screen."""

LINE = 400
"""Characters of one line of output that are shown."""

LABEL = 12
"""Width of the column of labels."""

WORDS = {
    "passed": ("PASSED", "bold green"),
    "failed": ("FAILED", "bold red"),
    "error": ("ERROR", "bold red"),
    "timeout": ("TIMEOUT", "bold red"),
    "interrupted": ("STOPPED", "bold yellow"),
    "skipped": ("SKIPPED", "dim"),
}
"""Outcome to the word and the style on terminals: the word says it all, colour only helps to find it."""


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print one line made of plain texts and of (text, style): never wrapped, never interpreted, never an encoding error."""
    line = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(_encodable(text, console), style)
    console.print(line, soft_wrap=True, highlight=False)


def print_failures(result: RunResult, console: Console, folder: ResultsFolder) -> None:
    """Tell why ``result`` did not pass. Prints nothing for one that did.

    Args:
        result: of the run.
        console: where to print; usually stderr.
        folder: of the run: the console's tail is read from it, and paths into it are shown.
    """
    if result.outcome == "passed":
        return
    failed = [flat.step for flat in causes(result)]
    word, style = WORDS[result.outcome]
    say(console)
    say(console, (word, style), (f"  {one_line(result.name)}", "bold"), f": {one_line(result.reason)}" if result.reason else "")
    told = ""
    for step in failed[:DETAILED]:
        _print_step(console, result, folder, step)
        tail_now = console_tail(folder, result, step, CONSOLE_LINES)
        _block(console, "console", tail_now if tail_now != told else "")
        told = tail_now
    if not failed:
        _print_end(console, result, folder)
    _print_others(console, failed[DETAILED:])
    say(console)
    _field(console, "report", str(folder.report_html))
    _field(console, "go on", kept_note(result, folder))


def print_summary(result: RunResult, console: Console, folder: ResultsFolder) -> None:
    """One line: ``PASSED hello: 5 steps in 9.2 s -> results/hello-...``."""
    word, style = WORDS[result.outcome]
    say(
        console,
        (word, style),
        f" {one_line(result.name)}: {counted(result)} in {format_duration(result.duration_s)} -> {folder.path}",
    )


def kept_note(result: RunResult, folder: ResultsFolder) -> str:
    """How to go on from the failed step; empty where nothing was kept."""
    return f"{kept_words(result)}: {kept_command(folder)}" if result.kept else ""


def kept_words(result: RunResult) -> str:
    """What was kept; empty where nothing was."""
    if result.kept is None:
        return ""
    machines = "the machines are" if len(result.kept.machines) > 1 else "the machine is"
    return f"{machines} kept as at step {result.kept.step}"


def kept_command(folder: ResultsFolder) -> str:
    """The command that goes on from there."""
    return f"anima-qa run --resume {shlex.quote(str(folder.path))}"


def counted(result: RunResult) -> str:
    """The number of steps, and how many of them did not pass: ``5 steps, 1 failed, 2 skipped``."""
    counts = count_steps(result)
    total = sum(counts.values())
    words = [f"{total} step{'' if total == 1 else 's'}"]
    names = {
        "failed": "failed",
        "error": "broken off",
        "timeout": "timed out",
        "interrupted": "stopped",
        "allowed": "failed as allowed",
        "skipped": "not run",
    }
    soft = sum(bool(workaround(flat.step)) for flat in flatten(result.steps))
    words += [f"{counts[outcome]} {name}" for outcome, name in names.items() if outcome in counts]
    return ", ".join([*words, f"{soft} with a workaround"] if soft else words)


def _print_step(console: Console, result: RunResult, folder: ResultsFolder, step: StepResult) -> None:
    say(console)
    say(console, (f"  step {step.index}", "bold"), f"  {one_line(step.name)}", (f"  {step.place}" if step.place else "", "dim"))
    tries = f", {step.attempts} tries" if step.attempts > 1 else ""
    took = f" ({format_duration(step.duration_s)}{tries})"
    _field(console, "why", (one_line(step.detail, 1000) or WORDS[step.outcome][0].lower()) + took)
    if len({machine.name for machine in result.machines}) > 1 and step.machine:
        _field(console, "machine", step.machine)
    if step.command:
        _print_command(console, step.command)
    if step.screen:
        _block(console, "screen", plain(screen_text(step.screen)))
    _print_texts(console, folder, result, step)
    _field(console, "hint", one_line(step.hint, 1000))
    if picture := last_picture(result, step):
        _field(console, "last frame", str(folder.path / picture))


def _print_command(console: Console, command: CommandOutcome) -> None:
    lines = plain(command.command.strip())
    if "\n" in lines:
        _block(console, "command", lines)
    else:
        _field(console, "command", one_line(lines, 1000))
    code = "none: it was ended before it was done" if command.exit_code is None else str(command.exit_code)
    _field(console, "exit code", code)
    for name, text in (("stderr", command.stderr), ("stdout", command.stdout)):
        if text:
            _block(console, name, tail(plain(text), OUTPUT_LINES))
    if not command.stdout and not command.stderr:
        _field(console, "output", "none")


def _print_texts(console: Console, folder: ResultsFolder, result: RunResult, step: StepResult | None) -> None:
    for title, content in own_texts(folder, result, step):
        lines = tail(plain(content.text), OUTPUT_LINES)
        if len(title) > LABEL - 2:
            say(console, (f"  {one_line(title)}", "dim"))
            title = ""  # noqa: PLW2901
        _block(console, one_line(title), lines)


def _print_end(console: Console, result: RunResult, folder: ResultsFolder) -> None:
    """A run that ended outside a step: the machines' stages tell how far it came."""
    for machine in result.machines:
        reached = ", ".join(f"{stage} {format_duration(at)}" for stage, at in machine.stages.items()) or "nothing"
        _field(console, machine.name, f"{machine.image}; reached: {reached}")
    _print_texts(console, folder, result, None)
    _block(console, "console", console_tail(folder, result, None, CONSOLE_LINES))
    _field(console, "hint", one_line(result.hint, 1000))
    if picture := last_picture(result, None):
        _field(console, "last frame", str(folder.path / picture))


def _print_others(console: Console, others: list[StepResult]) -> None:
    if not others:
        return
    say(console)
    say(console, (f"  {len(others)} more failed:", "bold"))
    for step in others[:LISTED]:
        say(console, f"  step {step.index}  {one_line(step.name, 80)}: {one_line(step.detail, 120)}")
    if len(others) > LISTED:
        say(console, f"  and {len(others) - LISTED} others, see the report")


def _field(console: Console, label: str, text: str) -> None:
    if text:
        say(console, (f"  {label:<{LABEL}}", "dim"), text)


def _block(console: Console, label: str, text: str) -> None:
    for number, line in enumerate(text.splitlines()):
        shown = line if len(line) <= LINE else f"{line[:LINE]} … {len(line) - LINE} more"
        say(console, (f"  {label if number == 0 else '':<{LABEL}}", "dim"), ("| ", "dim"), shown)


def _encodable(text: str, console: Console) -> str:
    encoding = console.encoding or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")
