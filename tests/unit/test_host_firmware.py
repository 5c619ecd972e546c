"""Choosing UEFI firmware by the descriptors that distributions install."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa.errors import FirmwareMissing
from qa.host.firmware import Firmware, descriptor_folders, find_firmware

MIB = 1 << 20
VARS_4M, VARS_2M = 528 << 10, 128 << 10


def qcow2(size: int) -> bytes:
    return b"QFI\xfb" + bytes(20) + size.to_bytes(8, "big") + bytes(100)


def describe(folder: Path, name: str, *, vars_size: int = VARS_4M, file_format: str = "raw", **changes: Any) -> Path:
    """A descriptor ``name`` with its files beside it; ``changes`` replace its top-level members."""
    folder.mkdir(parents=True, exist_ok=True)
    code, variables = folder / f"{name}.code", folder / f"{name}.vars"
    code.write_bytes(b"code")
    variables.write_bytes(bytes(vars_size) if file_format == "raw" else qcow2(vars_size))
    descriptor: dict[str, Any] = {
        "description": name,
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(code), "format": file_format},
            "nvram-template": {"filename": str(variables), "format": file_format},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3"],
        "tags": [],
    }
    file = folder / name
    file.write_text(json.dumps(descriptor | changes))
    return file


def reasons(*folders: Path) -> str:
    with pytest.raises(FirmwareMissing) as caught:
        find_firmware(folders=folders)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    return caught.value.evidence["looked at"]


def test_the_pair_of_a_descriptor(tmp_path: Path) -> None:
    file = describe(tmp_path, "60.json", file_format="qcow2")
    assert find_firmware(folders=[tmp_path]) == Firmware(
        tmp_path / "60.json.code", tmp_path / "60.json.vars", "qcow2", "qcow2", file
    )


def test_the_first_by_name_wins_over_all_folders(tmp_path: Path) -> None:
    describe(tmp_path / "weak", "50.json")
    describe(tmp_path / "strong", "60.json")
    assert find_firmware(folders=[tmp_path / "weak", tmp_path / "strong"]).descriptor.name == "50.json"


def test_a_stronger_folder_replaces_a_file_of_the_same_name(tmp_path: Path) -> None:
    describe(tmp_path / "weak", "60.json")
    describe(tmp_path / "strong", "60.json")
    assert find_firmware(folders=[tmp_path / "weak", tmp_path / "strong"]).descriptor.parent.name == "strong"


@pytest.mark.parametrize("mask", ["empty", "link"])
def test_an_empty_file_hides_one_of_a_weaker_folder(tmp_path: Path, mask: str) -> None:
    describe(tmp_path / "weak", "50.json")
    describe(tmp_path / "weak", "60.json")
    strong = tmp_path / "strong"
    strong.mkdir()
    if mask == "empty":
        (strong / "50.json").touch()
    else:
        (strong / "50.json").symlink_to("/dev/null")
    assert find_firmware(folders=[tmp_path / "weak", strong]).descriptor.name == "60.json"


@pytest.mark.parametrize("file_format", ["raw", "qcow2"])
def test_four_megabytes_are_preferred_to_two(tmp_path: Path, file_format: str) -> None:
    describe(tmp_path, "50.json", vars_size=VARS_2M, file_format=file_format)
    describe(tmp_path, "60.json", vars_size=VARS_4M, file_format=file_format)
    assert find_firmware(folders=[tmp_path]).descriptor.name == "60.json"


def test_two_megabytes_do_where_there_is_nothing_else(tmp_path: Path) -> None:
    describe(tmp_path, "50.json", vars_size=VARS_2M)
    assert find_firmware(folders=[tmp_path]).descriptor.name == "50.json"


def test_names_without_a_folder_are_taken_from_the_descriptors(tmp_path: Path) -> None:
    file = describe(tmp_path, "60.json")
    file.write_text(file.read_text().replace(f"{tmp_path}/", ""))
    assert find_firmware(folders=[tmp_path]).code == tmp_path / "60.json.code"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": ["requires-smm", "secure-boot"]}, "has the feature requires-smm"),
        ({"features": ["enrolled-keys"]}, "has the feature enrolled-keys"),
        ({"interface-types": ["bios"]}, "not UEFI"),
        ({"targets": [{"architecture": "aarch64", "machines": ["virt-*"]}]}, "not for x86_64 with q35"),
        ({"targets": [{"architecture": "x86_64", "machines": ["microvm"]}]}, "not for x86_64 with q35"),
        ({"mapping": {"device": "memory", "filename": "/x"}}, "not a pair of flash files"),
        ({"mapping": {"device": "flash", "mode": "stateless", "executable": {"filename": "/x", "format": "raw"}}}, "not a pair"),
        ({"mapping": {"device": "flash", "executable": {"filename": "/x", "format": "raw"}}}, "not a pair"),
        (
            {"mapping": {"device": "flash", "executable": {"filename": "/x", "format": "vmdk"}}},
            "is not a firmware descriptor: mapping.executable.format",
        ),
        ({"targets": 5}, "is not a firmware descriptor: targets"),
    ],
)
def test_what_does_not_suit_is_told_with_its_reason(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    file = describe(tmp_path, "60.json", **changes)
    assert f"{file}: {reason}" in reasons(tmp_path)


@pytest.mark.parametrize("pattern", ["pc-q35-*", "q35", "pc-q35-rhel9.*", "pc-*"])
def test_patterns_that_mean_q35(tmp_path: Path, pattern: str) -> None:
    file = describe(tmp_path, "60.json", targets=[{"architecture": "x86_64", "machines": [pattern]}])
    assert find_firmware(folders=[tmp_path]).descriptor == file


@pytest.mark.parametrize("part", ["code", "vars"])
def test_a_file_that_is_not_there(tmp_path: Path, part: str) -> None:
    describe(tmp_path, "60.json")
    (tmp_path / f"60.json.{part}").unlink()
    assert f"60.json.{part} does not exist" in reasons(tmp_path)


def test_a_descriptor_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "60.json").write_text("{")
    assert "60.json: is not a firmware descriptor" in reasons(tmp_path)


def test_a_descriptor_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "60.json").symlink_to(tmp_path / "gone")
    assert "60.json: cannot be read: No such file" in reasons(tmp_path)


def test_no_descriptors_at_all(tmp_path: Path) -> None:
    assert reasons(tmp_path, tmp_path / "nowhere").splitlines() == [
        f"{tmp_path}: no descriptors",
        f"{tmp_path / 'nowhere'}: no descriptors",
    ]


def test_the_folders_of_the_system_and_then_the_users(tmp_path: Path) -> None:
    own = tmp_path / "qemu" / "firmware"
    assert descriptor_folders({"XDG_CONFIG_HOME": str(tmp_path)}) == (
        Path("/usr/share/qemu/firmware"),
        Path("/etc/qemu/firmware"),
        own,
    )
    assert descriptor_folders({"XDG_CONFIG_HOME": "relative"})[-1] == Path.home() / ".config/qemu/firmware"


def test_a_user_without_a_home_has_no_folder_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert descriptor_folders({}) == (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))


def test_one_folder_replaces_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = describe(tmp_path, "60.json")
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("ANIMA_QA_FIRMWARE_DIR", tmp_path.name)
    assert find_firmware().descriptor == file
