"""The verdict on KVM and the choice of the accelerator, with boots that are played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qa.doctor.judge import Accel, Trial, choose_accelerator, judge_kvm, verdict_on_kvm
from qa.errors import (
    AcceleratorUnavailable,
    BootFailed,
    DeadlineExceeded,
    FirmwareMissing,
    GuestPanic,
    QaError,
    QemuExited,
    QemuFailed,
    UsageError,
)
from qa.host.accelerators import KvmDevice, remembered
from qa.host.qemu import Qemu
from qa.paths import Paths

QEMU = Qemu(Path("/usr/bin/qemu-system-x86_64"), (10, 0, 2), "Debian 1:10", frozenset({"accel:kvm", "accel:tcg"}))
WITHOUT_KVM = replace(QEMU, features=frozenset({"accel:tcg"}))
OPENS = KvmDevice("opens", "/dev/kvm opens")
DENIED = KvmDevice("denied", "/dev/kvm may not be opened by this user", "join the group kvm")
ABORTED = QemuExited(
    "QEMU was ended by signal SIGABRT",
    evidence={"qemu.log": "$ qemu -machine q35 -accel kvm\nerror: failed to set MSR 0x10a to 0x0\n"},
)


class Boots:
    """Plays `Boot`: answers, or fails with ``error``; ``done`` has the accelerators that were tried."""

    def __init__(self, error: QaError | None = None) -> None:
        self.error = error
        self.done: list[Accel] = []

    async def __call__(self, accel: Accel) -> Trial:
        self.done.append(accel)
        if self.error:
            raise self.error
        return Trial(accel, "the built-in guest", 1.24)


async def test_kvm_works_when_the_guest_answers() -> None:
    verdict = await judge_kvm(QEMU, Boots(), device=OPENS)
    assert (verdict.accel, verdict.works, verdict.reason) == ("kvm", True, "the built-in guest answered 1.2 s after power-on")
    assert verdict.checked.endswith("+00:00")


async def test_an_abort_of_qemu_is_told_with_its_last_words() -> None:
    verdict = await judge_kvm(QEMU, Boots(ABORTED), device=OPENS)
    assert verdict.works is False
    assert verdict.reason == (
        "/dev/kvm opens, but no guest runs: QEMU was ended by signal SIGABRT (error: failed to set MSR 0x10a to 0x0)"
    )


@pytest.mark.parametrize(
    "error",
    [
        QemuFailed("QEMU stopped the guest: internal-error"),
        GuestPanic("the guest's kernel panicked"),
        BootFailed("the UEFI shell"),
        DeadlineExceeded("the shell did not answer within 30 s"),
    ],
)
async def test_whatever_else_ends_the_boot_is_a_refusal(error: QaError) -> None:
    verdict = await judge_kvm(QEMU, Boots(error), device=OPENS)
    assert (verdict.works, verdict.reason) == (False, f"/dev/kvm opens, but no guest runs: {error.message}")


async def test_what_has_nothing_to_do_with_kvm_is_no_verdict(home: Paths) -> None:
    with pytest.raises(FirmwareMissing):
        await verdict_on_kvm(QEMU, Boots(FirmwareMissing("none")), paths=home, device=OPENS)
    assert remembered(home, QEMU) is None


@pytest.mark.parametrize(
    ("qemu", "device", "reason"),
    [
        (QEMU, DENIED, "/dev/kvm may not be opened by this user"),
        (QEMU, KvmDevice("absent", "there is no /dev/kvm"), "there is no /dev/kvm"),
        (WITHOUT_KVM, OPENS, "/usr/bin/qemu-system-x86_64 was built without KVM"),
    ],
)
async def test_nothing_is_booted_or_remembered_where_kvm_is_out_of_question(
    home: Paths, qemu: Qemu, device: KvmDevice, reason: str
) -> None:
    boots = Boots()
    verdict = await verdict_on_kvm(qemu, boots, paths=home, device=device)
    assert (verdict.works, verdict.reason, boots.done) == (False, reason, [])
    assert not home.verdicts.exists()


@pytest.mark.parametrize("error", [None, ABORTED])
async def test_a_verdict_costs_one_boot(home: Paths, error: QaError | None) -> None:
    boots = Boots(error)
    first = await verdict_on_kvm(QEMU, boots, paths=home, device=OPENS)
    second = await verdict_on_kvm(QEMU, boots, paths=home, device=OPENS)
    assert first == second
    assert boots.done == ["kvm"]


async def test_a_verdict_can_be_asked_for_again(home: Paths) -> None:
    await verdict_on_kvm(QEMU, Boots(ABORTED), paths=home, device=OPENS)
    assert (await verdict_on_kvm(QEMU, Boots(), paths=home, device=OPENS, again=True)).works
    assert (await verdict_on_kvm(QEMU, Boots(ABORTED), paths=home, device=OPENS)).works


async def test_a_remembered_verdict_does_not_outlive_the_permission(home: Paths) -> None:
    await verdict_on_kvm(QEMU, Boots(), paths=home, device=OPENS)
    assert not (await verdict_on_kvm(QEMU, Boots(), paths=home, device=DENIED)).works


async def test_a_state_folder_that_cannot_be_written_does_no_harm(home: Paths) -> None:
    home.state.parent.mkdir(parents=True)
    home.state.write_text("a file where the folder should be")
    assert (await verdict_on_kvm(QEMU, Boots(), paths=home, device=OPENS)).works


async def test_auto_takes_kvm_where_it_works(home: Paths) -> None:
    choice = await choose_accelerator("auto", False, qemu=QEMU, paths=home, boot=Boots(), device=OPENS)
    assert (choice.accel, choice.warning) == ("kvm", None)
    assert choice.reason == "KVM: the built-in guest answered 1.2 s after power-on"


async def test_auto_falls_back_and_says_why(home: Paths) -> None:
    choice = await choose_accelerator("auto", False, qemu=QEMU, paths=home, boot=Boots(ABORTED), device=OPENS)
    assert choice.accel == "tcg"
    assert choice.reason.startswith("software emulation (TCG), because KVM does not work here: /dev/kvm opens, but no guest runs")


async def test_asking_for_software_emulation_judges_nothing(home: Paths) -> None:
    boots = Boots()
    choice = await choose_accelerator("tcg", False, qemu=QEMU, paths=home, boot=boots, device=OPENS)
    assert (choice.accel, boots.done) == ("tcg", [])


@pytest.mark.parametrize(
    ("wanted", "require", "word"), [("kvm", False, "asked for"), ("auto", True, "required"), ("kvm", True, "required")]
)
async def test_kvm_that_is_insisted_on_and_does_not_work_ends_with_status_3(
    home: Paths, wanted: str, require: bool, word: str
) -> None:
    with pytest.raises(AcceleratorUnavailable, match=f"KVM is {word} and does not work here: .*SIGABRT") as caught:
        await choose_accelerator(wanted, require, qemu=QEMU, paths=home, boot=Boots(ABORTED), device=OPENS)
    assert caught.value.exit_code == 3
    assert "--accel auto" in str(caught.value.hint)


async def test_kvm_that_is_insisted_on_comes_with_what_to_do_about_the_device(home: Paths) -> None:
    with pytest.raises(AcceleratorUnavailable) as caught:
        await choose_accelerator("auto", True, qemu=QEMU, paths=home, boot=Boots(), device=DENIED)
    assert caught.value.hint == "join the group kvm"


@pytest.mark.parametrize(("wanted", "require"), [("kvm", False), ("auto", True)])
async def test_kvm_that_is_insisted_on_and_works(home: Paths, wanted: str, require: bool) -> None:
    choice = await choose_accelerator(wanted, require, qemu=QEMU, paths=home, boot=Boots(), device=OPENS)
    assert choice.accel == "kvm"


async def test_requiring_kvm_and_asking_for_software_emulation_contradict(home: Paths) -> None:
    with pytest.raises(UsageError, match="KVM is required"):
        await choose_accelerator("tcg", True, qemu=QEMU, paths=home, boot=Boots(), device=OPENS)


@pytest.mark.parametrize("wanted", ["tcg", "auto"])
async def test_software_emulation_by_an_old_qemu_is_warned_of(home: Paths, wanted: str) -> None:
    old = replace(QEMU, version=(7, 2, 15))
    choice = await choose_accelerator(wanted, False, qemu=old, paths=home, boot=Boots(ABORTED), device=OPENS)
    assert choice.warning == "QEMU 7.2.15 miscompiles recent kernels under software emulation: guests may crash at random"


async def test_an_old_qemu_with_kvm_is_not_warned_of(home: Paths) -> None:
    old = replace(QEMU, version=(7, 2, 15))
    assert (await choose_accelerator("auto", False, qemu=old, paths=home, boot=Boots(), device=OPENS)).warning is None


async def test_a_qemu_without_software_emulation(home: Paths) -> None:
    only_kvm = replace(QEMU, features=frozenset({"accel:kvm"}))
    with pytest.raises(AcceleratorUnavailable, match=r"has no software emulation \(TCG\)"):
        await choose_accelerator("auto", False, qemu=only_kvm, paths=home, boot=Boots(ABORTED), device=OPENS)
