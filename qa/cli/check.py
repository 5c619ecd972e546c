"""``anima-qa check``: tell everything that is wrong with scripts, without running them."""

from __future__ import annotations

from pathlib import Path

import click

from qa.cli.output import print_json
from qa.errors import ScriptError, UsageError
from qa.scenario.problems import Problem


@click.command("check")
@click.argument("scripts", nargs=-1, type=click.Path(path_type=Path), metavar="SCRIPT...")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable, as for run. May be given several times."
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scripts, for editors, and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(scripts: tuple[Path, ...], variables: tuple[str, ...], schema: bool, as_json: bool) -> int:
    """Check scripts without running them.

    All mistakes of all files are told at once, each with its file, line and column. The exit status is 2 when there are any.
    """
    from qa.operations import CATALOGUE
    from qa.scenario.reader import Given, parse_variables, read_scripts

    if schema:
        from qa.scenario.json_schema import script_schema

        print_json(script_schema(CATALOGUE))
        return 0
    if not scripts:
        raise UsageError("no script was given", hint="anima-qa check SCRIPT..., or anima-qa check --schema")
    runs, problems, errors = read_scripts(scripts, CATALOGUE, Given(parse_variables(variables)))
    good = {run.path: [one.name for one in runs if one.path == run.path] for run in runs}
    if as_json:
        unread = [{"file": None, "line": None, "column": None, "message": one.message, "hint": one.hint} for one in errors]
        found = [problem.as_record() for problem in problems] + unread
        print_json({"problems": found, "passed": [str(path) for path in good], "runs": {str(path): good[path] for path in good}})
    else:
        steps = {run.path: _count(len(run.steps), "step") for run in runs}
        for path, names in good.items():
            count = f", {_count(len(names), 'run')}" if len(names) > 1 else ""
            click.echo(f"{path}: {click.style('ok', fg='green')}, {steps[path]}{count}")
        print_problems(problems, errors, err=False)
    return 2 if problems or errors else 0


def print_problems(problems: list[Problem], errors: list[ScriptError], *, err: bool) -> None:
    """What is wrong with scripts, one after the other, and how much it is in all."""
    for error in errors:
        click.secho(error.message, bold=True, err=err)
        if error.hint:
            click.echo(f"  -> {error.hint}", err=err)
    for problem in problems:
        head, *rest = problem.render().splitlines()
        click.secho(head, bold=True, err=err)
        for line in rest:
            click.secho(line, dim=not line.startswith("  ->"), err=err)
    count = len(problems) + len(errors)
    if count > 1:
        click.echo(f"{_count(count, 'mistake')}", err=err)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
