"""A film as a video: by ffmpeg where it is there, else as an animated WebP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from qa.host.helpers import find_program
from qa.screen.film import Shot, thinned

if TYPE_CHECKING:
    from PIL import Image

SHORTEST, LONGEST = 0.1, 1.0
"""Seconds that each picture is shown: as long as it was there, but nobody waits for a screen on which nothing happens."""

LIMIT_S = 30.0
"""For making the video, whichever way; what takes longer is given up, so that the end of a machine does not take too long. 240
pictures of 1280x800 take a few seconds."""

CODECS = (
    (".mp4", ("libx264", "-preset", "veryfast", "-crf", "24", "-pix_fmt", "yuv420p", "-movflags", "+faststart")),
    (".webm", ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "32", "-b:v", "0", "-pix_fmt", "yuv420p")),
)
"""What is tried, in this order: an ffmpeg need not have the encoder for H.264, whose patents some distributions mind."""

WEBP_SHOTS = 60
WEBP_WIDTH = 800
"""An animated WebP is made by this process itself, with some 40 ms for each picture: fewer and smaller ones."""


async def make_video(shots: Sequence[Shot], stem: Path) -> Path | None:
    """Write the video of ``shots`` to ``stem`` with the suffix of its kind; None where none can be made.

    Args:
        stem: its place and name; the folder of the pictures gets a list of them.
    """
    end = time.monotonic() + LIMIT_S
    ffmpeg = find_program("ffmpeg")
    if ffmpeg is not None:
        listing = shots[0].file.parent / "film.txt"
        with suppress(OSError):
            listing.write_text("".join(_listed(shots)))
            for suffix, codec in CODECS:
                target = stem.with_name(stem.name + suffix)
                if await _encode(ffmpeg, listing, _size(shots), codec, target, end=end):
                    return target
    return await asyncio.to_thread(_webp, list(shots), stem.with_name(f"{stem.name}.webp"), end)


def durations(shots: Sequence[Shot]) -> list[float]:
    """Seconds that each picture is shown."""
    shown = [min(max(after.at - before.at, SHORTEST), LONGEST) for before, after in pairwise(shots)]
    return [*shown, LONGEST]


def _listed(shots: Sequence[Shot]) -> Iterator[str]:
    yield "ffconcat version 1.0\n"
    for shot, seconds in zip(shots, durations(shots), strict=True):
        yield f"file {shot.file.name}\nduration {seconds:.3f}\n"


async def _encode(program: Path, listing: Path, size: tuple[int, int], codec: Sequence[str], target: Path, *, end: float) -> bool:
    width, height = size
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,setsar=1"
    process = await asyncio.create_subprocess_exec(
        *(str(program), "-nostdin", "-y", "-loglevel", "error", "-f", "concat", "-i", str(listing)),
        *("-vf", fit, "-threads", "1", "-c:v", *codec, str(target.absolute())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    made = False
    try:
        async with asyncio.timeout(end - time.monotonic()):
            made = await process.wait() == 0
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
        if not made:  # half a video is none
            target.unlink(missing_ok=True)
    return made


def _size(shots: Sequence[Shot]) -> tuple[int, int]:
    """So large that each picture fits; even, as encoders want it."""
    width, height = max(shot.width for shot in shots), max(shot.height for shot in shots)
    return width + width % 2, height + height % 2


def _webp(shots: list[Shot], target: Path, end: float) -> Path | None:
    from PIL import Image, features  # noqa: PLC0415 -- costs 60 ms, in a thread

    if not features.check("webp"):
        return None
    while len(shots) > WEBP_SHOTS:
        shots, _ = thinned(shots)
    width, height = _size(shots)
    scale = min(1.0, WEBP_WIDTH / width)
    canvas = (max(1, round(width * scale)), max(1, round(height * scale)))

    def pictures() -> Iterator[Image.Image]:
        for shot in shots:
            if time.monotonic() > end:
                raise TimeoutError("the video took too long")
            with Image.open(shot.file) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail(canvas)
            page = Image.new("RGB", canvas)
            page.paste(picture, ((canvas[0] - picture.width) // 2, (canvas[1] - picture.height) // 2))
            yield page

    try:
        first, *others = pictures()
        shown = [round(1000 * seconds) for seconds in durations(shots)]
        first.save(target, save_all=True, append_images=others, duration=shown, loop=0, quality=60, method=1)
    except (OSError, ValueError):
        with suppress(OSError):
            target.unlink(missing_ok=True)
        return None
    return target
