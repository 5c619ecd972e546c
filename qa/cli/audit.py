"""``anima-qa audit``: what agents did on this host, and whether the log of it was changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.errors import CheckFailed

if TYPE_CHECKING:
    from qa.operations.audit_check import Checked

file_argument = click.argument("file", type=click.Path(path_type=Path), required=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group("audit")
def command() -> None:
    """Read the log of what agents did, and see whether it was changed.

    FILE is the log; the one of the settings where it is not given.
    """


@command.command("list")
@file_argument
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many calls, the newest.")
@json_option
def list_calls(file: Path | None, last: int, as_json: bool) -> None:
    """List the calls that were made, the newest at the end."""
    from qa.operations.audit_check import read_log

    records = read_log(_file(file))[-last:]
    if as_json:
        from qa.cli.output import print_json

        print_json(records)
        return
    for record in records:
        click.echo(_line(record))


@command.command("verify")
@file_argument
@click.option(
    "--holds", metavar="DIGEST", help="A digest that this command has printed before: a line with it must still be there."
)
@json_option
def verify_log(file: Path | None, holds: str | None, as_json: bool) -> int:
    """See whether a line of the log was changed, taken out or put in. The first such line is told first.

    The exit status is 1 when the log was changed. Keep the digest that is printed in another place: whoever may write to the
    log can write all of it anew, and only that digest tells.
    """
    from qa.operations.audit_check import verify

    place = _file(file)
    checked = verify(place, holds=holds)
    if as_json:
        from qa.cli.output import print_json

        print_json(_as_record(place, checked))
    else:
        _tell(place, checked)
    return 0 if checked.sound else CheckFailed.exit_code


def _file(given: Path | None) -> Path:
    from qa.config import load_config
    from qa.paths import Paths

    if given is not None:
        return given
    paths = Paths.from_environment()
    return load_config(paths).audit.file or paths.audit


def _tell(place: Path, checked: Checked) -> None:
    for fault in checked.mended:
        click.echo(f"line {fault.line} {fault.why}")
    for fault in checked.broken:
        click.echo(f"line {fault.line} {fault.why}" if fault.line else fault.why)
    if checked.sound:
        click.echo(
            f"{place}: {checked.lines} line{'s' * (checked.lines != 1)}, none was changed; the last digest is {checked.last}"
        )
    else:
        click.echo(f"{place} was changed: {checked.lines} lines, the first fault is at line {checked.broken[0].line}")


def _as_record(place: Path, checked: Checked) -> dict[str, Any]:
    return {
        "file": str(place),
        "sound": checked.sound,
        "lines": checked.lines,
        "last": checked.last,
        "broken": [{"line": fault.line, "why": fault.why} for fault in checked.broken],
        "mended": [{"line": fault.line, "why": fault.why} for fault in checked.mended],
    }


def _line(record: dict[str, Any]) -> str:
    if event := record.get("event"):
        return f"{record.get('at', '')}  [{event}]"
    who = "/".join(str(part) for part in (record.get("surface"), record.get("client")) if part)
    arguments = record.get("arguments")
    given = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items()) if isinstance(arguments, dict) else ""
    return (
        f"{record.get('at', '')}  {who}  {record.get('tool')}({given})  {record.get('outcome')}  {_short(record.get('result'))}"
    )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("error") or ", ".join(f"{name} {one}" for name, one in value.items())
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
