"""Forks of a real distribution: firmware variables, clock, randomness, and an identity of their own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from machines import CLOUD_INIT, Driven, Original, original

from qa.deadline import Deadline
from qa.guest.ssh import SshChannel
from qa.machine import Machine
from qa.paths import Paths

pytestmark = pytest.mark.asyncio(loop_scope="module")

VARIABLES = "/sys/firmware/efi/efivars"
VARIABLE = f"{VARIABLES}/Mark-5c9ff1a2-7f2e-4d0b-9a53-2f1b6f0f7c11"
IDENTITY = "hostname; cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_*_key.pub"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(shared_home: Paths, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    folder = tmp_path_factory.mktemp("original")
    async with original(shared_home, folder, "debian", CLOUD_INIT, identity="renew") as booted:
        yield booted


@pytest_asyncio.fixture(loop_scope="module")
async def vm(booted: Original, tmp_path: Path) -> AsyncIterator[Driven]:
    async with booted.fork(tmp_path) as vm:
        yield vm


async def said(machine: Machine, command: str) -> str:
    return (await machine.succeed(command)).stdout_text.strip()


async def test_forks_are_the_same_machine_and_see_nothing_of_each_other(vm: Driven) -> None:
    nonce, mark = secrets.token_hex(8), secrets.token_hex(16)
    await vm("succeed", f"echo {nonce} > /run/nonce; grep -q efivarfs /proc/mounts || mount -t efivarfs efivarfs {VARIABLES}")
    boot = await said(vm.machine, "cat /proc/sys/kernel/random/boot_id")
    first, second = await vm.machine.fork(2)
    for fork in (first, second):
        assert await said(fork, "cat /run/nonce /proc/sys/kernel/random/boot_id") == f"{nonce}\n{boot}"
    await first.succeed(f"printf '\\007\\000\\000\\000{mark}' > {VARIABLE}; echo {mark} > /root/mark; sync")
    assert mark.encode() in first.setup.variables.read_bytes()
    for other in (vm.machine, second):
        assert mark.encode() not in other.setup.variables.read_bytes()
        assert not await said(other, f"ls {VARIABLE} /root/mark 2>/dev/null || true")
    [grandchild] = await first.fork()
    assert await said(grandchild, f"tail -c 32 {VARIABLE}; cat /root/mark") == mark + mark


async def test_forks_have_an_identity_clock_and_randomness_of_their_own(vm: Driven) -> None:
    await vm("succeed", "date -s '2001-02-03 04:05:06'")
    machines = [vm.machine, *await vm.machine.fork(2)]
    drawn = await asyncio.gather(*(said(machine, "head -c 16 /dev/urandom | od -An -tx1") for machine in machines))
    assert len(set(drawn)) == 3
    for fork in machines[1:]:
        before = time.time()
        clock = float(await said(fork, "date +%s.%N"))
        assert before - 2 <= clock <= time.time() + 2  # a busy host sets it late; without, it is years behind
    identities = [(await said(machine, IDENTITY)).splitlines() for machine in machines]
    assert [lines[:2] for lines in identities] == [[name, name] for name in ("vm", "vm-fork1", "vm-fork2")]
    for lines in zip(*identities, strict=True):
        assert len(set(lines)) == 3
    assert await said(machines[1], "systemctl is-active ssh && getent hosts $(hostname) | head -c 3")


async def test_ssh_into_a_fork_finds_the_host_key_that_it_has_now(vm: Driven) -> None:
    [fork] = await vm.machine.fork()
    keys = [await said(machine, "cat /etc/ssh/ssh_host_ed25519_key.pub") for machine in (vm.machine, fork)]
    assert keys[0] != keys[1]
    for machine in (vm.machine, fork):
        vitals, factor = machine._on().vitals, machine.setup.factor
        connecting = SshChannel.connect(
            machine.setup.ssh, machine.forwards[22], vitals=vitals, factor=factor, tell=lambda _: None
        )
        channel = await vitals.guard(connecting, Deadline.after(60, factor), "SSH")
        assert (await channel.run("hostname", limit=60)).stdout_text.strip() == machine.name
        await channel.close()
