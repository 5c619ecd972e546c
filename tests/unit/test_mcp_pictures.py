from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from qa.errors import UsageError
from qa.mcp import pictures
from qa.mcp.pictures import View, changed, draw
from qa.screen.frames import Frame


def frame(width: int, height: int, *boxes: tuple[int, int, int, int], colour: bytes = b"\xff\xff\xff") -> Frame:
    """Black, with boxes."""
    pixels = bytearray(3 * width * height)
    for left, top, wide, high in boxes:
        for row in range(top, top + high):
            start = 3 * (row * width + left)
            pixels[start : start + 3 * wide] = colour * wide
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + bytes(pixels))


def noise(width: int, height: int) -> Frame:
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + random.Random(1).randbytes(3 * width * height))


def test_a_small_screen_is_shown_as_it_is() -> None:
    screen = frame(720, 400, (10, 20, 30, 40), colour=b"\x12\x34\x56")
    png, view = draw(screen, View.of(screen))
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.mode, picture.size) == ("P", (720, 400))
        assert picture.convert("RGB").getpixel((10, 20)) == (0x12, 0x34, 0x56)
        assert picture.convert("RGB").getpixel((9, 20)) == (0, 0, 0)
    assert (view.scale, view.is_whole) == (1.0, True)


def test_few_colours_are_kept_exactly() -> None:
    boxes = [(number, number, 5, 5) for number in range(0, 60, 3)]
    screen = frame(100, 80)
    for number, box in enumerate(boxes):
        part = frame(100, 80, box, colour=bytes((number, 255 - number, 7 * number)))
        screen = Frame(100, 80, bytes(a | b for a, b in zip(screen.ppm, part.ppm, strict=True)))
    png, _ = draw(screen, View.of(screen))
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.convert("RGB").tobytes() == bytes(screen.pixels)


@pytest.mark.parametrize("size", [(3840, 2160), (1080, 5000), (1569, 10)])
def test_no_side_is_longer_than_models_take(size: tuple[int, int]) -> None:
    screen = frame(*size)
    png, _ = draw(screen, View.of(screen, scale=3.0))
    with Image.open(io.BytesIO(png)) as picture:
        assert max(picture.size) == pictures.LONGEST_SIDE


def test_a_picture_with_too_many_bytes_loses_colours_and_then_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 20_000)
    screen = noise(400, 300)
    png, view = draw(screen, View.of(screen))
    assert len(png) <= 20_000
    assert view.scale < 1
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == view.size


def test_places_in_a_picture_are_places_on_the_screen() -> None:
    screen = frame(3136, 1568)
    view = View.of(screen)
    assert view.scale == 0.5
    assert view.to_screen(0, 0) == (1, 1)
    assert view.to_screen(1567, 783) == (3135, 1567)
    zoomed = View.of(screen, view.box_on_screen((100, 50, 20, 10)))
    assert zoomed.box == (200, 100, 40, 20)
    assert zoomed.to_screen(0, 0) == (200, 100)
    assert zoomed.in_picture((201, 101, 39, 19)) == (1, 1, 39, 19)
    assert zoomed.in_picture((0, 0, 50, 50)) is None
    assert View.of(screen, view.box_on_screen((0, 0, 1568, 784))).is_whole


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (720, 0), (0, 400), (1e9, 1e9), (float("nan"), 0)])
def test_places_outside_are_refused(place: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="outside the last picture, which is 720x400"):
        View.of(frame(720, 400)).to_screen(*place)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1)])
def test_a_region_without_pixels_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="shows nothing"):
        View.of(frame(100, 100)).box_on_screen(box)


def test_what_sticks_out_of_a_region_is_left_out() -> None:
    assert View.of(frame(100, 80)).box_on_screen((90, -10, 50, 30)) == (90, 0, 10, 20)


def test_a_region_may_be_enlarged() -> None:
    screen = frame(100, 80)
    view = View.of(screen, (10, 10, 20, 20), 4)
    png, _ = draw(screen, view)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (80, 80)
    assert view.to_screen(79, 79) == (29, 29)


def test_changes_are_boxes() -> None:
    before = frame(200, 300)
    assert changed(before, frame(200, 300)) == []
    assert changed(before, frame(200, 300, (5, 7, 1, 1))) == [(5, 7, 1, 1)]
    assert changed(before, frame(200, 300, (5, 7, 10, 2), (50, 15, 20, 2))) == [(5, 7, 65, 10)]
    assert changed(before, frame(200, 300, (5, 7, 10, 2), (50, 150, 20, 2))) == [(5, 7, 10, 2), (50, 150, 20, 2)]


def test_many_changes_become_few_boxes() -> None:
    before, after = frame(50, 400), frame(50, 400, *((1, top, 2, 2) for top in range(0, 400, 40)))
    boxes = changed(before, after)
    assert len(boxes) == 4
    assert boxes[0][1] == 0
    assert boxes[-1][1] + boxes[-1][3] == 362
