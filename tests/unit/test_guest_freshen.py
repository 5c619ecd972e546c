"""A thawed guest of its own: clock, randomness, identity. What would change this host runs in namespaces only."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from qa.errors import CheckFailed
from qa.guest.channel import Channel, CommandResult
from qa.guest.clock import CLOCK_ERROR, TRIES, set_within
from qa.guest.freshen import freshen, renew_identity
from qa.guest.shell import ShellChannel


@dataclass
class Guest:
    """A channel that notes what it is to run, and answers with exit codes by what the command has in it."""

    fails: tuple[str, ...] = ()
    stderr: bytes = b""
    ran: list[str] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    async def run(self, command: str, limit: float) -> CommandResult:
        self.ran.append(command)
        self.limits.append(limit)
        code = 1 if any(text in command for text in self.fails) else 0
        return CommandResult(command, code, b"", self.stderr, 0.01)

    @property
    def channel(self) -> Channel:
        return cast("Channel", self)


async def test_randomness_and_clock_are_renewed_over_any_channel() -> None:
    guest = Guest()
    began = time.time()
    assert await freshen(guest.channel, 7.0) == []
    random, clock = guest.ran[0], guest.ran[-1]
    assert "/dev/urandom" in random
    assert began - 1 <= float(clock.split("@")[1].split()[0]) <= time.time() + 1
    assert set(guest.limits) == {7.0}


async def test_the_seed_never_repeats() -> None:
    guests = [Guest() for _ in range(20)]
    for guest in guests:
        await freshen(guest.channel, 1.0)
    seeds = {shlex.split(guest.ran[0].splitlines()[0])[1] for guest in guests}
    assert len(seeds) == 20
    assert {seed.count("\\") for seed in seeds} == {64}


@pytest.mark.parametrize(
    ("fails", "problems"),
    [
        (("/dev/urandom",), ["randomness could not be renewed"]),
        (("date",), ["clock could not be set"]),
        (("/dev/urandom", "date"), ["randomness could not be renewed", "clock could not be set"]),
    ],
)
async def test_what_could_not_be_done_is_told(fails: tuple[str, ...], problems: list[str]) -> None:
    told = await freshen(Guest(fails).channel, 1.0)
    assert len(told) == len(problems)
    for sentence, text in zip(told, problems, strict=True):
        assert text in sentence


@pytest.mark.parametrize("works", [True, False])
async def test_the_shell_has_a_quicker_way(monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    ran: list[str] = []
    shell = ShellChannel.__new__(ShellChannel)

    async def quick() -> bool:
        return works

    async def run(command: str, limit: float) -> CommandResult:
        ran.append(command)
        return CommandResult(command, 0, b"", b"", 0.01)

    monkeypatch.setattr(shell, "freshen", quick)
    monkeypatch.setattr(shell, "run", run)
    assert await freshen(shell, 1.0) == []
    assert bool(ran) is not works


def test_the_clock_s_command_falls_back_to_whole_seconds(tmp_path: Path) -> None:
    """Played with a date that notes what it is asked and knows no parts of a second, as BusyBox'."""
    from qa.guest.freshen import _CLOCK

    date = tmp_path / "date"
    date.write_text('#!/bin/sh\necho "$*" >> "$0.asked"\ncase $2 in *.*) exit 1;; esac\n')
    date.chmod(0o755)
    subprocess.run(["sh", "-c", _CLOCK.format(now=1795184377.75)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    assert (tmp_path / "date.asked").read_text().splitlines() == ["-s @1795184377.750000", "-s @1795184378"]


# the clock


class Clock:
    """A guest's clock behind a way of ``delays`` seconds there and back again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *delays: tuple[float, float]) -> None:
        self.now = 1000.0
        self.error = 99.0
        self.tries = 0
        self._delays = [*delays]
        monkeypatch.setattr(time, "time", lambda: self.now)

    async def set(self, to: float) -> bool:
        there, back = self._delays.pop(0) if len(self._delays) > 1 else self._delays[0]
        self.tries += 1
        self.now += there
        self.error = abs(to - self.now)
        self.now += back
        return True


@pytest.mark.parametrize(
    ("delays", "tries"),
    [
        ([(0.001, 0.001)], 1),
        ([(0.02, 0.02)], 1),
        ([(0.14, 0.01), (0.005, 0.005)], 3),
        ([(0.1, 0.1), (0.1, 0.1)], TRIES),
        ([(1.0, 1.0)], TRIES),
    ],
)
async def test_the_clock_is_right_however_slow_the_way(
    monkeypatch: pytest.MonkeyPatch, delays: list[tuple[float, float]], tries: int
) -> None:
    clock = Clock(monkeypatch, *delays)
    assert await set_within(clock.set)
    assert clock.error <= CLOCK_ERROR + 1e-9
    assert clock.tries <= tries


async def test_a_clock_that_cannot_be_set_is_not_tried_again() -> None:
    tried: list[float] = []

    async def refuse(now: float) -> bool:
        tried.append(now)
        return False

    assert not await set_within(refuse)
    assert len(tried) == 1


# identity

SHELLS = [["bash"], ["dash"], ["busybox", "sh"]]


class Etc:
    """A guest's ``/etc``, in place of this host's for one script, in namespaces of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc"
        self.folder.mkdir()
        for name in ("passwd", "group"):
            (self.folder / name).write_text(Path("/etc", name).read_text())
        (self.folder / "hostname").write_text("old\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1\told.example.org old\n10.0.0.1 older not-old\n")
        (self.folder / "machine-id").write_text("0" * 32 + "\n")
        programs = folder / "bin"
        programs.mkdir()
        (programs / "systemctl").write_text("#!/bin/sh\necho $* >>/etc/restarted\n")  # never this host's
        (programs / "systemctl").chmod(0o755)
        self.path = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"

    def run(self, shell: list[str], script: str) -> subprocess.CompletedProcess[bytes]:
        flags = ["--mount", "--uts", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        inside = f'mount --make-rprivate / && mount --bind {self.folder} /etc && hostname old && "$@" && hostname >/etc/now'
        command = ["unshare", *flags, "sh", "-c", inside, "sh", *shell, "-c", script]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, env={"PATH": self.path})

    def __getitem__(self, name: str) -> str:
        return (self.folder / name).read_text()


async def script_for(name: str) -> str:
    guest = Guest()
    await renew_identity(guest.channel, name, 1.0)
    return guest.ran[0]


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_guest_gets_a_name_and_an_id_of_its_own(tmp_path: Path, shell: list[str]) -> None:
    etc = Etc(tmp_path)
    ran = await asyncio.to_thread(etc.run, shell, await script_for("web-fork1"))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert etc["hostname"] == etc["now"] == "web-fork1\n"
    assert etc["hosts"].splitlines()[1:] == ["127.0.1.1\tweb-fork1.example.org web-fork1", "10.0.0.1 older not-old"]
    assert len(etc["machine-id"].strip()) == 32
    assert etc["machine-id"] != "0" * 32 + "\n"


async def test_a_guest_without_any_of_it(tmp_path: Path) -> None:
    etc = Etc(tmp_path)
    for name in ("hostname", "hosts", "machine-id"):
        (etc.folder / name).unlink()
    ran = await asyncio.to_thread(etc.run, ["dash"], await script_for("web"))
    assert (ran.returncode, etc["now"]) == (0, "web\n")
    assert not (etc.folder / "hostname").exists()
    assert not (etc.folder / "machine-id").exists()


async def test_ssh_host_keys_are_made_anew_and_none_of_the_old_is_left(tmp_path: Path) -> None:
    etc = Etc(tmp_path)
    (etc.folder / "ssh").mkdir()
    for name in ("ed25519_key", "ed25519_key.pub", "ed25519_key-cert.pub", "ecdsa_key", "ecdsa_key.pub"):
        (etc.folder / "ssh" / f"ssh_host_{name}").write_text("old")
    ran = await asyncio.to_thread(etc.run, ["dash"], await script_for("web"))
    assert ran.returncode == 0
    assert "PRIVATE KEY" in etc["ssh/ssh_host_ed25519_key"]
    assert etc["ssh/ssh_host_ed25519_key.pub"].startswith("ssh-ed25519 ")
    assert etc["ssh/ssh_host_ecdsa_key.pub"].startswith("ecdsa-sha2-")
    assert len(list((etc.folder / "ssh").iterdir())) == 4  # of the kinds that there were, and nothing else
    assert etc["restarted"].splitlines() == ["try-restart ssh.service", "try-restart sshd.service"]


async def test_a_guest_that_has_no_ssh_keys_gets_none(tmp_path: Path) -> None:
    etc = Etc(tmp_path)
    (etc.folder / "ssh").mkdir()
    await asyncio.to_thread(etc.run, ["dash"], await script_for("web"))
    assert list((etc.folder / "ssh").iterdir()) == []


async def test_no_two_get_the_same_id() -> None:
    scripts = {await script_for("web") for _ in range(20)}
    assert len(scripts) == 20


@pytest.mark.parametrize(("stderr", "said"), [(b" read-only file system\n", "read-only file system"), (b"", "exit code 1")])
async def test_a_guest_that_cannot_do_it(stderr: bytes, said: str) -> None:
    with pytest.raises(CheckFailed, match="could not be given an identity of its own as web") as caught:
        await renew_identity(Guest(("hostname",), stderr).channel, "web", 1.0)
    assert caught.value.evidence == {"the guest said": said}


def test_this_host_kept_its_name(tmp_path: Path) -> None:
    """The tests above must not reach it."""
    before: Any = os.uname().nodename
    Etc(tmp_path).run(["dash"], "hostname other")
    assert os.uname().nodename == before
