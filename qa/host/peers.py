"""Who is at the other end of a TCP connection within this host, as the kernel tells it."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Address = tuple[str, int]

_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9
"""Columns of /proc/net/tcp."""


def why_foreign(peer: Address, own: Address, *, proc: Path = Path("/proc"), uid: int | None = None) -> str:
    """Why the program that has connected from ``peer`` to ``own`` is not to be taken for its user's; empty where it is.

    It must be a program of our user or of root's, and neither a QEMU, behind which a guest speaks, nor a child of ours. A socket
    that its program has closed already is nobody's.

    Args:
        uid: our user; that of this process where it is not given.
    """
    uid = os.getuid() if uid is None else uid
    found = _socket(peer, own, proc)
    if found is None:
        return "it cannot be told whose program has connected"
    owner, inode = found
    if inode == 0:
        return "the program that has connected is gone"
    if owner not in {uid, 0}:
        return f"the program that has connected belongs to another user (uid {owner})"
    if any(_may_hold(process, inode) for process in _suspects(owner, proc)):
        return "it comes from a virtual machine"
    return ""


def _socket(peer: Address, own: Address, proc: Path) -> tuple[int, int] | None:
    """The user and the inode of the socket whose own address is ``peer``. It may be of either family."""
    for table in ("tcp", "tcp6"):
        wanted = [_in_table(peer, table), _in_table(own, table)]
        with suppress(OSError), (proc / "net" / table).open(encoding="ascii") as lines:
            for line in lines:
                words = line.split()
                if None not in wanted and words[_LOCAL : _REMOTE + 1] == wanted:
                    return int(words[_UID]), int(words[_INODE])
    return None


def _in_table(address: Address, table: str) -> str | None:
    """``address`` as it is written there; None where it cannot be in there."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if table == "tcp6" and isinstance(ip, ipaddress.IPv4Address):
        ip = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)
    if table == "tcp" and isinstance(ip, ipaddress.IPv6Address):
        return None
    words = [int.from_bytes(ip.packed[at : at + 4], sys.byteorder) for at in range(0, len(ip.packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def _suspects(uid: int, proc: Path) -> Iterator[Path]:
    """The user's processes that are a QEMU, or children of ours, whatever these are called."""
    ours = str(os.getpid()).encode()
    with os.scandir(proc) as entries:
        for entry in entries:
            with suppress(OSError):
                if not entry.name.isdecimal() or entry.stat().st_uid != uid:
                    continue
                process = Path(entry.path)
                name, _, rest = (process / "stat").read_bytes().rpartition(b")")
                if rest.split(None, 2)[1] == ours or b"qemu" in name or "qemu" in _program(process):
                    yield process


def _program(process: Path) -> str:
    try:
        return (process / "exe").readlink().name
    except OSError:
        return ""  # of root's processes others see the name alone


def _may_hold(process: Path, inode: int) -> bool:
    """Whether a process has the socket open, or does not let us see that it has not."""
    try:
        with os.scandir(process / "fd") as entries:
            files = [Path(entry.path) for entry in entries]
    except PermissionError:
        return True
    except OSError:
        return False
    for file in files:
        with suppress(OSError):
            if str(file.readlink()) == f"socket:[{inode}]":
                return True
    return False
