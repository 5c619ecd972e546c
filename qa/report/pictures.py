"""Screenshots as parts of a page: small ones to choose from, full ones to look at, within a budget."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from qa.report.folder import ResultsFolder
from qa.screen.frames import Frame

BUDGET = 20 << 20
"""Bytes of all pictures in a page, as base64. Mail systems and CI artifact viewers refuse files not much larger."""

MAX_PICTURES = 160
"""Pictures in a page. Nobody looks at more, and each costs some 20 ms to make its small version of."""

THUMB = (200, 125)
"""Small pictures: twice the size they are shown in, for dense screens."""

REDUCED = (800, 600)
"""Size of full pictures that had to shrink: text of a console stays just readable."""

THREADS = min(4, os.cpu_count() or 1)

MAX_PIXELS = 40_000_000
"""Larger pictures are not opened: no guest's screen has that many, a file made to hurt might."""


@dataclass(frozen=True)
class Picture:
    """One screenshot. ``full`` and ``thumb`` are data URLs, empty where the picture was left out or cannot be read.

    ``note`` says that it is black, or that the display was off or not set up yet.
    """

    name: str
    full: str = ""
    thumb: str = ""
    width: int = 0
    height: int = 0
    note: str = ""


@dataclass(frozen=True)
class Album:
    """The pictures by name, and a sentence on what was left out or made smaller, if anything was."""

    pictures: dict[str, Picture]
    note: str = ""

    def get(self, name: str) -> Picture:
        """The picture of that name; an empty one where it is not in the album."""
        return self.pictures.get(name, Picture(name))


def make_album(folder: ResultsFolder, names: Iterable[str], important: Iterable[str], budget: int = BUDGET) -> Album:
    """Read the screenshots ``names`` (as in ``result.json``); ``important`` ones (those of failures) are kept longest."""
    every = list(dict.fromkeys(names))
    first = [name for name in every if name in set(important)]
    chosen = _thin(first, every, MAX_PICTURES)
    files = {name: path for name in chosen if (path := folder.find(name))}
    reduce = sum(path.stat().st_size for path in files.values()) * 4 // 3 > budget
    left = budget
    pictures: dict[str, Picture] = {name: Picture(name) for name in every}
    small, dropped = 0, len(every) - len(chosen)
    at_once = {} if reduce else _read_at_once(files)
    for name in sorted(files, key=lambda name: (name not in first, chosen.index(name))):
        keep_whole = not reduce or (name in first and left > budget // 2)
        picture = at_once.get(name) or _read(name, files[name], whole=keep_whole)
        size = len(picture.full) + len(picture.thumb)
        if not picture.full:
            continue
        if size > left:
            dropped += 1
            continue
        left -= size
        small += not keep_whole
        pictures[name] = picture
    return Album(pictures, _note(small, dropped))


def _note(small: int, dropped: int) -> str:
    parts = [f"{small} were made smaller"] * bool(small) + [f"{dropped} were left out"] * bool(dropped)
    return (
        f"To keep this page small, of the screenshots {' and '.join(parts)}; the folder has all of them in full." if parts else ""
    )


def _thin(first: list[str], every: list[str], limit: int) -> list[str]:
    """At most ``limit`` names: ``first`` ones before others, the others evenly spread."""
    if len(every) <= limit:
        return every
    if len(first) >= limit:
        return first[:limit]
    others = [name for name in every if name not in set(first)]
    room = limit - len(first)
    kept = {others[number * len(others) // room] for number in range(room)} | set(first)
    return [name for name in every if name in kept]


def _read_at_once(files: dict[str, Path]) -> dict[str, Picture]:
    """All pictures as they are. Most of the work is Pillow's, which lets other threads run meanwhile."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(files, pool.map(lambda item: _read(*item, whole=True), files.items()), strict=True))


def _read(name: str, path: Path, *, whole: bool) -> Picture:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                return Picture(name)
            kind = f"image/{(image.format or 'png').lower()}"
            width, height = image.size
            frame = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return Picture(name)
    full = _url(kind, path.read_bytes()) if whole else _smaller(frame, REDUCED, 60)
    ppm = b"P6\n%d %d\n255\n" % (width, height) + frame.tobytes()
    return Picture(name, full, _smaller(frame, THUMB, 72), width, height, Frame(width, height, ppm).note)


def _smaller(image: Image.Image, size: tuple[int, int], quality: int) -> str:
    copy = image.copy()
    copy.thumbnail(size)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=quality)
    return _url("image/jpeg", buffer.getvalue())


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
