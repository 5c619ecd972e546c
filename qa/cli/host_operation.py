"""Commands made out of operations on this host: names, options and help are those of the operation."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

import click

from qa.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from qa.config import Config
    from qa.events import Bus
    from qa.operations.calls import Facts
    from qa.operations.hosting import HostOperation
    from qa.paths import Paths

T = TypeVar("T")
Show = Callable[[Any], None]
"""Prints a result for people."""


def command_of(name: str, *, positional: tuple[str, ...], show: Show, complete: Mapping[str, Any] | None = None) -> click.Command:
    """The command for the operation ``name``, such as ``image_convert``, which is called by what follows its first word.

    Args:
        positional: the arguments that need no name.
        show: prints the result where JSON is not asked for.
        complete: argument to its completion in shells.
    """
    from qa.operations.hosting import HOST_OPERATIONS

    one = HOST_OPERATIONS[name]
    fields = one.operation.arguments.model_fields
    parameters: list[click.Parameter] = [_argument(field, fields[field], complete or {}) for field in positional]
    parameters += [_option(field, info) for field, info in fields.items() if field not in positional]
    if one.effect == "destroy":
        parameters.append(click.Option(["--yes"], is_flag=True, help="Ask nothing, where the policy wants to be asked."))
    parameters.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."))

    def run(as_json: bool, yes: bool = False, **given: Any) -> None:
        result = _run(one, {key: value for key, value in given.items() if value is not None}, yes)
        if as_json:
            from qa.cli.output import print_json

            print_json(result)
        else:
            show(result)

    return click.Command(name.partition("_")[2], params=parameters, callback=run, help=one.operation.description)


def _argument(name: str, info: FieldInfo, complete: Mapping[str, Any]) -> click.Argument:
    several = get_origin(info.annotation) is list
    return click.Argument(
        [name],
        required=info.is_required(),
        nargs=-1 if several else 1,
        metavar=name.upper() + ("..." if several else ""),
        shell_complete=complete.get(name),
    )


def _option(name: str, info: FieldInfo) -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    if info.annotation is bool:
        return click.Option([flag, name], is_flag=True, help=info.description)
    choices = [
        choice
        for part in (info.annotation, *get_args(info.annotation))
        if get_origin(part) is Literal
        for choice in get_args(part)
    ]
    kind = click.Choice(choices) if choices else None
    return click.Option([flag, name], type=kind, metavar=None if choices else name.upper(), help=info.description)


def _run(one: HostOperation, given: dict[str, Any], yes: bool) -> Any:
    from dataclasses import replace
    from pathlib import Path

    from pydantic import ValidationError

    from qa.cli.progress import run_until_done
    from qa.config import load_config
    from qa.operations.bench import Bench
    from qa.operations.operation import by_name
    from qa.paths import Paths

    try:
        arguments = one.operation.parse(given)
    except ValidationError as error:
        problem = error.errors()[0]
        said = problem["msg"].removeprefix("Value error, ")
        raise UsageError(f"{problem['loc'][0]}: {said}", hint=f"anima-qa {one.name.replace('_', ' ')} --help") from error
    paths = Paths.from_environment()
    config = load_config(paths)

    async def work(bus: Bus) -> Any:
        bench = Bench(paths, config, bus, Path.cwd())

        def facts() -> Facts:
            return replace(one.facts(bench, arguments), force=yes)

        return await _call(paths, config, one.name, lambda: one(bench, arguments), facts=facts, arguments=by_name(arguments))

    return run_until_done(work)


def through_gate(name: str, facts: Facts, arguments: Mapping[str, Any], work: Callable[[Bus], Awaitable[T]]) -> T:
    """Do ``work`` as any call of the operation ``name`` is done: held against the policy, written down, its progress shown.

    Raises:
        PolicyRefused: a rule is against it.
    """
    from qa.cli.progress import run_until_done
    from qa.config import load_config
    from qa.paths import Paths

    paths = Paths.from_environment()
    config = load_config(paths)
    return run_until_done(lambda bus: _call(paths, config, name, lambda: work(bus), facts=facts, arguments=arguments))


async def _call(
    paths: Paths,
    config: Config,
    name: str,
    run: Callable[[], Awaitable[T]],
    *,
    facts: Facts | Callable[[], Facts],
    arguments: Mapping[str, Any],
) -> T:
    import os

    from qa.operations.calls import Caller
    from qa.operations.gate import Gate

    ask = _ask if sys.stdin.isatty() else None
    caller = Caller("cli", f"uid {os.getuid()}")
    return await Gate.of(paths, config).call(caller, name, run, facts=facts, arguments=arguments, ask=ask)


async def _ask(question: str) -> bool:
    return click.confirm(question, err=True)
