"""Who is there: the machines of all clients by name, what became of those that are gone, and what is to be told."""

from __future__ import annotations

import re

from qa.errors import UsageError
from qa.operations.vm import Vm

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
"""Names of machines: they become parts of file names, and hostnames of forks that get an identity of their own."""

REMEMBERED = 50
"""Machines that are gone, of which it is still told why."""
NEWS = 20
"""Sentences that wait for a client. The oldest go."""


class Roll:
    """The machines of a server."""

    def __init__(self) -> None:
        self._vms: dict[tuple[str, str], Vm] = {}
        self._gone: dict[tuple[str, str], str] = {}
        self._news: dict[str, list[str]] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def get(self, name: str, client: str) -> Vm:
        """The machine of that name.

        Raises:
            UsageError: the client has none of that name; the message says what became of it.
        """
        if vm := self._vms.get((client, name)):
            return vm
        mine = [vm.name for vm in self.of(client)]
        there = f"there are: {', '.join(mine)}" if mine else "boot one first"
        if why := self._gone.get((client, name)):
            raise UsageError(f"{name} is gone: {why}", hint=there)
        raise UsageError(f"there is no machine {name!r}", hint=there)

    def of(self, client: str | None = None) -> list[Vm]:
        """The machines of a client, or of all, the oldest first."""
        return [vm for (owner, _), vm in self._vms.items() if client in (None, owner)]

    def add(self, vm: Vm) -> None:
        """A new one. Its name must be free."""
        self._gone.pop((vm.client, vm.name), None)
        self._vms[vm.client, vm.name] = vm

    def strike(self, vm: Vm) -> None:
        """It is gone."""
        key = (vm.client, vm.name)
        del self._vms[key]
        self._gone[key] = vm.why
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    # names

    def check(self, client: str, *names: str) -> None:
        """See whether new machines may have these names.

        Raises:
            UsageError: one is taken, is none, or is there twice.
        """
        for name in names:
            if not NAME.fullmatch(name):
                hint = "use small letters, digits and hyphens, at most 32, for example web-1"
                raise UsageError(f"{name!r} is no name for a machine", hint=hint)
            if (client, name) in self._vms:
                raise UsageError(f"there is a machine {name!r} already", hint="take another name, or destroy it first")
        if len(set(names)) < len(names):
            raise UsageError("two machines cannot have the same name", hint="give each its own")

    def next_name(self, client: str) -> str:
        """A name that the client has never had: ``vm1``, ``vm2``."""
        return self._number(client, "vm")

    def fork_name(self, vm: Vm) -> str:
        """A name for a fork of ``vm`` that the client has never had: ``web-fork1``."""
        return self._number(vm.client, f"{vm.name[:20]}-fork")

    def _number(self, client: str, stem: str) -> str:
        while True:
            number = self._numbers[client, stem] = self._numbers.get((client, stem), 0) + 1
            key = (client, f"{stem}{number}")
            if key not in self._vms and key not in self._gone:
                return key[1]

    # news

    def note(self, client: str, sentence: str) -> None:
        """Have it told to the client, once."""
        news = self._news.setdefault(client, [])
        if sentence not in news:
            news.append(sentence)
            del news[:-NEWS]

    def news(self, client: str) -> list[str]:
        """What happened to the client's machines by itself since this was asked last: sentences."""
        for vm in self.of(client):
            if vm.fell() and vm.state in {"dead", "off"}:
                self.note(client, f"{vm.name} is {vm.state}: {vm.why}")
        return self._news.pop(client, [])

    def forget(self, client: str) -> None:
        """The client has gone, and nobody will ask."""
        self._news.pop(client, None)
        for key in [key for key in self._gone if key[0] == client]:
            del self._gone[key]
        for key in [key for key in self._numbers if key[0] == client]:
            del self._numbers[key]
