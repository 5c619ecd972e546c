"""The catalogue, and the vendors' lists of checksums."""

from __future__ import annotations

import pytest

from qa.errors import DownloadFailed
from qa.images.catalog import catalogue, find_checksum

A, B, LONG = "a" * 64, "b" * 64, "c" * 128


def test_every_entry_names_a_file_and_a_list_over_https() -> None:
    known = catalogue()
    assert {"debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04", "arch"} <= set(known)
    for image in known.values():
        assert image.url.startswith("https://")
        assert image.checksums.url.startswith("https://")
        assert image.url.rsplit("/", 1)[-1]


def test_the_line_of_the_file_counts_and_no_other() -> None:
    text = f"{A}  other.qcow2\n{B} *wanted.qcow2\n"
    assert find_checksum(text, "wanted.qcow2", "gnu") == ("sha256", B)


def test_a_longer_digest_is_sha512() -> None:
    assert find_checksum(f"{LONG}  wanted.qcow2\n", "wanted.qcow2", "gnu") == ("sha512", LONG)


def test_names_may_have_a_path_before_them() -> None:
    assert find_checksum(f"{A}  ./images/wanted.qcow2\n", "wanted.qcow2", "gnu") == ("sha256", A)


def test_bsd_lines_are_read_between_signatures_and_comments() -> None:
    text = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# wanted: 12 bytes\nSHA256 (wanted.qcow2) = {A.upper()}\n"
    assert find_checksum(text, "wanted.qcow2", "bsd") == ("sha256", A)


def test_one_digest_alone_is_for_the_file() -> None:
    assert find_checksum(f"{LONG}\n", "wanted.qcow2", "gnu") == ("sha512", LONG)


def test_digests_without_names_among_others_are_for_nobody() -> None:
    with pytest.raises(DownloadFailed):
        find_checksum(f"{A}\n{B}  other.qcow2\n", "wanted.qcow2", "gnu")


@pytest.mark.parametrize("style", ["gnu", "bsd"])
def test_a_web_page_is_no_list(style: str) -> None:
    with pytest.raises(DownloadFailed, match=r"does not have wanted\.qcow2") as failure:
        find_checksum("<html>moved</html>", "wanted.qcow2", style)  # type: ignore[arg-type]
    assert "<html>" in failure.value.evidence["the list begins"]
