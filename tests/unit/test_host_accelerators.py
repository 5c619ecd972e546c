"""The state of /dev/kvm in words, and the verdict that is remembered."""

from __future__ import annotations

import grp
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from qa.host import accelerators
from qa.host.accelerators import KEPT, Verdict, cpu_model, kvm_device, remember, remembered
from qa.host.qemu import Qemu
from qa.paths import Paths

QEMU = Qemu(Path("/usr/bin/qemu-system-x86_64"), (10, 0, 2), "Debian 1:10", frozenset({"accel:kvm", "accel:tcg"}))
WORKS = Verdict("kvm", True, "the built-in guest answered", "2026-01-01T00:00:00+00:00")
REFUSED = Verdict("kvm", False, "QEMU ended", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


def refuse(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(accelerators.os, "open", fail)


def groups(monkeypatch: pytest.MonkeyPatch, name: str, *, member: bool) -> None:
    """The device belongs to the group ``name``, in which we are or are not."""
    gid = 4711
    real = Path.stat

    def stat(self: Path, **arguments: bool) -> os.stat_result:
        values = list(real(self, **arguments))
        values[0], values[5] = 0o020660, gid
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(accelerators.os, "getgroups", lambda: [gid] if member else [])
    monkeypatch.setattr(accelerators.grp, "getgrgid", lambda _: grp.struct_group((name, "x", gid, [])))


def test_it_opens(device: Path) -> None:
    assert kvm_device(device).state == "opens"


def test_it_is_absent_because_the_module_is_not_loaded(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu svm sse\n")
    found = kvm_device(tmp_path / "none", cpuinfo)
    assert found.state == "absent"
    assert "modprobe kvm_amd" in str(found.hint)
    cpuinfo.write_text("flags\t\t: fpu vmx sse\n")
    assert "modprobe kvm_intel" in str(kvm_device(tmp_path / "none", cpuinfo).hint)


def test_it_is_absent_because_the_processor_has_none(tmp_path: Path) -> None:
    found = kvm_device(tmp_path / "none", tmp_path / "no-cpuinfo")
    assert "the processor shows no hardware virtualisation" in found.detail
    assert "nested" in str(found.hint)


def test_it_is_not_allowed_and_the_group_to_join_is_named(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    groups(monkeypatch, "kvm", member=False)
    found = kvm_device(device)
    assert (found.state, found.detail) == ("denied", f"{device} may not be opened by this user: it is not in the group kvm")
    assert "usermod -aG kvm" in str(found.hint)
    assert "--group-add 4711" in str(found.hint)


def test_it_is_not_allowed_although_the_user_is_in_the_group(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    groups(monkeypatch, "kvm", member=True)
    assert f"chmod g+rw {device}" in str(kvm_device(device).hint)


def test_a_device_of_the_group_root_is_not_a_matter_of_joining(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    groups(monkeypatch, "root", member=False)
    assert "setfacl" in str(kvm_device(device).hint)
    assert "usermod" not in str(kvm_device(device).hint)


def test_a_group_without_a_name(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    groups(monkeypatch, "kvm", member=False)

    def nameless(_: int) -> grp.struct_group:
        raise KeyError

    monkeypatch.setattr(accelerators.grp, "getgrgid", nameless)
    assert "it is not in the group 4711" in kvm_device(device).detail


def test_a_device_without_a_driver(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, OSError(19, "No such device"))
    found = kvm_device(device)
    assert (found.state, found.detail) == ("broken", f"{device} does not open: No such device (ENODEV)")


def test_nothing_is_known_at_first(home: Paths) -> None:
    assert remembered(home, QEMU) is None


@pytest.mark.parametrize("verdict", [WORKS, REFUSED])
def test_a_verdict_is_remembered(home: Paths, verdict: Verdict) -> None:
    remember(home, QEMU, verdict)
    assert remembered(home, QEMU) == verdict


def test_the_newest_verdict_holds(home: Paths) -> None:
    remember(home, QEMU, REFUSED)
    remember(home, QEMU, WORKS)
    assert remembered(home, QEMU) == WORKS


@pytest.mark.parametrize(
    "other",
    [replace(QEMU, version=(10, 0, 3)), replace(QEMU, package="by hand"), replace(QEMU, path=Path("/opt/qemu"))],
)
def test_another_qemu_is_judged_for_itself(home: Paths, other: Qemu) -> None:
    remember(home, QEMU, WORKS)
    assert remembered(home, other) is None


def test_another_kernel_or_processor_is_judged_for_itself(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(home, QEMU, WORKS)
    with monkeypatch.context() as changed:
        changed.setattr(accelerators.platform, "release", lambda: "99.9")
        assert remembered(home, QEMU) is None
    with monkeypatch.context() as changed:
        changed.setattr(accelerators, "cpu_model", lambda: "Another 9000")
        assert remembered(home, QEMU) is None
    assert remembered(home, QEMU) == WORKS


def test_a_refusal_is_forgotten_when_the_host_is_booted_again(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(QEMU, version=(9, 0, 0))
    remember(home, QEMU, REFUSED)
    remember(home, other, WORKS)
    monkeypatch.setattr(accelerators, "boot_id", lambda: "another boot")
    assert remembered(home, QEMU) is None
    assert remembered(home, other) == WORKS


@pytest.mark.parametrize("content", ["", "{", '{"format": 2}', '{"format": 1, "kvm": {"x": {}}}'])
def test_a_broken_file_is_ignored_and_written_anew(home: Paths, content: str) -> None:
    home.verdicts.parent.mkdir(parents=True)
    home.verdicts.write_text(content)
    assert remembered(home, QEMU) is None
    remember(home, QEMU, WORKS)
    assert remembered(home, QEMU) == WORKS


def test_software_emulation_is_not_remembered(home: Paths) -> None:
    remember(home, QEMU, replace(WORKS, accel="tcg"))
    assert not home.verdicts.exists()


def test_old_verdicts_make_room(home: Paths) -> None:
    for minor in range(KEPT + 1):
        remember(home, replace(QEMU, version=(10, minor, 0)), WORKS)
    assert remembered(home, replace(QEMU, version=(10, 0, 0))) is None
    assert remembered(home, replace(QEMU, version=(10, KEPT, 0))) == WORKS
    assert len(json.loads(home.verdicts.read_text())["kvm"]) == KEPT


def test_a_verdict_that_was_renewed_counts_as_new(home: Paths) -> None:
    for minor in range(KEPT):
        remember(home, replace(QEMU, version=(10, minor, 0)), WORKS)
    for minor in (0, KEPT):
        remember(home, replace(QEMU, version=(10, minor, 0)), WORKS)
    assert remembered(home, replace(QEMU, version=(10, 0, 0))) == WORKS
    assert remembered(home, replace(QEMU, version=(10, 1, 0))) is None


def test_a_verdict_that_cannot_be_kept_leaves_nothing_behind(home: Paths) -> None:
    (home.verdicts / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="Is a directory"):
        remember(home, QEMU, WORKS)
    assert list(home.state.iterdir()) == [home.verdicts]


def test_the_processors_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast 9000\n")
    assert cpu_model(cpuinfo) == "Fast 9000"
    assert cpu_model(tmp_path / "none") == os.uname().machine
