"""Pictures of screens for agents: small enough for every client, and in pixels that they can point at."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa.errors import UsageError
from qa.screen.frames import Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

LONGEST_SIDE = 1568
"""Pixels. Models scale larger pictures down themselves, and then point beside what they mean; 2000 can end a conversation."""

LARGEST = 700_000
"""Bytes of PNG; in base64 it is a third more, and about 1 MB can end a conversation."""

_FEWER_COLOURS = (256, 64, 16)
_SHRINK = 0.8
_BAND_GAP = 24
"""Rows between two changes that are told apart: more than a line of text."""
_MOST_BOXES = 4

Box = tuple[int, int, int, int]
"""x, y, width, height."""


@dataclass(frozen=True)
class View:
    """What part of a screen a picture shows, and how large: turns places in the picture into places on the screen.

    Attributes:
        screen: width and height of the whole screen.
        box: the part of the screen.
        scale: pixels of the picture for one of the screen.
    """

    screen: tuple[int, int]
    box: Box
    scale: float

    @classmethod
    def of(cls, frame: Frame, box: Box | None = None, scale: float | None = None) -> View:
        """The view of ``frame``, or of a part of it, that fits: no larger than asked for, and 1:1 where nothing is asked for."""
        whole = (0, 0, frame.width, frame.height)
        part = box or whole
        fitting = LONGEST_SIDE / max(part[2], part[3])
        return cls((frame.width, frame.height), part, min(fitting, scale or 1.0))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return max(1, round(self.box[2] * self.scale)), max(1, round(self.box[3] * self.scale))

    @property
    def is_whole(self) -> bool:
        """Whether it shows all of the screen."""
        return self.box == (0, 0, *self.screen)

    def fits(self, frame: Frame) -> bool:
        """Whether ``frame`` is of the same size as the screen was."""
        return self.screen == (frame.width, frame.height)

    def to_screen(self, x: float, y: float) -> tuple[int, int]:
        """The place on the screen of a place in the picture.

        Raises:
            UsageError: it is outside the picture.
        """
        width, height = self.size
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(
                f"({x:g}, {y:g}) is outside the last picture, which is {width}x{height}",
                hint="coordinates are pixels of the last picture, from its top left corner",
            )
        left, top, wide, high = self.box
        return left + min(wide - 1, int((x + 0.5) / self.scale)), top + min(high - 1, int((y + 0.5) / self.scale))

    def box_on_screen(self, box: Box) -> Box:
        """The part of the screen that a part of the picture shows; what sticks out of the picture is left out.

        Raises:
            UsageError: nothing is left.
        """
        x, y, width, height = box
        if width < 1 or height < 1:
            raise UsageError(f"a region of {width}x{height} shows nothing", hint="a region is [x, y, width, height]")
        x1, y1, x2, y2 = max(0, x), max(0, y), min(self.size[0], x + width), min(self.size[1], y + height)
        for corner in ((x1, y1), (x2 - 1, y2 - 1)):
            self.to_screen(*corner)
        left, top, wide, high = self.box
        across = int(x1 / self.scale), min(wide, math.ceil(x2 / self.scale))
        down = int(y1 / self.scale), min(high, math.ceil(y2 / self.scale))
        return left + across[0], top + down[0], across[1] - across[0], down[1] - down[0]

    def in_picture(self, box: Box) -> Box | None:
        """Where the picture shows a part of the screen; None where it does not."""
        left, top = max(box[0], self.box[0]), max(box[1], self.box[1])
        right = min(box[0] + box[2], self.box[0] + self.box[2])
        bottom = min(box[1] + box[3], self.box[1] + self.box[3])
        if right <= left or bottom <= top:
            return None
        x, y = int((left - self.box[0]) * self.scale), int((top - self.box[1]) * self.scale)
        return x, y, max(1, round((right - left) * self.scale)), max(1, round((bottom - top) * self.scale))


def draw(frame: Frame, view: View) -> tuple[bytes, View]:
    """``view`` of ``frame`` as a PNG with a palette, and the view that it came to: a picture that is too large gets fewer
    colours, and then fewer pixels."""
    while True:
        picture = _scaled(frame, view)
        for colours in _FEWER_COLOURS:
            png = _encode(picture, colours)
            if len(png) <= LARGEST:
                return png, view
        view = View(view.screen, view.box, view.scale * _SHRINK)


def _scaled(frame: Frame, view: View) -> Image:
    from PIL import Image  # noqa: PLC0415 -- costs 60 ms, and the server answers before anybody wants a picture

    with Image.open(io.BytesIO(frame.ppm)) as whole:
        left, top, width, height = view.box
        part = whole.crop((left, top, left + width, top + height))
    if part.size != view.size:
        part = part.resize(view.size, Image.Resampling.LANCZOS if view.scale < 1 else Image.Resampling.NEAREST)
    return part


def _encode(picture: Image, colours: int) -> bytes:
    from PIL import Image  # noqa: PLC0415 -- see above

    if (found := picture.getcolors(colours)) is not None:
        reduced = _exactly(picture, [colour for _, colour in found])
    else:
        reduced = picture.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    reduced.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _exactly(picture: Image, colours: list[Any]) -> Image:
    """With these colours as its palette, and no pixel changed. Pillow's own way takes five times as long."""
    import numpy as np  # noqa: PLC0415 -- costs 0.1 s
    from PIL import Image  # noqa: PLC0415 -- see above

    pixels = np.asarray(picture, np.uint32)
    numbers = np.zeros(1 << 24, np.uint8)
    for number, (red, green, blue) in enumerate(colours):
        numbers[red << 16 | green << 8 | blue] = number
    reduced = Image.fromarray(numbers[pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]], "P")
    reduced.putpalette(bytes(part for colour in colours for part in colour))
    return reduced


def changed(before: Frame, after: Frame) -> list[Box]:
    """Where two frames of one size differ: a box for each group of rows that lie apart from others, from the top; in pixels
    of the screen."""
    import numpy as np  # noqa: PLC0415 -- costs 0.1 s

    if before.digest == after.digest:
        return []
    differs = (before.rgb != after.rgb).any(axis=2)
    rows = np.flatnonzero(differs.any(axis=1))
    if not len(rows):
        return []
    return [_box(differs, first, last) for first, last in _bands(rows.tolist())]


def _bands(rows: list[int]) -> list[tuple[int, int]]:
    """Groups of ``rows``, the first and the last of each; those nearest to each other are joined until they are few."""
    bands = [(rows[0], rows[0])]
    for row in rows[1:]:
        first, last = bands[-1]
        if row - last <= _BAND_GAP:
            bands[-1] = (first, row)
        else:
            bands.append((row, row))
    while len(bands) > _MOST_BOXES:
        at = min(range(len(bands) - 1), key=lambda number: bands[number + 1][0] - bands[number][1])
        bands[at : at + 2] = [(bands[at][0], bands[at + 1][1])]
    return bands


def _box(differs: NDArray[np.bool_], first: int, last: int) -> Box:
    import numpy as np  # noqa: PLC0415 -- is loaded already

    columns = np.flatnonzero(differs[first : last + 1].any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    return left, first, right - left + 1, last - first + 1
