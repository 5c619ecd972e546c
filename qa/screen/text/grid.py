"""Reading text consoles exactly: a grid of cells in two colours each, looked up in the fonts that consoles have."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from qa.screen.frames import Frame
from qa.screen.text.alike import settle
from qa.screen.text.cells import Cells, Screen, cut
from qa.screen.text.fonts import Font, known_fonts
from qa.screen.text.found import UNKNOWN, Grid

MOST_PIXELS = 32 * 1024 * 1024
"""Larger screens are not looked at: no console of today has one, and it would take seconds."""

INSET = 10
"""Pixels between the edge of the screen and GRUB's graphical terminal."""

SAMPLE = 6
"""Rows of cells that are read first, to see whether a font fits."""

KNOWN_GLYPHS = 0.8
"""Of the cells in two colours, this share must be glyphs of the font. On consoles nearly all are; on desktops a few in a hundred
are, which are lines and dots."""

KNOWN_CELLS = 0.5
"""Of all cells that are not plain, this share must be glyphs: a boot logo may stand above the text, and nothing more."""

PLAIN = frozenset("-_|.,:'`·¯=") | {chr(code) for code in range(0x2500, 0x25A0)}
"""Characters that lines and dots of any picture look like: they alone make no console."""


def read_console_grid(frame: Frame) -> Grid | None:
    """The text console that a frame shows, read exactly; None where it shows none, or one in a font that is not known.

    A cell in one colour is a space: a full block cannot be told from a space in inverse colours.
    """
    if frame.width * frame.height > MOST_PIXELS:
        return None
    screen = Screen.of(frame)
    for fonts in _fonts_by_cell():
        for origin in _origins(frame, fonts[0]):
            if grid := _try(screen, fonts, origin):
                return grid
    return None


@cache
def _fonts_by_cell() -> tuple[tuple[Font, ...], ...]:
    """Fonts of one cell size and place belong together: they are tried on the same cells."""
    groups: dict[object, list[Font]] = {}
    for font in known_fonts():
        groups.setdefault((font.cell, font.place), []).append(font)
    return tuple(map(tuple, groups.values()))


def _origins(frame: Frame, font: Font) -> Iterator[tuple[int, int]]:
    """Where the first cell can be."""
    if frame.width < font.width + 2 * INSET or frame.height < font.height + 2 * INSET:
        return
    if font.place == "corner":
        yield 0, 0
        return
    if font.place == "inset":
        yield INSET, INSET
        return
    for y in _centred(frame.height, font.height):
        for x in _centred(frame.width, font.width):
            yield x, y


def _centred(whole: int, cell: int) -> list[int]:
    """The margins before a centred row of any number of cells, reduced by whole cells: cells in the margin are only blank."""
    return sorted({(whole - count * cell) // 2 % cell for count in (whole // cell, whole // cell - 1)})


def _try(screen: Screen, fonts: tuple[Font, ...], origin: tuple[int, int]) -> Grid | None:
    """The grid with its first cell at ``origin``, in the best of ``fonts``; None where none fits."""
    import numpy as np  # noqa: PLC0415 -- costs 0.1 s, and most runs read no screen

    (x, y), (width, height) = origin, fonts[0].cell
    beyond = INSET if fonts[0].place == "inset" else 0
    rows, columns = (screen.colours.shape[0] - y - beyond) // height, (screen.colours.shape[1] - x - beyond) // width
    area = screen.colours[y : y + rows * height, x : x + columns * width]
    used = np.flatnonzero(screen.inked[y : y + rows * height].reshape(rows, height).any(axis=1))
    if not len(used):
        return None
    sample = used[np.linspace(0, len(used) - 1, min(SAMPLE, len(used))).astype(int)]
    few = cut(np.concatenate([area[row * height : (row + 1) * height] for row in sample]), width, height)
    enough = KNOWN_CELLS * len(few.at) / 2
    if few.pure.sum() < enough:
        return None
    hits = {font.name: _hits(few, font) for font in fonts}
    most = max(hits.values())
    if most < enough:
        return None
    cells = cut(area, width, height)
    best = max((font for font in fonts if hits[font.name] == most), key=lambda font: _hits(cells, font))
    return _read(cells, best, screen.paper, rows=rows, columns=columns, origin=origin)


def _hits(cells: Cells, font: Font) -> int:
    """How many cells show a glyph of a font."""
    return sum(1 for shape, pure in zip(cells.shapes, cells.pure, strict=True) if pure and shape in font.table)


def _read(cells: Cells, font: Font, paper: int, *, rows: int, columns: int, origin: tuple[int, int]) -> Grid | None:
    """The grid; None where too little of it is text."""
    # A line at the foot of a cell is the cursor where there is one of it, and characters where there are more.
    only_cursor = cells.shapes.count(font.bare_cursor) == 1
    found = [" "] * (rows * columns)
    cursor = None
    known = pictures = 0
    seen: set[str] = set()
    colours = zip(cells.first.tolist(), cells.second.tolist(), strict=True)
    for at, shape, pure, (first, second) in zip(cells.at.tolist(), cells.shapes, cells.pure.tolist(), colours, strict=True):
        if not pure:
            pictures += 1
        elif (both := font.table.get(shape)) and not (only_cursor and shape == font.bare_cursor):
            known += 1
            found[at] = _of(both, first, second, paper)
            seen.add(found[at])
        elif characters := font.under_cursor.get(shape):
            known += 1
            found[at], cursor = characters, (at % columns, at // columns)
        else:
            found[at] = UNKNOWN
    pure_cells = len(cells.at) - pictures
    if known < KNOWN_GLYPHS * pure_cells or known < KNOWN_CELLS * len(cells.at):
        return None
    if all(one[0] in PLAIN for one in seen) and not (cursor and len(cells.at) == 1):  # a cursor alone is an empty console
        return None
    texts = (settle(found[row * columns : (row + 1) * columns]).rstrip(" ") for row in range(rows))
    return Grid(tuple(texts), columns, font.cell, origin, cursor, font.name)


def _of(both: tuple[str, str], first: int, second: int, paper: int) -> str:
    """The characters of a cell. Where two glyphs are each other's negative, the one on the screen's or the darker background."""
    upright, turned = both
    if not upright or not turned:
        return upright or turned
    if paper in {first, second}:
        return upright if first == paper else turned
    return upright if _light(first) <= _light(second) else turned


def _light(colour: int) -> int:
    """Brightness. The colour is a number of three bytes, blue highest."""
    blue, green, red = colour >> 16, colour >> 8 & 255, colour & 255
    return 2 * red + 5 * green + blue
