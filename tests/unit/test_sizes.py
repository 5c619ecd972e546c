"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from qa.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (4096, "4 KiB"),
        (999 << 10, "999 KiB"),
        (1000 << 10, "1.0 MiB"),
        (96 << 20, "96.0 MiB"),
        (227 << 20, "227 MiB"),
        (20 << 30, "20.0 GiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("1.5G", 3 << 29), ("20 GiB", 20 << 30), ("512m", 512 << 20), (7, 7)])
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "1,5G", "9" * 400, "1.5.5G"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)
