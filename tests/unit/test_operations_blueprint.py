"""What a template depends on: each thing that makes the machine another one changes the key, and nothing else does."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import blueprint, file

from qa.doctor.judge import Choice
from qa.host.firmware import Firmware
from qa.images.image import Image
from qa.operations import blueprint as module
from qa.operations.blueprint import Blueprint
from qa.operations.options import DiskOptions, LoginOptions, MachineOptions

Change = Callable[[Blueprint, pytest.MonkeyPatch], Blueprint]


def options(**more: Any) -> Change:
    return lambda before, _: replace(before, options=MachineOptions(**more))


def image(**more: Any) -> Change:
    return lambda before, _: replace(before, image=replace(before.image, **more))


def firmware(**more: Any) -> Change:
    return lambda before, _: replace(before, firmware=replace(before.firmware, **more))


def qemu(**more: Any) -> Change:
    return lambda before, _: replace(before, qemu=replace(before.qemu, **more))


def module_value(name: str, value: Any) -> Change:
    def change(before: Blueprint, monkeypatch: pytest.MonkeyPatch) -> Blueprint:
        monkeypatch.setattr(module, name, value)
        return replace(before)

    return change


def touched(which: Callable[[Blueprint], Path]) -> Change:
    def change(before: Blueprint, _: pytest.MonkeyPatch) -> Blueprint:
        os.utime(which(before), (1, 1))
        return replace(before)

    return change


OTHER = Image("data", Path("/data.qcow2"), "qcow2", 1, "identity of data")
DISK = DiskOptions(path=Path("/data.qcow2"), serial="S1")

DEPENDS: dict[str, tuple[Change, str]] = {
    "our version": (module_value("__version__", "99"), "anima-qa"),
    "the control shell": (module_value("control_prelude", lambda: "other"), "anima-qa"),
    "the slots": (module_value("slot_prelude", lambda _: "other"), "anima-qa"),
    "QEMU's version": (qemu(version=(10, 0, 3)), "QEMU"),
    "QEMU's package": (qemu(package="other"), "QEMU"),
    "QEMU was replaced": (touched(lambda plan: plan.qemu.path), "QEMU"),
    "the firmware's code was replaced": (touched(lambda plan: plan.firmware.code), "the firmware"),
    "the firmware's variables were replaced": (touched(lambda plan: plan.firmware.vars), "the firmware"),
    "the firmware's format": (firmware(code_format="qcow2"), "the hardware"),
    "the variables' format": (firmware(vars_format="qcow2"), "the hardware"),
    "the accelerator": (lambda before, _: replace(before, choice=Choice("kvm", "works")), "the hardware"),
    "memory": (options(memory=1 << 30), "the hardware"),
    "memory that the image asks for": (image(memory=1 << 30), "the hardware"),
    "processors": (options(cpus=3), "the hardware"),
    "network": (options(network="restricted"), "the hardware"),
    "time for a key": (options(boot_menu="5s"), "the hardware"),
    "no seed": (options(seed=False), "the hardware"),
    "image": (image(identity="other"), "the image"),
    "the image's format": (image(format="raw"), "the image"),
    "an image with the shell built in": (image(shell=True), "the image"),
    "an image without cloud-init": (image(cloud_init=False), "the hardware"),
    "size of the first disk": (options(disk=20 << 30), "the disks"),
    "one more disk": (
        lambda before, _: replace(before, others=(None,), options=MachineOptions(disks=(DiskOptions(size=1),))),
        "the disks",
    ),
    "name": (lambda before, _: replace(before, name="other"), "the cloud-init seed"),
    "cloud-init": (lambda before, _: replace(before, cloud_init={"packages": ["nginx"]}), "the cloud-init seed"),
    "the seed's templates": (module_value("template_digest", lambda: "other"), "the cloud-init seed"),
    "channel": (options(channel="shell"), "the channel"),
    "user of the login": (options(login=LoginOptions(user="other")), "the channel"),
    "password of the login": (options(login=LoginOptions(password="other")), "the channel"),
}  # fmt: skip


@pytest.mark.parametrize("what", DEPENDS)
def test_what_the_state_depends_on_makes_another_key_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    change, named = DEPENDS[what]
    before = blueprint(tmp_path)
    key, made_of = before.key, before.made_of
    after = change(before, monkeypatch)
    assert after.key != key
    assert named in {name for name, digest in after.made_of.items() if made_of[name] != digest}


def two_disks(folder: Path, other: Image | None = OTHER, disk: DiskOptions = DISK) -> Blueprint:
    return blueprint(folder, others=(other,), options=MachineOptions(disks=(disk,)))


@pytest.mark.parametrize(
    ("other", "disk"),
    [
        (replace(OTHER, identity="other"), DISK),
        (OTHER, DiskOptions(path=DISK.path, serial="S2")),
        (OTHER, DiskOptions(path=DISK.path, serial="S1", size=1 << 30)),
        (None, DiskOptions(size=1 << 30, serial="S1")),
    ],
)
def test_another_second_disk(tmp_path: Path, other: Image | None, disk: DiskOptions) -> None:
    assert two_disks(tmp_path, other, disk).key != two_disks(tmp_path).key


def test_the_order_of_disks_matters(tmp_path: Path) -> None:
    disks = (DiskOptions(size=1), DiskOptions(size=2))
    keys = {blueprint(tmp_path, others=(None, None), options=MachineOptions(disks=order)).key for order in (disks, disks[::-1])}
    assert len(keys) == 2


@pytest.mark.parametrize("name", ["cpu_model", "platform"])
def test_with_kvm_the_host_s_processor_and_kernel_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def keys() -> list[str]:
        return [blueprint(tmp_path, choice=choice).key for choice in (Choice("kvm", ""), Choice("tcg", ""))]

    before = keys()
    if name == "cpu_model":
        monkeypatch.setattr(module, "cpu_model", lambda: "another processor")
    else:
        monkeypatch.setattr("platform.release", lambda: "another kernel")
    after = keys()
    assert before[0] != after[0]
    assert before[1] == after[1]


INDEPENDENT: dict[str, Change] = {
    "why this accelerator": lambda before, _: replace(before, choice=Choice("tcg", "other", "warning")),
    "ports that are forwarded": options(forward=(80, 443)),
    "identity": options(identity="renew"),
    "how the user calls the image": image(reference="other"),
    "where the image lies": image(path=Path("/elsewhere")),
    "which descriptor names the firmware": firmware(descriptor=Path("/elsewhere")),
    "memory that is asked for and what the image asks for anyway": options(memory=512 << 20),
    "what QEMU offers beyond what we use": qemu(features=frozenset({"exit-with-parent", "mapped-ram"})),
}


@pytest.mark.parametrize("what", INDEPENDENT)
def test_what_it_does_not_depend_on_leaves_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    before = blueprint(tmp_path)
    assert INDEPENDENT[what](before, monkeypatch).key == before.key


def test_without_a_seed_the_name_does_not_matter(tmp_path: Path) -> None:
    plans = [blueprint(tmp_path, name=name, options=MachineOptions(seed=False)) for name in ("one", "two")]
    assert plans[0].key == plans[1].key


def test_the_key_is_the_same_in_another_process_and_for_another_order_of_names(tmp_path: Path) -> None:
    one = blueprint(tmp_path, cloud_init={"a": 1, "b": [1, 2]})
    two = replace(one, cloud_init={"b": [1, 2], "a": 1})
    assert one.key == two.key
    assert one.key != replace(one, cloud_init={"a": 1, "b": [2, 1]}).key


@pytest.mark.parametrize(
    "given",
    [{"when": datetime.date(2026, 1, 1)}, {1: "x", "a": "y"}, {"a": {None: 1, "b": 2}}, {"ü\udc80": 1}, {"x": float("inf")}],
)
def test_whatever_yaml_gives_as_cloud_init_has_a_key(tmp_path: Path, given: dict[Any, Any]) -> None:
    assert blueprint(tmp_path, cloud_init=given).key != blueprint(tmp_path).key


def test_a_number_as_a_name_is_not_that_number_as_a_text(tmp_path: Path) -> None:
    assert blueprint(tmp_path, cloud_init={1: "x"}).key != blueprint(tmp_path, cloud_init={"1": "x"}).key


def test_a_firmware_at_another_place(tmp_path: Path) -> None:
    plan = blueprint(tmp_path)
    other = Firmware(file(tmp_path / "other" / "code.fd"), plan.firmware.vars, "raw", "raw", plan.firmware.descriptor)
    assert replace(plan, firmware=other).key != plan.key


# what is made of it


@pytest.mark.parametrize(
    ("network", "channel", "shell", "wants"),
    [
        ("user", "auto", False, True),
        ("user", "auto", True, False),
        ("user", "ssh", True, True),
        ("restricted", "ssh", False, True),
        ("user", "shell", False, False),
        ("none", "auto", False, False),
        ("none", "shell", False, False),
        ("user", "none", False, False),
    ],
)
def test_ssh_is_prepared_where_commands_may_have_to_go_over_it(
    tmp_path: Path, network: Any, channel: Any, shell: bool, wants: bool
) -> None:
    plan = blueprint(tmp_path, options=MachineOptions(network=network, channel=channel))
    assert replace(plan, image=replace(plan.image, shell=shell)).wants_ssh is wants


def test_a_machine_that_is_only_looked_at_gets_nothing_of_ours(tmp_path: Path) -> None:
    plan = blueprint(tmp_path, options=MachineOptions(channel="none"))
    assert [disk.path.name for disk in plan.disks(tmp_path)] == ["disk0.qcow2"]
    assert plan.strings(None) == ()
    assert not any("-smbios" in word for word in plan._command_line())
    asked = replace(plan, cloud_init={"packages": ["nginx"]})
    assert [disk.path.name for disk in asked.disks(tmp_path)] == ["disk0.qcow2", "seed.iso"]


@pytest.mark.parametrize(("cpus", "text"), [(1, "1 processor, tcg"), (2, "2 processors, tcg")])
def test_the_title_is_for_people(tmp_path: Path, cpus: int, text: str) -> None:
    assert blueprint(tmp_path, options=MachineOptions(cpus=cpus)).title == f"debian, 512 MB, {text}"


def test_the_disks_are_in_the_guest_s_order_and_the_seed_is_the_last(tmp_path: Path) -> None:
    first, second, seed = two_disks(tmp_path).disks(tmp_path)
    assert [disk.path.name for disk in (first, second, seed)] == ["disk0.qcow2", "disk1.qcow2", "seed.iso"]
    assert [(disk.read_only, disk.bootable, disk.serial) for disk in (first, second, seed)] == [
        (False, True, None), (False, True, "S1"), (True, False, None),
    ]  # fmt: skip
    plain = blueprint(tmp_path, options=MachineOptions(seed=False))
    assert [disk.path.name for disk in plain.disks(tmp_path)] == ["disk0.qcow2"]


async def test_the_files_that_are_made_are_those_that_the_disks_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qa.guest.ssh import SshAccess

    made: list[tuple[str, str, int | None]] = []
    seeds: list[dict[str, Any]] = []

    async def create_overlay(image: Image, path: Path, size: int | None) -> None:
        made.append((image.reference, path.name, size))

    async def create_disk(path: Path, size: int) -> None:
        made.append(("empty", path.name, size))

    monkeypatch.setattr(module, "create_overlay", create_overlay)
    monkeypatch.setattr(module, "create_disk", create_disk)
    monkeypatch.setattr(module, "write_seed", lambda path, **more: seeds.append({"name": path.name, **more}))
    disks = (DISK, DiskOptions(size=5))
    plan = blueprint(
        tmp_path, others=(OTHER, None), options=MachineOptions(disk=9, disks=disks), cloud_init={"packages": ["nginx"]}
    )
    access = SshAccess.generate(with_host_key=True)
    await plan.make_disks(tmp_path, access)
    await plan.make_disks(tmp_path, None)
    assert made[:3] == [("debian", "disk0.qcow2", 9), ("data", "disk1.qcow2", None), ("empty", "disk2.qcow2", 5)]
    assert [*(name for _, name, _ in made[:3]), seeds[0]["name"]] == [disk.path.name for disk in plan.disks(tmp_path)]
    assert seeds[0]["instance_id"] != seeds[1]["instance_id"]  # each boot is a new instance to cloud-init
    assert seeds[0]["hostname"] == "vm"
    assert "nginx" in seeds[0]["user_data"]
    assert (access.public_key in seeds[0]["user_data"], access.public_key in seeds[1]["user_data"]) == (True, False)
    assert plan.strings(access) != plan.strings(None)
    assert len(plan.strings(access)) == len(plan.strings(None)) + 1
