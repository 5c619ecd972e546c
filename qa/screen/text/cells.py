"""A frame as cells of one size, for those who look them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa.screen.frames import Frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Screen:
    """A frame, prepared once for all cell sizes.

    Attributes:
        colours: the pixels as one number each, blue in the highest byte.
        paper: the colour that most of it has, as far as a sample tells.
        inked: whether a row of pixels has any other colour.
    """

    colours: NDArray[np.uint32]
    paper: int
    inked: NDArray[np.bool_]

    @classmethod
    def of(cls, frame: Frame) -> Screen:
        """A frame's."""
        import numpy as np  # noqa: PLC0415 -- costs 0.1 s, and most runs read no screen

        # Four bytes from the one before each pixel on, of which that one is shifted out: the header lies before the first pixel.
        start = len(frame.ppm) - 3 * frame.width * frame.height - 1
        shape, strides = (frame.height, frame.width), (3 * frame.width, 3)
        colours = np.ndarray(shape, "<u4", frame.ppm, start, strides) >> np.uint32(8)
        step = max(1, min(shape) // 100)
        found, counts = np.unique(colours[::step, ::step], return_counts=True)
        paper = int(found[counts.argmax()])
        return cls(colours, paper, (colours != paper).any(axis=1))


@dataclass(frozen=True)
class Cells:
    """The cells of some rows that are not plain: where they are, and what they show.

    Attributes:
        at: number of each, row by row.
        shapes: their pixels that have another colour than their first one, packed into bytes.
        first, second: their two colours.
        pure: whether they have no third.
    """

    at: NDArray[np.intp]
    shapes: list[bytes]
    first: NDArray[np.uint32]
    second: NDArray[np.uint32]
    pure: NDArray[np.bool_]


def cut(colours: NDArray[np.uint32], width: int, height: int) -> Cells:
    """Cut an area that is a whole number of cells."""
    import numpy as np  # noqa: PLC0415 -- as above

    rows, columns = colours.shape[0] // height, colours.shape[1] // width
    cells = colours.reshape(rows, height, columns, width).transpose(0, 2, 1, 3).reshape(rows * columns, height * width)
    differs = cells != cells[:, :1]
    at = np.flatnonzero(differs.any(axis=1))
    cells, differs = cells[at], differs[at]
    second = cells[np.arange(len(at)), differs.argmax(axis=1)] if len(at) else cells[:, 0]
    pure = ((cells == second[:, None]) == differs).all(axis=1)
    packed = np.packbits(differs, axis=1)
    size, raw = packed.shape[1], packed.tobytes()
    return Cells(at, [raw[start : start + size] for start in range(0, len(raw), size)], cells[:, 0], second, pure)
