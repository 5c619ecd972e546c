"""How each client is told about this server: what to put where."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa.errors import UsageError
from qa.mcp.address import TOKEN_VARIABLE, Address
from qa.zipapp.gate import CLEAN

NAME = "anima-qa"


@dataclass(frozen=True)
class Setting:
    """What to put into a client's configuration: the text, and for people where it goes and how it is done by command."""

    text: str
    place: str
    command: str = ""


@dataclass(frozen=True)
class Start:
    """How a client starts this server, or reaches one that runs (``address``)."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    address: Address | None = None
    has_token: bool = False


def this_program(argv0: str = sys.argv[0]) -> list[str]:
    """The command that starts this program again, from any folder."""
    path = Path(argv0).absolute()
    if path.name == "__main__.py":
        return [sys.executable, "-m", path.parent.name]
    if path.suffix == ".pyz":
        return [sys.executable, CLEAN, str(path)]
    return [str(path)]


_FOLDERS = {"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"}
_CERTIFICATES = {"SSL_CERT_FILE", "SSL_CERT_DIR"}
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


def lasting_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What we heed in the environment: clients hand on only a few variables, such as HOME and PATH. Secrets are left out, as a
    proxy with a password in it is: configurations are files of projects."""
    wanted = {name for name in environment if name.startswith("ANIMA_QA_")} - {TOKEN_VARIABLE}
    wanted |= (_FOLDERS | _CERTIFICATES) & environment.keys()
    wanted |= {name for name, value in environment.items() if name.upper() in _PROXIES and "@" not in value}
    return {name: environment[name] for name in sorted(wanted) if environment[name]}


def setting_for(client: str, start: Start) -> Setting:
    """What ``client`` needs.

    Raises:
        UsageError: it cannot reach servers over HTTP by its configuration.
    """
    return _CLIENTS[client](start)


def _stdio(start: Start) -> dict[str, Any]:
    entry: dict[str, Any] = {"command": start.command, "args": list(start.arguments)}
    return entry | ({"env": dict(start.environment)} if start.environment else {})


def _http(start: Start, variable: str) -> dict[str, Any]:
    assert start.address
    entry: dict[str, Any] = {"url": start.address.for_clients.url}
    return entry | ({"headers": {"Authorization": f"Bearer {variable}"}} if start.has_token else {})


def _json(key: str, entry: dict[str, Any], **more: Any) -> str:
    return json.dumps({key: {NAME: entry}, **more}, indent=2)


def _claude_code(start: Start) -> Setting:
    if start.address:
        entry = {"type": "http"} | _http(start, f"${{{TOKEN_VARIABLE}}}")
        header = f' --header "Authorization: Bearer ${TOKEN_VARIABLE}"' if start.has_token else ""
        command = f"claude mcp add --transport http {NAME} {start.address.for_clients.url}{header}"
    else:
        entry = {"type": "stdio"} | _stdio(start)
        given = "".join(f" --env {name}={shlex.quote(value)}" for name, value in start.environment.items())
        command = f"claude mcp add {NAME}{given} -- {shlex.join([start.command, *start.arguments])}"
    return Setting(_json("mcpServers", entry), ".mcp.json at the top of your project", command)


def _claude_desktop(start: Start) -> Setting:
    if start.address:
        hint = "leave out --http; or add the address as a custom connector in its settings"
        raise UsageError("Claude Desktop's configuration file knows no servers over HTTP", hint=hint)
    return Setting(_json("mcpServers", _stdio(start)), "claude_desktop_config.json: Settings, Developer, Edit Config")


def _cursor(start: Start) -> Setting:
    entry = _http(start, f"${{env:{TOKEN_VARIABLE}}}") if start.address else _stdio(start)
    return Setting(_json("mcpServers", entry), ".cursor/mcp.json in your project, or ~/.cursor/mcp.json")


def _vscode(start: Start) -> Setting:
    place = ".vscode/mcp.json in your project"
    if not start.address:
        return Setting(_json("servers", {"type": "stdio"} | _stdio(start)), place)
    entry = {"type": "http"} | _http(start, "${input:token}")
    asked = {"inputs": [{"type": "promptString", "id": "token", "description": f"Token of {NAME}", "password": True}]}
    return Setting(_json("servers", entry, **(asked if start.has_token else {})), place)


def _codex(start: Start) -> Setting:
    lines = [f"[mcp_servers.{NAME}]"]
    if start.address:
        lines.append(f"url = {_toml(start.address.for_clients.url)}")
        if start.has_token:
            lines.append(f"bearer_token_env_var = {_toml(TOKEN_VARIABLE)}")
        command = ""
    else:
        lines += [f"command = {_toml(start.command)}", f"args = [{', '.join(map(_toml, start.arguments))}]"]
        lines += ["startup_timeout_sec = 20"]
        given = "".join(f" --env {name}={shlex.quote(value)}" for name, value in start.environment.items())
        command = f"codex mcp add {NAME}{given} -- {shlex.join([start.command, *start.arguments])}"
    lines.append("tool_timeout_sec = 120")
    if start.environment and not start.address:
        lines += ["", f"[mcp_servers.{NAME}.env]", *(f"{name} = {_toml(value)}" for name, value in start.environment.items())]
    return Setting("\n".join(lines), "~/.codex/config.toml", command)


def _toml(text: str) -> str:
    """A basic string of TOML, which is one of JSON but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_CLIENTS = {
    "claude-code": _claude_code,
    "claude-desktop": _claude_desktop,
    "codex": _codex,
    "vscode": _vscode,
    "cursor": _cursor,
}

CLIENTS = tuple(_CLIENTS)
"""Names of the clients whose configuration is known."""
