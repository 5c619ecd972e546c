"""A film for a report: of each picture only the part that changed, so that hundreds of them stay sharp and small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qa.screen.film import Shot, thinned

if TYPE_CHECKING:
    from PIL import Image

MOST_BYTES = 12 << 20
"""All pictures of a film in the results folder: of a desktop that moves all the time fewer are kept than of a console."""


@dataclass(frozen=True)
class Cut:
    """What changed in a picture, and where that lies on the screen. The first, and each of another size, is whole."""

    shot: Shot
    file: Path
    x: int
    y: int


def cut_film(shots: list[Shot], folder: Path, *, most_bytes: int = MOST_BYTES) -> list[Cut]:
    """Write the film into ``folder``, which is made. Takes some 20 ms for each picture, so it belongs into a thread.

    Raises:
        OSError: it cannot be written, or a picture of the film is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        cuts = _cut(shots, folder)
        if len(shots) <= 2 or sum(cut.file.stat().st_size for cut in cuts) <= most_bytes:
            return cuts
        for cut in cuts:
            cut.file.unlink()
        shots, _ = thinned(shots)


def _cut(shots: list[Shot], folder: Path) -> list[Cut]:
    from PIL import Image, ImageChops  # noqa: PLC0415 -- costs 60 ms, in a thread

    cuts: list[Cut] = []
    last: Image.Image | None = None
    for shot in shots:
        with Image.open(shot.file) as opened:
            picture = opened.convert("RGB")
        box: tuple[int, int, int, int] | None = (0, 0, *picture.size)
        if last and last.size == picture.size:
            box = ImageChops.difference(last, picture).getbbox()
        if box is None:  # what was between two equal pictures was left out
            continue
        file = folder / f"{len(cuts):04d}.png"
        _few_colours(picture.crop(box)).save(file, optimize=True)
        cuts.append(Cut(shot, file, box[0], box[1]))
        last = picture
    return cuts


def _few_colours(picture: Image.Image) -> Image.Image:
    """With a palette where that loses nothing: consoles have few colours, and their files are then a third."""
    from PIL import Image  # noqa: PLC0415 -- see above

    colours = picture.getcolors(256)
    if colours is None:
        return picture
    smaller = picture.quantize(max(len(colours), 2), dither=Image.Dither.NONE)
    return smaller if smaller.convert("RGB").tobytes() == picture.tobytes() else picture
