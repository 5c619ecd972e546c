"""QEMU's command line: what must hold for every machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from qa.qemu.argv import build_argv, channel_names
from qa.qemu.spec import Disk, Flash, MachineSpec

SPEC = MachineSpec(
    name="vm",
    accel="tcg",
    memory=256 << 20,
    cpus=2,
    flash=Flash(Path("/fw/code.fd"), "raw", Path("/machine/vars.fd"), "raw"),
    disks=(Disk(Path("/machine/disk0.qcow2"), "qcow2"), Disk(Path("/machine/seed.iso"), "raw", read_only=True, bootable=False)),
)


def argv_of(spec: MachineSpec) -> list[str]:
    return build_argv(Path("/usr/bin/qemu"), spec, {name: 10 + number for number, name in enumerate(channel_names(spec))})


def values(argv: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(argv) if name == option]


def devices(spec: MachineSpec, model: str) -> list[str]:
    return [value for value in values(argv_of(spec), "-device") if value.split(",")[0] == model]


def test_the_users_own_configuration_of_qemu_has_no_say() -> None:
    argv = argv_of(SPEC)
    assert {"-nodefaults", "-no-user-config", "-S"} < set(argv)
    assert values(argv, "-display") == ["none"]


def test_the_sandbox_is_on() -> None:
    (sandbox,) = values(argv_of(SPEC), "-sandbox")
    assert set(sandbox.split(",")) == {
        "on", "obsolete=deny", "elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny",
    }  # fmt: skip


def test_every_format_is_given_and_none_is_guessed() -> None:
    argv = argv_of(SPEC)
    assert [value.split(",")[0] for value in values(argv, "-blockdev")] == ["driver=qcow2", "driver=raw"]
    assert all("format=raw" in value for value in values(argv, "-drive"))


def test_only_the_firmwares_code_and_read_only_disks_are_read_only() -> None:
    argv = argv_of(SPEC)
    code, variables = values(argv, "-drive")
    assert "readonly=on" in code
    assert "readonly" not in variables
    first, seed = values(argv, "-blockdev")
    assert "read-only=off" in first
    assert "read-only=on" in seed


def test_a_throwaway_disk_is_not_flushed_and_a_kept_one_is() -> None:
    kept = replace(SPEC.disks[0], throwaway=False)
    assert "cache.no-flush=on" in values(argv_of(SPEC), "-blockdev")[0]
    assert "no-flush" not in values(argv_of(replace(SPEC, disks=(kept,))), "-blockdev")[0]


def test_disks_boot_in_their_order_and_the_seed_never() -> None:
    more = replace(SPEC, disks=(SPEC.disks[0], Disk(Path("/machine/disk1.qcow2"), "qcow2"), SPEC.disks[1]))
    assert devices(more, "virtio-blk-pci") == [
        "virtio-blk-pci,bootindex=0,drive=disk0,id=disk0-device",
        "virtio-blk-pci,bootindex=1,drive=disk1,id=disk1-device",
        "virtio-blk-pci,drive=disk2,id=disk2-device",
    ]


def test_the_firmware_waits_for_a_key_only_where_that_is_wished() -> None:
    assert values(argv_of(SPEC), "-boot") == []
    assert values(argv_of(replace(SPEC, boot_menu=2.5)), "-boot") == ["menu=on,splash-time=2500"]


def test_a_disk_carries_its_serial_number() -> None:
    (disk,) = devices(replace(SPEC, disks=(replace(SPEC.disks[0], serial="DATA-1"),)), "virtio-blk-pci")
    assert disk.endswith(",serial=DATA-1")


def test_commas_in_names_are_no_options() -> None:
    sly = replace(
        SPEC,
        name="a,process=b",
        disks=(Disk(Path("/w/x,read-only=on.img"), "raw"),),
        flash=replace(SPEC.flash, code=Path("/fw/c,d.fd"), variables=Path("/w/v,w.fd")),
        smbios_strings=("a=b,c",),
    )
    argv = argv_of(sly)
    assert values(argv, "-name") == ["a,,process=b"]
    assert "file.filename=/w/x,,read-only=on.img," in values(argv, "-blockdev")[0]
    assert [value.rpartition("file=")[2] for value in values(argv, "-drive")] == ["/fw/c,,d.fd", "/w/v,,w.fd"]
    assert values(argv, "-smbios") == ["type=11,value=a=b,,c"]


def test_the_user_network_reaches_out_and_waits_for_no_network_boot() -> None:
    argv = argv_of(SPEC)
    assert values(argv, "-netdev") == ["user,id=net0"]
    assert devices(SPEC, "virtio-net-pci") == ["virtio-net-pci,netdev=net0,romfile="]


def test_the_restricted_network_reaches_nothing() -> None:
    assert values(argv_of(replace(SPEC, network="restricted")), "-netdev") == ["user,id=net0,restrict=on"]


def test_no_network_is_no_card() -> None:
    argv = argv_of(replace(SPEC, network="none"))
    assert values(argv, "-netdev") == []
    assert not any("net" in value for value in values(argv, "-device"))


def test_nothing_listens_for_the_world() -> None:
    argv = argv_of(SPEC)
    assert all(value.startswith("socket,id=") and ",fd=" in value for value in values(argv, "-chardev"))
    assert not any(word in " ".join(argv) for word in ("vnc", "spice", "server=on", "tcp:", "telnet"))


def test_each_channel_is_an_inherited_descriptor() -> None:
    argv = argv_of(SPEC)
    found = dict(value.removeprefix("socket,id=").split(",fd=") for value in values(argv, "-chardev"))
    assert list(found) == channel_names(SPEC)
    assert [int(descriptor) for descriptor in found.values()] == list(range(10, 10 + len(found)))


def test_the_first_port_is_a_console_and_the_others_are_pairs() -> None:
    assert len(devices(SPEC, "virtconsole")) == 1
    others = devices(SPEC, "virtserialport")
    assert len(others) % 2 == 0
    assert [value.split("nr=")[1].split(",")[0] for value in others] == [str(number) for number in range(1, len(others) + 1)]


def test_kvm_gets_the_hosts_processor_and_emulation_everything_that_it_has() -> None:
    argv = argv_of(replace(SPEC, accel="kvm"))
    assert (values(argv, "-accel"), values(argv, "-cpu")) == (["kvm"], ["host"])
    argv = argv_of(SPEC)
    assert values(argv, "-cpu") == ["max"]
    assert values(argv, "-accel")[0].startswith("tcg,thread=multi,")


def test_memory_and_processors_are_those_asked_for() -> None:
    argv = argv_of(replace(SPEC, memory=1536 << 20, cpus=3))
    assert (values(argv, "-m"), values(argv, "-smp")) == (["1536M"], ["3"])


def test_a_guest_that_ends_leaves_a_qemu_that_can_be_looked_at() -> None:
    (action,) = values(argv_of(SPEC), "-action")
    assert set(action.split(",")) == {"reboot=reset", "shutdown=pause", "panic=pause", "watchdog=pause"}


@pytest.mark.parametrize("there", [True, False])
def test_a_qemu_that_can_ends_with_its_parent_by_itself(there: bool) -> None:
    argv = argv_of(replace(SPEC, exit_with_parent=there))
    assert values(argv, "-run-with") == (["exit-with-parent=on"] if there else [])
