"""Proving an accelerator by a boot.

KVM is played by a QEMU in front of which stands a script: it runs software emulation instead, or fails as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qa.doctor import trial
from qa.doctor.judge import judge_kvm
from qa.doctor.trial import Trials
from qa.events import Bus, Event, Notice
from qa.host.accelerators import KvmDevice
from qa.host.qemu import Qemu, find_qemu
from qa.paths import Paths

OPENS = KvmDevice("opens", "/dev/kvm opens")

EMULATES = """
arguments=()
for argument; do
    case $argument in
        kvm) argument=tcg ;;
        host) argument=max ;;
    esac
    arguments+=("$argument")
done
exec {qemu} "${{arguments[@]}}"
"""
ABORTS = "echo 'error: failed to set MSR 0x10a to 0x0' >&2; kill -ABRT $$\n"


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Qemu]:
    """Makes a QEMU with KVM out of a script; software emulation gets the time that it needs."""
    monkeypatch.setattr(trial, "TRIAL_LIMIT_S", 150.0)

    def make(body: str) -> Qemu:
        real = find_qemu()
        path = tmp_path / "qemu"
        path.write_text("#!/bin/bash\n" + body.format(qemu=real.path))
        path.chmod(0o755)
        return replace(real, path=path, features=real.features | {"accel:kvm"})

    return make


async def test_kvm_that_works_is_proved_by_the_built_in_guest(home: Paths, played: Callable[[str], Qemu]) -> None:
    qemu = played(EMULATES)
    verdict = await judge_kvm(qemu, Trials(qemu, home, Bus(), build=True), device=OPENS)
    assert verdict.works is True
    assert verdict.reason.startswith("the built-in guest answered")


async def test_without_the_built_in_guest_the_firmware_is_proof_enough(home: Paths, played: Callable[[str], Qemu]) -> None:
    home.images.unlink()  # an empty cache: the guest would have to be built first
    qemu = played(EMULATES)
    verdict = await judge_kvm(qemu, Trials(qemu, home, Bus()), device=OPENS)
    assert verdict.works is True
    assert verdict.reason.startswith("the firmware answered")
    assert not home.images.exists()


async def test_a_qemu_that_aborts_under_kvm_is_told_with_its_last_words(
    home: Paths, played: Callable[[str], Qemu], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    qemu = played(f"ls '{work}' > '{work}.seen'\n" + ABORTS)
    verdict = await judge_kvm(qemu, Trials(qemu, home, Bus(), work=work), device=OPENS)
    assert verdict.works is False
    assert verdict.reason.startswith("/dev/kvm opens, but no guest runs: QEMU")
    assert "failed to set MSR 0x10a" in verdict.reason
    assert "anima-qa-doctor-" in (tmp_path / "work.seen").read_text()
    assert list(work.iterdir()) == []


async def test_the_built_in_guest_answers_in_software_emulation(home: Paths) -> None:
    told: list[Event] = []
    bus = Bus()
    bus.subscribe(told.append)
    found = await Trials(find_qemu(), home, bus, build=True)("tcg")
    assert (found.accel, found.subject) == ("tcg", "the built-in guest")
    assert "trying TCG with the built-in guest" in [event.message for event in told if isinstance(event, Notice)]
