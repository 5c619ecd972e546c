"""What is found on the host that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from qa.host.accelerators import KVM_DEVICE, kvm_device
from qa.host.firmware import find_firmware
from qa.host.helpers import find_helpers
from qa.host.packages import install_hint
from qa.host.probe import ask
from qa.host.qemu import OLDEST, find_qemu, find_qemu_img
from qa.host.resources import resources
from qa.paths import Paths


def test_qemu_is_found_and_offers_what_machines_need(home: Paths) -> None:
    qemu = find_qemu()
    assert qemu.version >= OLDEST
    assert qemu.features >= {"accel:tcg", "sandbox", "vmgenid", "pvpanic-pci", "virtconsole", "virtio-blk-pci", "x-ignore-shared"}
    assert ("file-migration" in qemu.features) is (qemu.version >= (8, 2, 0))
    assert ("mapped-ram" in qemu.features) is (qemu.version >= (9, 0, 0))
    assert ("exit-with-parent" in qemu.features) is (qemu.version >= (10, 2, 0))
    remembered = json.loads((home.cache / "qemu.json").read_text())["qemus"]
    assert list(remembered) == [str(qemu.path)]
    assert find_qemu() == qemu


def test_the_version_is_that_of_the_command_line() -> None:
    qemu = find_qemu()
    said = subprocess.run([qemu.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"version {qemu.version_text}" in said
    assert qemu.package in said


def test_asking_leaves_no_qemu_behind() -> None:
    ask(find_qemu().path)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [pid for pid in children if "qemu" in Path(f"/proc/{pid}/comm").read_text()] == []


def test_qemu_img_runs() -> None:
    assert b"qemu-img version" in subprocess.run([find_qemu_img(), "--version"], capture_output=True, check=True).stdout


def test_firmware_is_found_as_a_pair() -> None:
    firmware = find_firmware()
    assert firmware.code.stat().st_size > firmware.vars.stat().st_size > 0
    assert firmware.descriptor.suffix == ".json"


def test_memory_and_processors_are_plausible() -> None:
    found = resources()
    assert 0 < found.memory <= found.memory_total
    assert 1 <= found.cpus <= (os.cpu_count() or 1)


def test_the_state_of_the_device_agrees_with_its_presence() -> None:
    assert (kvm_device().state == "absent") is (not KVM_DEVICE.exists())


def test_commands_for_this_host_ask_for_root_when_it_is_needed() -> None:
    assert ("sudo " in install_hint("ovmf")) is (os.geteuid() != 0)


def test_the_tools_that_build_the_guests_are_here() -> None:
    assert [one.helper.name for one in find_helpers() if one.helper.build and one.path is None] == []
