"""The way into a guest: whichever channel it offers, the best first."""

from __future__ import annotations

import asyncio
from typing import Any

from qa.console.serial import SerialConsole
from qa.errors import QaError, UsageError
from qa.guest.channel import Channel
from qa.guest.shell import ShellChannel
from qa.guest.vitals import Vitals

BETTER_WAY = 10.0
"""Seconds, before the factor, that a better channel gets when a lesser one is there first: the shell is quicker than SSH."""


async def find_way_in(
    choice: str,
    *,
    shell: ShellChannel,
    ssh: Any,
    ssh_port: int | None,
    login: Any,
    console: SerialConsole,
    vitals: Vitals,
    factor: float,
    tried: dict[str, str],
) -> Channel:
    """The channel that ``choice`` names, or for ``auto`` the best one that the guest offers: shell, then SSH, then login.

    Never ends by itself when there is no way in: the caller guards it. ``tried`` is kept up to date with how each stands.

    Raises:
        UsageError: the choice needs something that the machine does not have.
    """
    ways: dict[str, asyncio.Task[Channel]] = {}
    tried.clear()
    if choice in {"auto", "shell"}:
        tried["shell"] = "no shell has answered on the virtio console"
        ways["shell"] = asyncio.create_task(_shell(shell))
    if choice in {"auto", "ssh"} and ssh is not None and ssh_port is not None:
        from qa.guest.ssh import SshChannel  # noqa: PLC0415 -- costs 0.2 s, and most machines never need it

        connecting = SshChannel.connect(ssh, ssh_port, vitals=vitals, factor=factor, tell=lambda how: tried.update(ssh=how))
        ways["ssh"] = asyncio.create_task(connecting)
    if choice in {"auto", "serial"} and login is not None:
        from qa.guest.login import LoginChannel  # noqa: PLC0415

        logging_in = LoginChannel.log_in(
            console,
            user=login.user,
            password=login.password,
            vitals=vitals,
            factor=factor,
            tell=lambda how: tried.update(login=how),
        )
        ways["login"] = asyncio.create_task(logging_in)
    if not ways:
        what = "a network" if choice == "ssh" else "machine: {login: {user: ..., password: ...}}"
        raise UsageError(f"channel {choice!r} needs {what}")
    try:
        return await _best_of(ways, BETTER_WAY * factor, tried)
    finally:
        for way in ways.values():
            if way.done() and not way.cancelled() and way.exception() is None:
                await way.result().close()
            way.cancel()


async def go_on_with(
    name: str, *, shell: ShellChannel, ssh: Any, ssh_port: int | None, console: SerialConsole, vitals: Vitals, factor: float
) -> Channel:
    """The channel ``name`` of a guest that was frozen with it and goes on. Connections are made anew; shells went on with it.

    Never ends by itself when there is no way in: the caller guards it.

    Raises:
        UsageError: the machine does not have what it needs.
    """
    if name == "ssh":
        from qa.guest.ssh import SshChannel  # noqa: PLC0415 -- see above

        if ssh is None or ssh_port is None:
            raise UsageError("channel 'ssh' needs a network")
        return await SshChannel.connect(ssh, ssh_port, vitals=vitals, factor=factor, tell=lambda _: None)
    if name == "serial":
        from qa.guest.login import LoginChannel  # noqa: PLC0415 -- see above

        return LoginChannel(console, vitals, factor)
    await shell.wait_until_there()
    return shell


async def _best_of(ways: dict[str, asyncio.Task[Channel]], patience: float, tried: dict[str, str]) -> Channel:
    """The first of ``ways`` to succeed; a better one, which stands before it, gets ``patience`` to come as well.

    The one that is taken leaves ``ways``; one that fails is noted, and is the error only when it was the last.
    """
    while True:
        await asyncio.wait(ways.values(), return_when=asyncio.FIRST_COMPLETED)
        for name, way in tuple(ways.items()):
            if way.done() and isinstance(error := way.exception(), QaError):
                del ways[name]
                tried[name] = error.message
                if not ways:
                    raise error
        if any(way.done() for way in ways.values()):
            break
    best = next(iter(ways.values()))
    if not best.done():
        await asyncio.wait({best}, timeout=patience)
    done = [name for name, way in ways.items() if way.done()]
    name = next((name for name in done if ways[name].exception() is None), done[0])
    return ways.pop(name).result()


async def _shell(shell: ShellChannel) -> Channel:
    await shell.wait_until_there()
    return shell
