"""Pictures of real screens, and frames that are drawn here."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from qa.screen.frames import Frame

SCREENS = Path(__file__).parent / "data" / "screens"


def screen(name: str) -> Frame:
    """A frame of a real guest. Those of Linux print what `LINUX_PAGE` says."""
    with Image.open(SCREENS / f"{name}.png") as picture:
        return frame_of(picture.convert("RGB"))


def frame_of(picture: Image.Image) -> Frame:
    return Frame(*picture.size, b"P6\n%d %d\n255\n" % picture.size + picture.tobytes())


def plain(width: int, height: int, colour: tuple[int, int, int] = (0, 0, 0)) -> Frame:
    return frame_of(Image.new("RGB", (width, height), colour))


LINUX_PAGE = """\
Bold, inverse, underlined, blinking, dim
 03  06  12  15  21  24  27  30  36  42  45  51  54  57  60  63  72  75
+ bright on blue +  black on white  !"#$%&'()*
Äpfel, Öl, Übel, ß; à é î õ ü ç ñ; £ ¥ ½ ¼ « » ¿ ¡ ± ² µ ° ·"""
"""What was printed on the consoles of Linux, each in bold, inverse and all colours, with escape sequences."""
