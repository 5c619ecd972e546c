"""Which way into the guest is taken, and what is told of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qa.console import SerialConsole
from qa.errors import ChannelLost, UsageError
from qa.guest import entry
from qa.guest.entry import find_way_in
from qa.guest.login import LoginChannel
from qa.guest.shell import ShellChannel
from qa.guest.ssh import SshChannel
from qa.guest.vitals import Vitals


class Way:
    """A channel that a test opens, or lets fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.there: asyncio.Future[Way] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.given_up = False

    def open(self) -> None:
        self.there.set_result(self)

    def refuse(self, why: str) -> None:
        self.there.set_exception(UsageError(why))

    async def come(self, *_: Any, **__: Any) -> Way:
        try:
            return await asyncio.shield(self.there)
        except asyncio.CancelledError:
            self.given_up = True
            raise

    async def wait_until_there(self) -> None:
        await self.come()

    async def close(self) -> None:
        self.closed = True


class Guest:
    def __init__(self, console: SerialConsole) -> None:
        self.shell, self.ssh, self.login = Way("shell"), Way("ssh"), Way("login")
        self.tried: dict[str, str] = {}
        self._console = console

    def find(self, choice: str = "auto", *, ssh: bool = True, login: bool = True, port: int | None = 2222) -> asyncio.Task[Any]:
        return asyncio.create_task(
            find_way_in(
                choice,
                shell=cast("ShellChannel", self.shell),
                ssh=object() if ssh else None,
                ssh_port=port,
                login=SimpleNamespace(user="root", password="") if login else None,
                console=self._console,
                vitals=Vitals("vm", self._console),
                factor=1.0,
                tried=self.tried,
            )
        )


@pytest.fixture
def console(tmp_path: Path) -> Iterator[SerialConsole]:
    console = SerialConsole(tmp_path / "console.log")
    yield console
    console.close()


@pytest.fixture
async def guest(console: SerialConsole, monkeypatch: pytest.MonkeyPatch) -> Guest:
    guest = Guest(console)
    monkeypatch.setattr(SshChannel, "connect", guest.ssh.come)
    monkeypatch.setattr(LoginChannel, "log_in", guest.login.come)
    return guest


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_shell_is_taken_and_the_others_given_up(guest: Guest) -> None:
    finding = guest.find()
    await turns()
    guest.shell.open()
    assert await finding is guest.shell
    await turns()
    assert (guest.ssh.given_up, guest.login.given_up) == (True, True)


async def test_a_better_way_gets_time_when_a_lesser_one_is_there_first(guest: Guest) -> None:
    finding = guest.find()
    await turns()
    guest.login.open()
    await turns()
    assert not finding.done()
    guest.shell.open()
    assert await finding is guest.shell
    assert guest.login.closed


async def test_after_that_time_the_lesser_way_is_taken(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "BETTER_WAY", 0.01)
    guest.ssh.open()
    assert await guest.find() is guest.ssh
    assert not guest.ssh.closed


async def test_of_two_that_are_there_the_better_one_is_taken(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "BETTER_WAY", 0.01)
    guest.login.open()
    guest.ssh.open()
    assert await guest.find() is guest.ssh
    assert guest.login.closed


@pytest.mark.parametrize("choice", ["shell", "ssh", "serial"])
async def test_a_choice_is_kept(guest: Guest, choice: str) -> None:
    for way in (guest.shell, guest.ssh, guest.login):
        way.open()
    chosen = {"shell": guest.shell, "ssh": guest.ssh, "serial": guest.login}[choice]
    assert await guest.find(choice) is chosen


@pytest.mark.parametrize(("choice", "lacks"), [("ssh", {"ssh": False}), ("ssh", {"port": None}), ("serial", {"login": False})])
async def test_a_choice_that_the_machine_does_not_offer_is_the_users_error(
    guest: Guest, choice: str, lacks: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=f"channel '{choice}' needs"):
        await guest.find(choice, **lacks)


async def test_a_way_that_fails_does_not_end_the_others(guest: Guest) -> None:
    finding = guest.find()
    await turns()
    guest.login.refuse("the guest refuses the login")
    await turns()
    assert not finding.done()
    assert guest.tried["login"] == "the guest refuses the login"
    guest.shell.open()
    assert await finding is guest.shell


async def test_a_better_way_that_fails_in_its_time_leaves_the_lesser_one(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "BETTER_WAY", 0.05)
    finding = guest.find()
    guest.login.open()
    await turns()
    guest.ssh.refuse("the guest refuses our key")
    assert await finding is guest.login


async def test_the_last_way_that_fails_is_the_error(guest: Guest) -> None:
    guest.ssh.there.set_exception(ChannelLost("vm: no way in by SSH"))
    with pytest.raises(ChannelLost, match="no way in by SSH"):
        await guest.find("ssh")


async def test_giving_up_gives_all_ways_up(guest: Guest) -> None:
    finding = guest.find()
    await turns()
    finding.cancel()
    await asyncio.wait({finding})
    await turns()
    assert [way.given_up for way in (guest.shell, guest.ssh, guest.login)] == [True, True, True]
