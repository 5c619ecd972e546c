"""The format of a file and the files it would read are known before any tool of QEMU opens it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from qa.errors import ImageError
from qa.images.headers import read_header


def qcow2(backing: bytes = b"", features: int = 0, crypt: int = 0, backing_size: int | None = None) -> bytes:
    size = len(backing) if backing_size is None else backing_size
    start = b"QFI\xfb" + struct.pack(">IQIIQI", 3, 104 if backing else 0, size if backing else 0, 16, 1 << 20, crypt)
    return start.ljust(72, b"\0") + struct.pack(">Q", features) + b"\0" * 24 + backing


def header(tmp_path: Path, content: bytes):  # type: ignore[no-untyped-def]
    file = tmp_path / "image"
    file.write_bytes(content)
    return read_header(file)


def test_a_plain_qcow2_reads_nothing_else(tmp_path: Path) -> None:
    found = header(tmp_path, qcow2())
    assert (found.format, found.others, found.encrypted) == ("qcow2", (), False)


def test_a_backing_file_is_named(tmp_path: Path) -> None:
    assert header(tmp_path, qcow2(b"/etc/shadow")).others == ("/etc/shadow",)


def test_an_external_data_file_is_noticed(tmp_path: Path) -> None:
    assert header(tmp_path, qcow2(features=4)).others == ("an external data file",)


def test_encryption_is_noticed(tmp_path: Path) -> None:
    assert header(tmp_path, qcow2(crypt=2)).encrypted


def test_a_header_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cut short"):
        header(tmp_path, qcow2()[:50])


def test_a_name_without_end_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="damaged"):
        header(tmp_path, qcow2(b"x", backing_size=1 << 31))


def test_a_vmdk_that_only_describes_names_its_extents(tmp_path: Path) -> None:
    text = b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 20480 FLAT "/etc/shadow" 0\n'
    assert header(tmp_path, text).others == ("/etc/shadow",)


def test_a_vmdk_with_a_parent_names_it(tmp_path: Path) -> None:
    text = b'# Disk DescriptorFile\ncreateType="monolithicSparse"\nparentFileNameHint="/etc/shadow"\n'
    content = b"KDMV".ljust(28, b"\0") + struct.pack("<QQ", 1, 1)
    assert header(tmp_path, content.ljust(512, b"\0") + text.ljust(512, b"\0")).others == ("/etc/shadow",)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0" * 510 + b"\x55\xaa", "a boot sector"),
        (b"\0" * 512 + b"EFI PART".ljust(512, b"\0"), "a partition table"),
        (b"\0" * 0x8001 + b"CD001", "an optical disk"),
    ],
)
def test_a_raw_file_counts_as_a_disk_if_it_begins_like_one(tmp_path: Path, content: bytes, kind: str) -> None:
    found = header(tmp_path, content)
    assert (found.format, found.disk) == ("raw", True), kind


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (b"hello\nworld\n", "a text file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\0" * 4096, "an empty disk"),
        (b"\xff\xfe\x80" * 100, "without a partition table"),
    ],
)
def test_a_raw_file_that_is_no_disk_says_what_it_is(tmp_path: Path, content: bytes, looks_like: str) -> None:
    found = header(tmp_path, content)
    assert not found.disk
    assert looks_like in found.looks_like
