"""Where the server listens: read without the libraries that listen."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa.errors import UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8090
PORT_VARIABLE = "QA_MCP_PORT"
TOKEN_VARIABLE = "ANIMA_QA_MCP_TOKEN"  # noqa: S105 -- the name of it
SHORTEST_TOKEN = 16
"""Characters: fewer can be guessed."""


@dataclass(frozen=True)
class Address:
    """A host and a TCP port; port 0 is a free one."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this host can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def for_clients(self) -> Address:
        """The same, by a name that other hosts can use where it stands for all of this host's addresses."""
        return Address(socket.gethostname(), self.port) if self.host in {"0.0.0.0", "::"} else self  # noqa: S104 -- compared

    @property
    def url(self) -> str:
        """Where clients find the server."""
        return f"http://{self}/mcp"


def read_address(text: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address of ``[HOST:]PORT``, or of a host alone; an IPv6 address before a port stands in brackets: ``[::1]:8090``.

    Without a port it is the default one, which ``QA_MCP_PORT`` may change.

    Raises:
        UsageError: it is none.
    """
    host, port = _split(text)
    origin = text
    if not port:
        origin = environment.get(PORT_VARIABLE, "")
        port = origin or str(DEFAULT_PORT)
    if not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise UsageError(
            f"{origin!r} is not a port to listen on", hint="write --http 8090, --http 0.0.0.0:8090, or QA_MCP_PORT=8090"
        )
    return Address(host or DEFAULT_HOST, int(port))


def _split(text: str) -> tuple[str, str]:
    """Host and port as they are written, without brackets; empty where there is none."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if closed and _is_ipv6(host) and rest[:1] in {"", ":"}:
            return host, rest[1:]
    elif _is_ipv6(text):
        return text, ""
    elif text.count(":") <= 1 and not {"[", "]"} & set(text):
        host, colon, port = text.rpartition(":")
        return (host, port) if colon or port.isdecimal() else (port, "")
    raise UsageError(f"{text!r} is no address to listen on", hint="write --http HOST:PORT, and an IPv6 address as [::1]:8090")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token that clients must show: that in ``file``, else that in ``ANIMA_QA_MCP_TOKEN``; None where there is none.

    Raises:
        UsageError: the file cannot be read, others may read it, or the token is too short.
    """
    if file is None:
        token, origin = environment.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not token:
            return None
    else:
        origin = str(file)
        try:
            with file.open(encoding="utf-8") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                token = opened.read(4096)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"cannot read the token in {file}: {why}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and stat.S_ISREG(mode):
            raise UsageError(f"others than you can read the token in {file}", hint=f"chmod 600 {file}")
    token = token.strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"the token from {origin} is no good: it must have {SHORTEST_TOKEN} or more printable characters and no blanks",
            hint="make one with: openssl rand -hex 32",
        )
    return token


def check_safe(address: Address, token: str | None) -> None:
    """Refuse to be open to other hosts without a token.

    Raises:
        UsageError: it would be.
    """
    if token is None and not address.is_local:
        raise UsageError(
            f"{address.host} can be reached from other hosts, and whoever reaches it can use this host: a token is needed",
            hint=f"give --token-file FILE, or set {TOKEN_VARIABLE}; or listen on {DEFAULT_HOST}",
        )


def forget_token() -> None:
    """Take the token out of this process's environment: no child of ours needs it."""
    os.environ.pop(TOKEN_VARIABLE, None)
