"""What the doctor says about each thing, and what it makes of the whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qa.doctor.judge import Choice, Trial
from qa.doctor.report import (
    ENOUGH_MEMORY,
    GIB,
    LEAST_MEMORY,
    NEEDED_FEATURES,
    NEWER_FEATURES,
    Attempt,
    Check,
    Report,
    check_accelerator,
    check_attempt,
    check_helpers,
    check_qemu,
    check_system,
    check_warm_starts,
)
from qa.errors import HostError, QaError, QemuExited, ToolMissing
from qa.host.accelerators import KvmDevice
from qa.host.helpers import HELPERS, Found
from qa.host.qemu import Qemu
from qa.host.resources import Resources
from qa.snapshots.store import Store

PLENTY = Resources(memory=8 * GIB, memory_total=16 * GIB, cpus=4)
QEMU = Qemu(Path("/usr/bin/qemu"), (10, 2, 0), "Debian 1:10.2", frozenset({*NEEDED_FEATURES, *NEWER_FEATURES, "accel:tcg"}))
OPENS = KvmDevice("opens", "/dev/kvm opens")


def by_name(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def system(resources: Resources, cache: Path) -> dict[str, Check]:
    return by_name(check_system(resources, cache))


def test_a_good_host_has_nothing_to_complain_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.doctor.report.free_space", lambda _: 100 * GIB)
    checks = system(PLENTY, tmp_path / "cache")
    assert {check.status for check in checks.values()} == {"ok"}
    assert "4 processors" in checks["system"].detail
    assert checks["memory"].detail == "8.0 GiB of 16.0 GiB available"


@pytest.mark.parametrize(
    ("memory", "status", "needed"),
    [(ENOUGH_MEMORY, "ok", True), (ENOUGH_MEMORY - 1, "warning", False), (LEAST_MEMORY - 1, "missing", True)],
)
def test_memory(tmp_path: Path, memory: int, status: str, needed: bool) -> None:
    check = system(replace(PLENTY, memory=memory), tmp_path)["memory"]
    assert (check.status, check.needed) == (status, needed)
    assert (check.hint is None) is (status == "ok")


def test_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.doctor.report.free_space", lambda _: GIB)
    check = system(PLENTY, tmp_path)["cache folder"]
    assert (check.status, check.detail) == ("warning", f"1.0 GiB free for {tmp_path}")
    assert "image prune" in str(check.hint)


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = system(PLENTY, tmp_path / "file" / "cache")["cache folder"]
    assert (check.status, check.needed) == ("missing", True)
    assert f"({tmp_path / 'file'} does not allow it)" in check.detail


def test_warm_starts(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", 1 << 30)
    check = check_warm_starts(QEMU, store, None)
    assert (check.status, check.detail) == ("ok", f"nothing is kept yet in {tmp_path}/store")
    with store.draft("template", key="k", title="t") as draft:
        (draft.folder / "memory").write_bytes(b"x" * (5 << 20))
        draft.commit()
    assert check_warm_starts(QEMU, store, None).detail == f"5 MiB of 1.0 GiB in {tmp_path}/store"
    denied = check_warm_starts(QEMU, store, "Operation not permitted")
    assert (denied.status, denied.needed) == ("warning", False)
    assert "ptrace_scope" in str(denied.hint)
    old = check_warm_starts(replace(QEMU, features=frozenset()), store, None)
    assert (old.status, old.hint) == ("warning", "QEMU 8.2 and newer can")
    store.root.chmod(0o777)
    open_to_all = check_warm_starts(QEMU, store, None)
    assert (open_to_all.status, "can be written to by others" in open_to_all.detail) == ("warning", True)


def test_a_complete_qemu() -> None:
    checks = by_name(check_qemu(QEMU))
    assert checks["QEMU"] == Check("QEMU", "ok", "10.2.0 (Debian 1:10.2) at /usr/bin/qemu", needed=True)
    assert checks["QEMU features"].detail == "has file-migration, exit-with-parent"


def test_what_an_older_qemu_does_not_have_yet_is_named_with_its_version() -> None:
    old = replace(QEMU, package="", features=frozenset(NEEDED_FEATURES))
    checks = by_name(check_qemu(old))
    assert checks["QEMU"].detail == "10.2.0 at /usr/bin/qemu"
    assert checks["QEMU features"].status == "ok"
    assert checks["QEMU features"].detail.endswith("not yet file-migration (QEMU 8.2), exit-with-parent (QEMU 10.2)")


@pytest.mark.parametrize("feature", NEEDED_FEATURES)
def test_a_qemu_that_lacks_what_every_machine_has(feature: str) -> None:
    check = by_name(check_qemu(replace(QEMU, features=QEMU.features - {feature})))["QEMU features"]
    assert (check.status, check.needed, check.detail) == ("missing", True, f"no {feature}")
    assert check.hint


def test_no_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = by_name(check_qemu(ToolMissing("QEMU is not installed", hint="get it")))
    assert checks["QEMU"] == Check("QEMU", "missing", "QEMU is not installed", "get it", needed=True)
    assert checks["qemu-img"].status == "missing"
    assert "QEMU features" not in checks


def test_kvm_is_fine() -> None:
    assert check_accelerator(Choice("kvm", "KVM: it runs"), OPENS) == Check("accelerator", "ok", "KVM: it runs", needed=True)


def test_software_emulation_is_a_warning_that_does_not_stop_anybody() -> None:
    check = check_accelerator(Choice("tcg", "TCG, because KVM does not work here"), OPENS)
    assert (check.status, check.detail, check.needed) == ("warning", "TCG, because KVM does not work here", True)
    assert "doctor --boot" in str(check.hint)


def test_what_to_do_about_the_device_comes_first() -> None:
    denied = KvmDevice("denied", "not allowed", "join the group kvm")
    assert check_accelerator(Choice("tcg", "TCG"), denied).hint == "join the group kvm"


def test_a_warning_about_the_choice_is_told() -> None:
    check = check_accelerator(Choice("tcg", "TCG", "QEMU is old"), OPENS)
    assert (check.status, check.detail) == ("warning", "TCG; QEMU is old")


def test_a_boot_that_worked() -> None:
    check = check_attempt(Attempt("tcg", Trial("tcg", "the built-in guest", 7.1)), QEMU)
    assert check == Check("boot with tcg", "ok", "the built-in guest answered 7.1 s after power-on")


def test_a_boot_in_software_emulation_of_an_old_qemu() -> None:
    check = check_attempt(Attempt("tcg", Trial("tcg", "the built-in guest", 7.1)), replace(QEMU, version=(7, 2, 0)))
    assert check.status == "warning"
    assert "miscompiles" in check.detail


@pytest.mark.parametrize(("accel", "needed"), [("kvm", False), ("tcg", True)])
def test_a_boot_that_failed_stops_scripts_only_in_software_emulation(accel: str, needed: bool) -> None:
    check = check_attempt(Attempt(accel, QemuExited("QEMU ended")), QEMU)  # type: ignore[arg-type]
    assert check == Check(f"boot with {accel}", "missing", "QEMU ended", None, needed=needed)


def test_a_boot_that_failed_is_told_with_qemus_last_words() -> None:
    error = QemuExited("QEMU ended", evidence={"qemu.log": "error: failed to set MSR 0x10a"})
    assert check_attempt(Attempt("kvm", error), QEMU).detail == "QEMU ended (error: failed to set MSR 0x10a)"


def test_image_tools_are_told_as_one_when_all_are_here() -> None:
    tools = [Found(helper, Path("/bin/x"), None) for helper in HELPERS if helper.build]
    (check,) = check_helpers(tools)
    assert (check.name, check.status) == ("image tools", "ok")
    assert "mmdebstrap" in check.detail


def test_each_image_tool_is_told_when_one_is_missing() -> None:
    tools = [Found(helper, None if helper.name == "xz" else Path("/bin/x"), None) for helper in HELPERS if helper.build]
    checks = by_name(check_helpers(tools))
    assert checks["xz"].status == "missing"
    assert checks["cpio"].status == "ok"
    assert "image tools" not in checks


def test_helpers_are_never_needed() -> None:
    here, gone = HELPERS[:2]
    checks = list(check_helpers([Found(here, Path("/bin/x"), None), Found(gone, None, "get it")]))
    assert checks == [
        Check(here.name, "ok", f"/bin/x, for {here.purpose}"),
        Check(gone.name, "missing", f"for {gone.purpose}", "get it"),
    ]


@pytest.mark.parametrize(
    ("languages", "status", "detail"),
    [
        (["eng", "deu"], "ok", "/bin/tesseract, for reading text off the screen in eng, deu"),
        ([], "warning", "/bin/tesseract has no data for any language"),
        (HostError("tesseract failed: no libraries"), "warning", "/bin/tesseract: tesseract failed: no libraries"),
    ],
)
def test_the_languages_that_text_can_be_read_in_are_told(languages: list[str] | QaError, status: str, detail: str) -> None:
    tesseract = next(helper for helper in HELPERS if helper.name == "tesseract")
    (check,) = check_helpers([Found(tesseract, Path("/bin/tesseract"), None)], languages)
    assert (check.status, check.detail) == (status, detail)
    assert (list(check_helpers([Found(tesseract, None, "get it")], languages))) == [
        Check("tesseract", "missing", "for reading text off the screen", "get it")
    ]


@pytest.mark.parametrize(
    ("check", "can_run"),
    [
        (Check("a", "ok", "", needed=True), True),
        (Check("a", "warning", "", needed=True), True),
        (Check("a", "missing", ""), True),
        (Check("a", "missing", "", needed=True), False),
    ],
)
def test_scripts_can_run_unless_something_needed_is_missing(check: Check, can_run: bool) -> None:
    assert Report((check,), None).can_run is can_run


def test_json() -> None:
    report = Report((Check("QEMU", "ok", "10", "hint", needed=True),), "tcg")
    assert json.loads(json.dumps(report.as_json())) == {
        "schema": 1,
        "can_run": True,
        "accel": "tcg",
        "checks": [{"name": "QEMU", "status": "ok", "detail": "10", "hint": "hint", "needed": True}],
    }
