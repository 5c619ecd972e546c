"""Pictures are taken in every form that PNG has, within limits, and everything else is told with its file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qa.screen.picture import PictureError, frame_from_picture, picture_size, read_picture

COLOURS = [(255, 0, 0), (0, 0, 255), (10, 20, 30), (200, 100, 50)]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_read_whatever_the_file_keeps_them_in(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("RGB", (4, 1))
    for x, colour in enumerate(COLOURS):
        picture.putpixel((x, 0), colour)
    picture.convert(mode).save(path)
    assert [tuple(int(one) for one in pixel) for pixel in read_picture(path)[0]] == COLOURS
    assert frame_from_picture(path).rgb.tolist() == [[list(colour) for colour in COLOURS]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_of_all_depths(tmp_path: Path, depth: int) -> None:
    palette = chunk(b"PLTE", bytes(one for colour in COLOURS for one in colour))
    first, second = 1 << (8 - depth), 0  # the pixels 1 and 0, from the highest bits on
    row = bytes([first | second]) if depth < 8 else b"\1\0"
    (tmp_path / "a.png").write_bytes(png(2, 1, depth, 3, b"\0" + row, palette))
    assert read_picture(tmp_path / "a.png").tolist() == [[list(COLOURS[1]), list(COLOURS[0])]]


def test_what_is_transparent_counts_with_its_colour(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (9, 8, 7, 0)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").tolist() == [[[9, 8, 7]]]


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 0x80FF, 0x00FF)))
    assert read_picture(tmp_path / "grey.png").tolist() == [[[128] * 3, [0] * 3]]
    (tmp_path / "colour.png").write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 0x80FF, 0x00FF, 0xFFFF)))
    assert read_picture(tmp_path / "colour.png").tolist() == [[[128, 0, 255]]]
    rows = b"\0" + struct.pack(">HHHH", 0x80FF, 0x00FF, 0xFFFF, 0x0000) + struct.pack(">HHHH", 1, 2, 0x7F00, 0xFFFF)
    (tmp_path / "clear.png").write_bytes(png(2, 1, 16, 6, rows))
    assert read_picture(tmp_path / "clear.png").tolist() == [[[128, 0, 255], [0, 0, 127]]]
    (tmp_path / "clear grey.png").write_bytes(png(2, 1, 16, 4, b"\0" + struct.pack(">HHHH", 0x80FF, 0, 0x7F00, 0xFFFF)))
    assert read_picture(tmp_path / "clear grey.png").tolist() == [[[128] * 3, [127] * 3]]


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert picture_size(tmp_path / "a.png") == (1, 1)
    assert read_picture(tmp_path / "a.png").shape == (1, 1, 3)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def animated(path: Path) -> Path:
    frames = [Image.new("RGB", (8, 8), colour) for colour in COLOURS]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def other_format(path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(path, format="JPEG")
    return path


BROKEN: dict[str, tuple[Any, str]] = {
    "wide": (lambda path: written(path, png(20_000, 10, 8, 0, b"")), "20000x10 pixels: no screen is of that size"),
    "high": (lambda path: written(path, png(10, 20_000, 8, 0, b"")), "10x20000 pixels"),
    "large": (lambda path: written(path, png(8_000, 5_001, 8, 0, b"")), "8000x5001 pixels: no screen is of that size"),
    "a bomb": (lambda path: written(path, png(16_000, 16_000, 1, 0, b"\0" * 2001 * 16_000)), "16000x16000 pixels"),
    "of no size": (lambda path: written(path, png(0, 0, 8, 0, b"")), "0x0 pixels"),
    "animated": (animated, "is animated"),
    "not PNG": (other_format, "is not a PNG picture"),
    "empty": (lambda path: written(path, b""), "is not a PNG picture"),
    "cut off": (lambda path: written(path, png(50, 50, 8, 2, b"\0" + bytes(range(150)) * 50)[:150]), "is damaged"),
    "no such depth": (lambda path: written(path, png(2, 2, 7, 2, b"\0" * 99)), "is damaged"),
    "a folder": (lambda path: path.mkdir() or path, "cannot read"),
    "not there": (lambda path: path, "there is no picture"),
    "a text bomb": (
        lambda path: written(path, png(2, 2, 8, 0, b"\0\0\0" * 2, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))))),
        "is damaged",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_taken_is_told_with_its_file(tmp_path: Path, kind: str) -> None:
    make, said = BROKEN[kind]
    path = make(tmp_path / "a.png")
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message
