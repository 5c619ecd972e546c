"""Memory, processors and disk, with the limits of control groups; against folders that play /proc and /sys."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from qa.host.resources import Resources, free_space, resources, use_all_descriptors

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of 8 processors and 8000 MiB, 6000 of them available."""
    write(
        tmp_path / "proc/meminfo",
        f"MemTotal: {8000 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {6000 * 1024} kB\nHugePages_Total: 0\n",
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def group(folder: Path, **files: str | int) -> None:
    for name, text in files.items():
        write(folder / name.replace("__", "."), f"{text}\n")


def test_a_host_without_limits(root: Path) -> None:
    assert resources(root) == Resources(memory=6000 * MIB, memory_total=8000 * MIB, cpus=8)


def test_an_old_kernel_that_does_not_tell_what_is_available(root: Path) -> None:
    write(root / "proc/meminfo", "MemTotal: 2048 kB\nMemFree: 1024 kB\n")
    assert resources(root).memory == MIB


def test_a_limit_of_version_2(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/job\n")
    group(root / "sys/fs/cgroup/job", memory__max=1000 * MIB, memory__current=300 * MIB, cpu__max="150000 100000")
    found = resources(root)
    assert (found.memory, found.memory_total, found.cpus) == (700 * MIB, 1000 * MIB, 2)


def test_what_is_cached_can_be_had(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/job\n")
    stat = f"anon 5\nactive_file {90 * MIB}\ninactive_file {200 * MIB}"
    group(root / "sys/fs/cgroup/job", memory__max=1000 * MIB, memory__current=300 * MIB, memory__stat=stat)
    assert resources(root).memory == 900 * MIB


def test_the_tightest_of_the_groups_around_us_counts(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/slice/job\n")
    group(root / "sys/fs/cgroup/slice/job", memory__max="max", memory__current=1, cpu__max="max 100000")
    group(root / "sys/fs/cgroup/slice", memory__max=500 * MIB, memory__current=0, cpu__max="300000 100000")
    found = resources(root)
    assert (found.memory_total, found.cpus) == (500 * MIB, 3)


def test_a_container_that_sees_its_own_group_as_the_root(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/docker/0123456789\n")
    group(root / "sys/fs/cgroup", memory__max=700 * MIB, memory__current=0)
    assert resources(root).memory_total == 700 * MIB


def test_limits_of_version_1(root: Path) -> None:
    write(root / "proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n3:pids:/job\n0::/\n")
    group(root / "sys/fs/cgroup/memory/job", memory__limit_in_bytes=900 * MIB, memory__usage_in_bytes=100 * MIB)
    group(root / "sys/fs/cgroup/cpu,cpuacct/job", cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    found = resources(root)
    assert (found.memory, found.memory_total, found.cpus) == (800 * MIB, 900 * MIB, 1)


def test_version_1_without_a_limit(root: Path) -> None:
    write(root / "proc/self/cgroup", "5:cpu:/job\n4:memory:/job\n")
    group(root / "sys/fs/cgroup/memory/job", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=100 * MIB)
    group(root / "sys/fs/cgroup/cpu/job", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    found = resources(root)
    assert (found.memory, found.memory_total, found.cpus) == (6000 * MIB, 8000 * MIB, 8)


def test_more_in_use_than_allowed_is_nothing_left(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/job\n")
    group(root / "sys/fs/cgroup/job", memory__max=100, memory__current=200)
    assert resources(root).memory == 0


def test_affinity_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert resources(root).cpus == 1


def test_free_space_of_a_folder_that_is_yet_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = shutil.disk_usage

    def usage(folder: Path) -> object:
        asked.append(folder)
        return real(folder)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_space(tmp_path / "a" / "b") > 0
    assert asked == [tmp_path]


def test_all_descriptors_that_are_allowed_are_used() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        use_all_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
