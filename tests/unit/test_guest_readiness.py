"""The ladder to readiness, and what the guest says about its own boot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qa.console import SerialConsole
from qa.guest.channel import CommandResult
from qa.guest.readiness import Ladder, cloud_init_errors, wait_for_system


class Says:
    """A channel whose guest always says the same."""

    name = "says"

    def __init__(self, text: str) -> None:
        self._text = text

    async def run(self, command: str, **_: Any) -> CommandResult:
        return CommandResult(command, 0, self._text.encode(), b"", 0.1)

    async def close(self) -> None:
        pass


BOOT = [
    b"\x1b[2J\x1b[01;01H\x1b[=3h",
    b'BdsDxe: starting Boot0001 "UEFI Misc Device"\r\n',
    b"[    0.000000] Linux version 6.12\r\n",
    b"[    2.5] systemd[1]: Detected virtualization\r\n",
    b"vm login: ",
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_each_rung_is_told_once_and_in_order(tmp_path: Path, size: int) -> None:
    console = SerialConsole(tmp_path / "log")
    reached: list[str] = []
    ladder = Ladder(console, reached.append)
    for stream in (b"".join(BOOT), b"".join(BOOT)):
        for start in range(0, len(stream), size):
            console.data_received(stream[start : start + size])
    ladder.close()
    console.close()
    assert reached == ["firmware", "boot loader", "kernel", "init", "login prompt"]


def test_a_closed_ladder_hears_nothing(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "log")
    reached: list[str] = []
    ladder = Ladder(console, reached.append)
    ladder.close()
    ladder.close()
    console.data_received(b"vm login: ")
    console.close()
    assert reached == []


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ("running\n", []),
        ("degraded\nnginx.service\nfoo.mount\n", ["nginx.service", "foo.mount"]),
        ("degraded\n", []),
        ("", []),
    ],
)
async def test_units_that_failed_while_the_system_came_up(said: str, failed: list[str]) -> None:
    assert await wait_for_system(Says(said), 5) == failed


@pytest.mark.parametrize(
    ("said", "is_error"),
    [
        ("", False),
        ("status: done\nerrors: []\n", False),
        ("status: error\nerrors:\n\t- ('runcmd', RuntimeError())\n", True),
        ("status: done\nerrors:\n\t- bad module\n", True),
        ("status: done\nrecoverable_errors:\nWARNING:\n\t- deprecated\n", False),
    ],
)
async def test_what_cloud_init_complains_about(said: str, is_error: bool) -> None:
    assert await cloud_init_errors(Says(said), 5) == (said.strip() if is_error else "")
