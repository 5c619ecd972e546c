"""Pictures from files: PNG only, under limits, whatever the file claims."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import UsageError
from qa.screen.frames import MAX_PIXELS, Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 16384
"""Pixels. No screen is wider or higher."""
MAX_BYTES = 256 << 20
"""The largest picture within the other limits, if it cannot be compressed at all."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = len(_SIGNATURE) + 25


class PictureError(UsageError):
    """A picture cannot be read, or is none that we take."""


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's first bytes.

    Raises:
        PictureError: it is no PNG file, or is too large.
    """
    return _size(path, _read(path, _HEADER))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The pixels as an array of height, width and three colours.

    Palettes, grey and 16 bit become 8 bit for each colour; a transparent pixel counts with the colour it has.

    Raises:
        PictureError: it is no PNG file, is damaged, animated or too large.
    """
    import numpy as np  # noqa: PLC0415 -- costs 0.1 s
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 -- costs 60 ms

    content = _read(path, MAX_BYTES + 1)
    width, height = _size(path, content)
    if len(content) > MAX_BYTES:
        raise PictureError(f"{path} has more than {MAX_BYTES >> 20} MB", hint="save it again as PNG")
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise PictureError(f"{path} is animated", hint="save one of its pictures as PNG")
            if picture.mode.startswith("I"):  # 16 bit of grey, which Pillow would cut off at 255
                grey = (np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)
                pixels = np.repeat(grey[..., None], 3, axis=2)
            else:
                pixels = np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError:
        raise PictureError(f"{path} is damaged: its header cannot be read", hint="take the picture again") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise PictureError(f"{path} is damaged: {error}", hint="take the picture again") from None
    if pixels.shape != (height, width, 3):
        raise PictureError(f"{path} is damaged: its parts differ in size", hint="take the picture again")
    return pixels


def frame_from_picture(path: Path) -> Frame:
    """A saved screen as a frame.

    Raises:
        PictureError: see `read_picture`.
    """
    pixels = read_picture(path)
    height, width, _ = pixels.shape
    return Frame(width, height, b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise PictureError(f"there is no picture {path}") from None
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error


def _size(path: Path, content: bytes) -> tuple[int, int]:
    if not content.startswith(_SIGNATURE) or len(content) < _HEADER or content[12:16] != b"IHDR":
        raise PictureError(f"{path} is not a PNG picture", hint="save it as PNG")
    width, height = struct.unpack(">II", content[16:24])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        limit = f"at most {MAX_SIDE} pixels wide and high, and {MAX_PIXELS // 1_000_000} million in all"
        raise PictureError(f"{path} is {width}x{height} pixels: no screen is of that size", hint=f"pictures may be {limit}")
    return width, height
