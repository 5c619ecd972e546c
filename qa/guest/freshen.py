"""A guest that goes on from a frozen state becomes a machine of its own: clock, randomness, and where wanted identity."""

from __future__ import annotations

import secrets
import shlex

from qa.errors import CheckFailed
from qa.guest.channel import Channel
from qa.guest.clock import set_within
from qa.guest.shell import ShellChannel

_RANDOM = """\
printf {seed} >/dev/urandom 2>/dev/null
ls /sys/bus/*/drivers/vmgenid/* >/dev/null 2>&1 && exit 0
perl -e 'open F, ">/dev/urandom"; exit !ioctl F, 0x5207, 0' 2>/dev/null && exit 0
python3 -c 'import fcntl; fcntl.ioctl(open("/dev/urandom", "w"), 0x5207)' 2>/dev/null
"""
"""Renews the kernel's randomness; fails where neither the kernel has seen to it by itself nor a program is there that can."""

_CLOCK = "date -s @{now:.6f} >/dev/null 2>&1 || date -s @{now:.0f} >/dev/null"
"""GNU's date takes parts of a second, BusyBox' leaves them out or refuses them."""

_IDENTITY = """\
set -e
hostname {name} 2>/dev/null || echo {name} >/proc/sys/kernel/hostname
if [ -e /etc/hostname ]; then old=$(cat /etc/hostname); echo {name} >/etc/hostname; else old=; fi
[ -z "$old" ] || [ ! -w /etc/hosts ] || sed -i "s/\\([[:space:]]\\)$old\\([[:space:].]\\|\\$\\)/\\1{name}\\2/g" /etc/hosts
if [ -e /etc/machine-id ]; then
  echo {machine_id} >/etc/machine-id
  [ ! -f /var/lib/dbus/machine-id ] || [ -L /var/lib/dbus/machine-id ] || echo {machine_id} >/var/lib/dbus/machine-id
fi
if ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1; then
  for q in /etc/ssh/ssh_host_*_key; do
    rm -f $q $q.pub $q-cert.pub; q_type=${{q##*ssh_host_}}; ssh-keygen -q -t ${{q_type%_key}} -N '' -C root@{name} -f $q
  done
  for q in ssh sshd; do systemctl try-restart $q.service 2>/dev/null || :; done
fi
if ls /etc/dropbear/dropbear_*_host_key >/dev/null 2>&1; then
  rm -f /etc/dropbear/dropbear_*_host_key
  dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/dev/null 2>&1
fi
"""


async def freshen(channel: Channel, limit: float) -> list[str]:
    """Renew the kernel's randomness and set the clock to the host's.

    Args:
        limit: seconds for the guest's first answer.

    Returns:
        What could not be done, a sentence each.
    """
    if isinstance(channel, ShellChannel) and await channel.freshen():
        return []
    problems = []
    seed = shlex.quote("".join(f"\\{byte:03o}" for byte in secrets.token_bytes(64)))
    if (await channel.run(_RANDOM.format(seed=seed), limit=limit)).exit_code != 0:
        problems.append(
            "its kernel's randomness could not be renewed: machines from the same frozen state may draw equal numbers"
        )

    async def set_clock(now: float) -> bool:
        return (await channel.run(_CLOCK.format(now=now), limit=limit)).exit_code == 0

    if not await set_within(set_clock):
        problems.append("its clock could not be set and shows the time at which it was frozen")
    return problems


async def renew_identity(channel: Channel, name: str, limit: float) -> None:
    """Give a Linux guest another hostname, a machine id and SSH host keys of its own.

    Raises:
        CheckFailed: the guest could not do it; with what it said.
    """
    script = _IDENTITY.format(name=shlex.quote(name), machine_id=secrets.token_hex(16))
    result = await channel.run(script, limit=limit)
    if result.exit_code != 0:
        said = {"the guest said": result.stderr_text.strip() or f"exit code {result.exit_code}"}
        raise CheckFailed(f"the guest could not be given an identity of its own as {name}", evidence=said)
