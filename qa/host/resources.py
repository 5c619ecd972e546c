"""How much of this host we may use: memory, processors and disk, with the limits of containers."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """What this process may use.

    Attributes:
        memory: bytes that can be had now without swapping, within the limits of all control groups around us.
        memory_total: bytes that there are at most, within the same limits.
        cpus: processors that may be used, at least 1; a quota of 1.5 counts as 2.
    """

    memory: int
    memory_total: int
    cpus: int


def resources(root: Path = Path("/")) -> Resources:
    """Those of this process. ``root`` is where ``proc``, ``sys`` and ``dev`` are looked for."""
    available, total = _meminfo(root / "proc/meminfo")
    for limit, used in _memory_limits(root):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    cpus = len(os.sched_getaffinity(0))
    quotas = [math.ceil(quota) for quota in _cpu_quotas(root)]
    return Resources(available, total, max(1, min([cpus, *quotas])))


def use_all_descriptors() -> None:
    """Let this process and its children open as many files as the system allows: every frozen layer is kept open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_space(folder: Path) -> int:
    """Bytes that an ordinary user may still write in ``folder``, or in what will hold it when it does not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _meminfo(file: Path) -> tuple[int, int]:
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in file.read_text("ascii").splitlines())}
    total = int(fields["MemTotal"][0]) * 1024
    available = fields.get("MemAvailable") or fields["MemFree"]
    return int(available[0]) * 1024, total


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group around us that limits memory; what can be dropped at once is not in use."""
    for group in _groups(root, "memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is not None:
            reclaimable = _stat(group / "memory.stat", "inactive_file", "total_inactive_file")
            yield limit, max(0, (used or 0) - reclaimable)


def _cpu_quotas(root: Path) -> Iterator[float]:
    for group in _groups(root, "cpu"):
        quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        words = _text(group / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            quota, period = int(words[0]), int(words[1])
        if quota and period and quota > 0:
            yield quota / period


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Our control group and all those around it, version 2 and version 1.

    A container often sees its own group as the root while ``/proc/self/cgroup`` names it by the path outside; then only the
    root is there to be read.
    """
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = next((b for b in (mount / controllers, mount / controller) if b.is_dir()), mount) if controllers else mount
        group = base / path.lstrip("/")
        while group != base and base in group.parents:
            yield group
            group = group.parent
        yield base


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _stat(file: Path, *names: str) -> int:
    fields = dict(line.split(" ", 1) for line in _text(file).splitlines() if " " in line)
    return max((int(fields[name]) for name in names if fields.get(name, "").isdigit()), default=0)
