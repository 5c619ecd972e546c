"""Images that cannot be used, and images that do not boot: the exit status, and a sentence that says why."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Program

SCRIPT = "image: {image}\nsteps: [succeed: 'true']\n"
LINUX = 0x83
EFI_SYSTEM = 0xEF
SECTOR = 512
START = 2048


def command(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def qcow2(path: Path, *options: object, size: str = "1G") -> None:
    command("qemu-img", "create", "-q", "-f", "qcow2", *options, path, size)


def partitioned(path: Path, kind: int = LINUX, content: bytes = bytes(1 << 20)) -> None:
    """A raw disk with one partition."""
    entry = bytes([0, 0, 0, 0, kind, 0, 0, 0]) + START.to_bytes(4, "little") + (len(content) // SECTOR).to_bytes(4, "little")
    path.write_bytes((bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa" + bytes((START - 1) * SECTOR) + content)


def truncated(path: Path) -> None:
    whole = path.with_name("whole")
    whole.write_bytes(bytes(range(256)) * 40_000)
    command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", whole, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def backed(path: Path) -> None:
    qcow2(path.with_name("base.qcow2"))
    qcow2(path, "-b", path.with_name("base.qcow2"), "-F", "qcow2")


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "truncated": (truncated, "is damaged or cut short"),
    "text": (
        lambda path: path.write_text("#!/bin/sh\necho I am a script\n" * 100),
        "is not a disk image: it looks like a text file",
    ),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "zeros": (lambda path: path.write_bytes(bytes(1 << 20)), "is not a disk image: it looks like an empty disk"),
    "secret": (lambda path: qcow2(path, "-u", "-b", "/etc/shadow", "-F", "raw"), "reads other files of this host: '/etc/shadow'"),
    "backed": (backed, "base.qcow2'"),
    "data file": (
        lambda path: qcow2(path, "-o", f"data_file={path}.data,data_file_raw=on"),
        "reads other files of this host: 'an external data file'",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_image_is_refused_with_its_reason(program: Program, kind: str) -> None:
    make, reason = UNUSABLE[kind]
    make(program.cwd / "disk.qcow2")
    ended = program.run_script(SCRIPT.format(image="./disk.qcow2"))
    assert ended.status == 3
    assert reason in ended.text
    assert "Traceback" not in ended.text
    assert reason in ended.result["reason"]
    assert ended.result["steps"][0]["outcome"] == "skipped"
    assert program.leftovers() == []


def test_a_mistyped_name_is_told_with_the_nearest(program: Program) -> None:
    ended = program.run_script(SCRIPT.format(image="buildin"))
    assert ended.status == 3
    assert "did you mean 'builtin'?" in ended.text


def test_an_address_without_a_digest_is_a_mistake_of_the_script(program: Program) -> None:
    ended = program.run_script(SCRIPT.format(image="http://127.0.0.1:1/disk.qcow2"))
    assert ended.status == 2
    assert "#sha256=" in ended.text


def test_an_extra_disk_must_not_read_other_files_either(program: Program) -> None:
    qcow2(program.cwd / "extra.qcow2", "-u", "-b", "/etc/shadow", "-F", "raw")
    ended = program.run_script("image: builtin\nmachine: {disks: [{path: extra.qcow2}]}\nsteps: [succeed: 'true']\n")
    assert ended.status == 3
    assert "'/etc/shadow'" in ended.text


def grub_without_configuration(path: Path) -> None:
    loader, esp = path.with_name("grub.efi"), path.with_name("esp")
    command(
        "grub-mkimage", "-O", "x86_64-efi", "-p", "/nowhere", "-o", loader, "normal", "fat", "part_msdos", "serial", "terminal"
    )
    esp.write_bytes(bytes(8 << 20))
    command("mformat", "-i", esp, "::")
    command("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    command("mcopy", "-i", esp, loader, "::/EFI/BOOT/BOOTX64.EFI")
    partitioned(path, EFI_SYSTEM, esp.read_bytes())


UNBOOTABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.qcow2": (qcow2, "the firmware ended in the UEFI shell"),
    "no-loader.raw": (partitioned, "the firmware ended in the UEFI shell"),
    "grub.raw": (grub_without_configuration, "the boot loader stopped at its prompt (grub>)"),
}


@pytest.mark.parametrize("name", UNBOOTABLE)
def test_an_image_that_does_not_boot_ends_the_run_and_not_its_deadline(program: Program, name: str) -> None:
    make, reason = UNBOOTABLE[name]
    make(program.cwd / name)
    ended = program.run_script(SCRIPT.format(image=f"./{name}"))
    assert ended.status == 4
    assert reason in ended.text
    evidence = [(ended.folder / path).read_text() for path in ended.result["evidence"]]
    assert any("BdsDxe" in text or "grub>" in text for text in evidence)
    assert program.leftovers() == []
