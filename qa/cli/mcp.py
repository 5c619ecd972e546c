"""``anima-qa mcp``: machines for agents, over the Model Context Protocol."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qa.cli.output import print_error
from qa.errors import QaError, UsageError
from qa.rules import TOOLSETS

if TYPE_CHECKING:
    from qa.mcp.address import Address
    from qa.mcp.grants import Offer

CLIENT_NAMES = ("claude-code", "claude-desktop", "codex", "vscode", "cursor")


@click.command("mcp")
@click.option(
    "--http", "http", metavar="[HOST:]PORT", is_flag=False, flag_value="",
    help="Serve over HTTP instead of stdin and stdout. [default: 127.0.0.1:8090, or the port in QA_MCP_PORT]",
)  # fmt: skip
@click.option(
    "--profile", type=click.Choice(["core", "full"]), default="core", show_default=True, help="Which tools are offered."
)
@click.option("--toolsets", metavar="A,B", help=f"Add groups of tools to those of core: {', '.join(TOOLSETS)}.")
@click.option("--read-only", is_flag=True, default=None, help="Offer only what changes nothing.")
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="A file with the token that HTTP clients must show. It may also be in ANIMA_QA_MCP_TOKEN.",
)  # fmt: skip
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="One more name that HTTP clients may use for this host."
)
@click.option("--print-config", type=click.Choice(CLIENT_NAMES), help="Print what to put into a client's configuration, and end.")
@click.option("--print-skill", is_flag=True, help="Print a SKILL.md that teaches agents to work with machines, and end.")
def command(
    *,
    http: str | None,
    profile: str,
    toolsets: str | None,
    read_only: bool | None,
    token_file: Path | None,
    hosts: tuple[str, ...],
    print_config: str | None,
    print_skill: bool,
) -> int:
    """Serve machines to agents over the Model Context Protocol.

    Without --http the client starts this command and talks to it over stdin and stdout; its machines end with it. Machines are
    started when a tool asks for one, not before.
    """
    if print_skill:
        click.echo(_skill(), nl=False)
        return 0
    from qa.mcp.address import check_safe, read_address, read_token
    from qa.mcp.grants import Offer

    offer = Offer.read(profile, toolsets, read_only=bool(read_only))
    if http is None and (token_file or hosts):
        raise UsageError("--token-file and --allow-host are for servers over HTTP", hint="add --http")
    address = None if http is None else read_address(http)
    token = read_token(token_file) if address else None
    if print_config:
        _print_setting(print_config, address, offer, has_token=bool(token))
        return 0
    if address:
        check_safe(address, token)
        return _serve_http(address, token, hosts, offer)
    return _serve_stdio(offer)


def _serve_stdio(offer: Offer) -> int:
    if sys.stdin is not None and sys.stdin.isatty():
        click.echo("anima-qa mcp waits for messages of an MCP client on stdin. Ctrl-D ends it.", err=True)
        click.echo("To set up a client: anima-qa mcp --print-config claude-code", err=True)
    from qa.mcp.wire import Wire

    wire = Wire.take()  # before anything can print
    from qa.mcp import stdio
    from qa.mcp.server import build

    try:
        status = stdio.run(build(offer, transport="stdio"), wire)
    except QaError as error:
        print_error(error)
        status = error.exit_code
    stdio.leave(status)
    return status


def _serve_http(address: Address, token: str | None, hosts: tuple[str, ...], offer: Offer) -> int:
    from qa.mcp import http
    from qa.mcp.address import Address, forget_token
    from qa.mcp.server import build

    forget_token()
    listening = http.listen(address)
    bound = Address(address.host, listening.getsockname()[1])
    app = http.application(build(offer, transport="http"), bound, token, hosts)
    click.echo(f"serving MCP at {bound.url}" + (", with a token" if token else ""), err=True)
    return http.run(app, listening)


def _print_setting(client: str, address: Address | None, offer: Offer, *, has_token: bool) -> None:
    from qa.mcp.clients import Start, lasting_environment, setting_for, this_program

    program, *first = this_program()
    start = Start(program, (*first, "mcp", *offer.flags()), lasting_environment(), address, has_token)
    setting = setting_for(client, start)
    click.echo(f"# goes into {setting.place}", err=True)
    if setting.command:
        click.echo(f"# or run: {setting.command}", err=True)
    click.echo(setting.text)


def _skill() -> str:
    from importlib.resources import files

    text: Any = files("qa.mcp").joinpath("data/SKILL.md").read_text(encoding="utf-8")
    return str(text)
