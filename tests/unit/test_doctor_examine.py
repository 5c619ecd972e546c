"""The whole examination, with a QEMU and boots that are played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qa.config import Config
from qa.doctor import examine as examination
from qa.doctor.examine import examine
from qa.doctor.judge import Accel, Trial
from qa.doctor.report import NEEDED_FEATURES, Check, Report
from qa.errors import FirmwareMissing, QaError, QemuExited, QemuFailed, ToolMissing
from qa.host.accelerators import KvmDevice, Verdict, remember, remembered
from qa.host.qemu import Qemu
from qa.paths import Paths

QEMU = Qemu(Path("/usr/bin/qemu"), (10, 0, 2), "", frozenset({*NEEDED_FEATURES, "accel:kvm", "accel:tcg"}))
OPENS = KvmDevice("opens", "/dev/kvm opens")
ABSENT = KvmDevice("absent", "there is no /dev/kvm", "load the module")


class Host:
    """A host whose accelerators in ``broken`` run no guest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Paths) -> None:
        self.home = home
        self.broken: dict[str, QaError] = {}
        self.booted: list[Accel] = []
        self.qemu: Qemu | QaError = QEMU
        self.firmware = Check("UEFI firmware", "ok", "", needed=True)
        monkeypatch.setattr(examination, "find_qemu", self._find_qemu)
        monkeypatch.setattr(examination, "check_firmware", lambda: self.firmware)

    def _find_qemu(self, explicit: Path | None, *, paths: Paths) -> Qemu:
        assert paths is self.home
        if isinstance(self.qemu, QaError):
            raise self.qemu
        return replace(self.qemu, path=explicit or self.qemu.path)

    async def _boot(self, accel: Accel) -> Trial:
        self.booted.append(accel)
        if accel in self.broken:
            raise self.broken[accel]
        return Trial(accel, "the built-in guest", 2.0)

    async def examined(self, *, boot: bool = False, device: KvmDevice = OPENS, **settings: object) -> Report:
        config = Config.model_validate(settings)
        return await examine(self.home, config, lambda _: self._boot, boot=boot, device=device)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, home: Paths) -> Host:
    return Host(monkeypatch, home)


def find(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


async def test_a_host_with_kvm(host: Host) -> None:
    report = await host.examined()
    assert (report.accel, report.can_run, host.booted) == ("kvm", True, ["kvm"])
    assert find(report, "accelerator").status == "ok"


async def test_a_host_whose_device_lies(host: Host) -> None:
    host.broken = {"kvm": QemuFailed("QEMU stopped the guest with an internal error")}
    report = await host.examined()
    assert (report.accel, report.can_run) == ("tcg", True)
    assert find(report, "accelerator").detail == (
        "software emulation (TCG), because KVM does not work here: "
        "/dev/kvm opens, but no guest runs: QEMU stopped the guest with an internal error"
    )


async def test_the_second_time_nothing_is_booted(host: Host) -> None:
    await host.examined()
    await host.examined()
    assert host.booted == ["kvm"]


async def test_a_host_without_kvm_boots_nothing_and_says_what_to_do(host: Host) -> None:
    report = await host.examined(device=ABSENT)
    assert (report.accel, host.booted) == ("tcg", [])
    assert find(report, "accelerator").hint == "load the module"


async def test_kvm_that_is_required_and_does_not_work(host: Host) -> None:
    report = await host.examined(device=ABSENT, require_kvm=True)
    assert (report.accel, report.can_run) == (None, False)
    assert "KVM is required" in find(report, "accelerator").detail


async def test_boot_tries_each_accelerator_whatever_is_remembered(host: Host) -> None:
    remember(host.home, QEMU, Verdict("kvm", False, "an old verdict", "then"))
    report = await host.examined(boot=True)
    assert (host.booted, report.accel) == (["kvm", "tcg"], "kvm")
    assert find(report, "boot with kvm").detail == "the built-in guest answered 2.0 s after power-on"
    assert find(report, "boot with tcg").status == "ok"
    known = remembered(host.home, QEMU)
    assert known
    assert known.works


async def test_boot_on_a_host_whose_device_lies(host: Host) -> None:
    host.broken = {"kvm": QemuExited("QEMU ended")}
    report = await host.examined(boot=True)
    assert (host.booted, report.accel, report.can_run) == (["kvm", "tcg"], "tcg", True)
    assert find(report, "boot with kvm") == Check("boot with kvm", "missing", "QEMU ended")


async def test_boot_where_nothing_boots(host: Host) -> None:
    host.broken = {"tcg": QemuExited("QEMU ended")}
    report = await host.examined(boot=True, device=ABSENT)
    assert (host.booted, report.can_run) == (["tcg"], False)


async def test_boot_of_one_accelerator_only(host: Host) -> None:
    await host.examined(boot=True, accel="tcg")
    assert host.booted == ["tcg"]


async def test_a_qemu_without_software_emulation_is_booted_with_kvm_only(host: Host) -> None:
    host.qemu = replace(QEMU, features=QEMU.features - {"accel:tcg"})
    await host.examined(boot=True)
    assert host.booted == ["kvm"]


@pytest.mark.parametrize("missing", ["qemu", "firmware"])
async def test_without_qemu_or_firmware_the_rest_is_still_looked_at(host: Host, missing: str) -> None:
    if missing == "qemu":
        host.qemu = ToolMissing("QEMU is not installed", hint="get it")
    else:
        host.firmware = Check("UEFI firmware", "missing", "none", needed=True)
    report = await host.examined(boot=True)
    assert (report.can_run, report.accel, host.booted) == (False, None, [])
    assert find(report, "memory")
    assert find(report, "tesseract")


async def test_a_boot_that_cannot_even_be_tried(host: Host) -> None:
    host.broken = {"kvm": FirmwareMissing("it has gone"), "tcg": FirmwareMissing("it has gone")}
    report = await host.examined()
    assert (report.can_run, find(report, "accelerator").detail) == (False, "it has gone")
    assert (await host.examined(boot=True)).can_run is False


async def test_the_setting_names_the_qemu(host: Host) -> None:
    report = await host.examined(qemu=Path("/opt/qemu"), device=ABSENT)
    assert find(report, "QEMU").detail == "10.0.2 at /opt/qemu"
