#!/usr/bin/env python3
"""Learn the fonts of text consoles from the screens of real guests: ``tools/console_fonts.py [NAME...]``.

Writes ``qa/screen/text/fonts/``. The guest prints every character that a console font may have, each at a known place; what is
then seen at that place is its glyph. The firmware's font is seen in its shell. Fonts that a distribution loads are taken out of
its package, which apt downloads, with the program that loads them.
"""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from qa.config import load_config
from qa.events import Bus
from qa.fleet import Owner
from qa.machine import Machine
from qa.operations.boot import Host, Place
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.screen.frames import Frame
from qa.screen.text.alike import script_of
from qa.screen.text.fonts import FOLDER, Font, format_font, format_glyphs
from tools.grub_disk import bootable, kernel_disk

BLOCKS = (
    (0x20, 0x7F), (0xA0, 0x250), (0x2B0, 0x300), (0x370, 0x530), (0x1E00, 0x2000), (0x2010, 0x2028), (0x2030, 0x2060),
    (0x2070, 0x20C1), (0x2100, 0x2400), (0x2440, 0x2450), (0x2460, 0x2668), (0x2669, 0x27C0), (0x2800, 0x2900), (0xFB00, 0xFB07),
    (0xFFFD, 0xFFFE),
)  # fmt: skip
"""What console fonts have, as ranges of code points: European scripts, punctuation, arrows, mathematics, boxes, Braille."""

FIRMWARE_BLOCKS = ((0x20, 0x7F), (0xA0, 0x180), (0x2190, 0x2200), (0x2500, 0x2600))
"""The same for firmware, whose shell shows fewer characters at once. It has those of western Europe, arrows and boxes."""

GRUB_BLOCKS = (
    (0x20, 0x7F), (0xA0, 0x180), (0x391, 0x3CA), (0x400, 0x460), (0x2010, 0x2028), (0x2190, 0x2194), (0x2500, 0x25A0),
    (0x25B2, 0x25C5),
)  # fmt: skip
"""The same for GRUB's graphical terminal, whose font has everything, but much of it in glyphs of two cells."""

GRUB_CONFIG = """\
search --no-floppy --file /page --set=root
loadfont /unicode.pf2
set gfxmode=1024x768
terminal_output gfxterm
source /page
"""
GRUB_MODULES = "part_gpt fat normal configfile search search_fs_file echo sleep efi_gop all_video gfxterm font"

LARGE = "2560x1440"
"""A screen so large that the kernel takes its large font."""

NOWHERE = "\ue123"
"""A character that no font has: what is shown for it is shown for every other that is not in the font."""

STANDS_FOR_ALL = "?\N{REPLACEMENT CHARACTER}"
"""One of these is what is shown for it."""

LEFT_IN_GUEST = "/root/font"
"""Where the guest gets what it shall load or print."""


@dataclass(frozen=True)
class Source:
    """Where a font is seen.

    Attributes:
        file: name of the file to be written, without its ending. Fonts are tried in the order of their names.
        loads: the files of the distribution that have it, as far as one has all its characters; none for the kernel's own.
        large: whether the kernel takes it on large screens only.
    """

    file: str
    name: str
    cell: tuple[int, int]
    loads: tuple[str, ...] = ()
    large: bool = False


def _debian(number: int, family: str, size: str, cell: tuple[int, int], sets: str) -> Source:
    loads = tuple(f"{one}-{family}{size}" for one in sets.split())
    return Source(f"{number}-{family.lower()}-{cell[0]}x{cell[1]}", f"{family} {cell[0]}x{cell[1]}", cell, loads)


FIRMWARE, GRUB = "20-efi-8x19", "21-grub-8x16"

SOURCES = (
    Source("10-kernel-8x16", "VGA 8x16 (kernel)", (8, 16)),
    Source("11-kernel-16x32", "Terminus 16x32 (kernel)", (16, 32), large=True),
    _debian(30, "Fixed", "16", (8, 16), "Lat15 Lat2 Lat7 Uni1 Uni2 Uni3 FullCyrSlav FullGreek Vietnamese"),
    _debian(31, "Terminus", "16", (8, 16), "Lat15 Lat2 Lat7 Uni2 Uni3 FullCyrSlav FullGreek Vietnamese"),
    _debian(32, "TerminusBold", "16", (8, 16), "Lat15 Lat2 Lat7 Uni2 FullCyrSlav FullGreek"),
    _debian(33, "VGA", "16", (8, 16), "Lat15 Lat2 Lat7 Uni1 Uni2 FullCyrSlav FullGreek"),
    _debian(40, "TerminusBold", "32x16", (16, 32), "Lat15 Uni2"),
    _debian(41, "Terminus", "32x16", (16, 32), "Lat15 Uni2"),
    _debian(42, "VGA", "32x16", (16, 32), "Lat15 Uni2"),
    _debian(43, "Terminus", "28x14", (14, 28), "Lat15 Uni2"),
    _debian(44, "TerminusBold", "28x14", (14, 28), "Lat15 Uni2"),
    _debian(45, "Terminus", "24x12", (12, 24), "Lat15 Uni2"),
    _debian(46, "TerminusBold", "24x12", (12, 24), "Lat15 Uni2"),
    _debian(47, "Terminus", "20x10", (10, 20), "Lat15 Uni2"),
    _debian(48, "TerminusBold", "20x10", (10, 20), "Lat15 Uni2"),
    _debian(49, "Fixed", "18", (8, 18), "Lat15 Uni2"),
    _debian(50, "Fixed", "14", (8, 14), "Lat15 Uni2"),
    _debian(51, "VGA", "14", (8, 14), "Lat15 Uni2"),
    _debian(52, "Terminus", "14", (8, 14), "Lat15 Uni2"),
    _debian(53, "VGA", "8", (8, 8), "Lat15 Uni2"),
)


def candidates(blocks: Sequence[tuple[int, int]] = BLOCKS) -> list[str]:
    """The characters that are tried: those that take one cell of their own."""
    every = (chr(code) for first, end in blocks for code in range(first, end))
    return [one for one in every if unicodedata.category(one) not in {"Cn", "Cc", "Cf", "Mn", "Me"} and not _wide(one)]


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in {"W", "F"}


def glyphs_of(
    pages: Sequence[tuple[Frame, Sequence[str]]], cell: tuple[int, int], *, columns: int, corner: tuple[int, int] = (0, 0)
) -> dict[bytes, list[str]]:
    """What each page's cells show to the characters that were printed there, in rows of ``columns`` from ``corner`` on.

    The first shows `NOWHERE`.
    """
    width, height = cell
    seen: dict[bytes, list[str]] = {}
    missing = b""
    for frame, characters in pages:
        ink = (frame.rgb != 0).any(axis=2)
        for number, character in enumerate(characters):
            x, y = corner[0] + number % columns * width, corner[1] + number // columns * height
            shape = np.packbits(ink[y : y + height, x : x + width].ravel()).tobytes()
            if character == NOWHERE:
                missing = shape
            elif any(shape) and (shape != missing or character in STANDS_FOR_ALL):
                seen.setdefault(shape, []).append(character)
    return seen


def settle(seen: Mapping[bytes, list[str]]) -> dict[bytes, str]:
    """For each glyph the likeliest of its characters, and the likeliest of each other script."""
    result = {}
    for shape, characters in seen.items():
        chosen: dict[str, str] = {}
        for one in sorted(characters, key=_likeliest):
            chosen.setdefault(script_of(one), one)
        first, *others = chosen.values()
        result[shape] = first + "".join(one for one in others if script_of(one))
    return result


def _likeliest(character: str) -> tuple[int, int]:
    code = ord(character)
    return (0 if code < 0x100 else 1 if 0x2500 <= code < 0x25A0 else 2, code)


async def learn(machine: Machine, source: Source, fonts: Path) -> Font:
    """See a font on the machine's first console."""
    seen: dict[bytes, list[str]] = {}
    for load in source.loads or ("",):
        if load:
            with tempfile.NamedTemporaryFile(suffix=".psf") as file:
                file.write(gzip.decompress((fonts / f"{load}.psf.gz").read_bytes()))
                file.flush()
                await machine.copy_to(Path(file.name), LEFT_IN_GUEST)
            await machine.succeed(f"setfont -C /dev/tty1 {LEFT_IN_GUEST}")
        for shape, characters in (await look(machine, source.cell)).items():
            seen[shape] = sorted({*seen.get(shape, []), *characters})
    height = source.cell[1]
    thick = 1 if height < 10 else 2
    return Font(source.name, *source.cell, "corner", (height - thick, height), format_glyphs(settle(seen)))


async def look(machine: Machine, cell: tuple[int, int]) -> dict[bytes, list[str]]:
    """The glyphs of the font that the console has."""
    frame = await machine.grab()
    columns, rows = frame.width // cell[0], frame.height // cell[1]
    todo = [NOWHERE, *candidates()]
    pages = []
    while todo:
        page, todo = todo[: columns * rows - 1], todo[columns * rows - 1 :]
        text = "".join(f"\033[{number // columns + 1};{number % columns + 1}H{one}" for number, one in enumerate(page))
        with tempfile.NamedTemporaryFile() as file:
            file.write(f"\033%G\033[?25l\033[0;37;40m\033[2J{text}".encode())
            file.flush()
            await machine.copy_to(Path(file.name), LEFT_IN_GUEST)
        await machine.succeed(f"cat {LEFT_IN_GUEST} > /dev/tty1")  # it is on the screen when cat ends: this driver draws at once
        pages.append((await machine.grab(), page))
    return glyphs_of(pages, cell, columns=columns)


def firmware_disk(folder: Path, characters: Sequence[str], columns: int) -> Path:
    """A disk from which nothing boots, so that the firmware starts its shell; that types a table in UTF-16."""
    rows = ["".join(characters[at : at + columns]) for at in range(0, len(characters), columns)]
    (folder / "t").write_bytes(b"\xff\xfe" + "".join(f"{row}\r\n" for row in rows).encode("utf-16-le"))
    (folder / "startup.nsh").write_text("cls\r\ntype -u fs0:\\t\r\n", encoding="ascii", newline="")
    disk = folder / "firmware.img"
    for command in (
        f"truncate -s 34M {disk}", f"mkfs.fat -F 32 {disk}", f"mcopy -i {disk} {folder}/t {folder}/startup.nsh ::/"
    ):  # fmt: skip
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
    return disk


def grub_disk(folder: Path, characters: Sequence[str], columns: int) -> Path:
    """A disk with a GRUB that prints a table on its graphical terminal."""
    quoted = ["'\"'\"'" if one == "'" else one for one in characters]
    rows = ["".join(quoted[at : at + columns]) for at in range(0, len(quoted), columns)]
    (folder / "page").write_text("clear\n" + "".join(f"echo '{row}'\n" for row in rows) + "sleep 10000\n", encoding="utf-8")
    return bootable(folder, GRUB_CONFIG, GRUB_MODULES, folder / "page", folder / "usr/share/grub/unicode.pf2")


async def last_frame(disk: Path) -> Frame:
    """What the screen shows when nothing has changed for long."""
    async with guest(str(disk), channel="none", seed=False) as machine:
        frame = await machine.grab()
        still = 0
        while still < 80 or frame.state != "picture":
            await asyncio.sleep(0.1)
            before, frame = frame, await machine.grab()
            still = still + 1 if frame.digest == before.digest else 0
    return frame


async def learn_grub(folder: Path) -> Font:
    """See the font of GRUB's graphical terminal, which has a margin of ten pixels."""
    columns = 64
    characters = [NOWHERE, *candidates(GRUB_BLOCKS)]
    frame = await last_frame(grub_disk(folder, characters, columns))
    seen = glyphs_of([(frame, characters)], (8, 16), columns=columns, corner=(10, 10))
    return Font("GRUB 8x16 (Unifont)", 8, 16, "inset", (14, 16), format_glyphs(settle(seen)))


async def learn_firmware(folder: Path) -> Font:
    """See the font of UEFI firmware."""
    columns = 64
    characters = [NOWHERE, *candidates(FIRMWARE_BLOCKS)]
    frame = await last_frame(firmware_disk(folder, characters, columns))
    width, height = cell = (8, 19)
    lines = frame.height // height
    # The shell takes 100x31 where it fits; the first row has the command.
    corner = ((frame.width - 100 * width) // 2, (frame.height - min(lines, 31) * height) // 2 + height)
    seen = glyphs_of([(frame, characters)], cell, columns=columns, corner=corner)
    return Font("EFI 8x19", *cell, "centred", (16, 19), format_glyphs(settle(seen)))


@asynccontextmanager
async def guest(image: str, **options: object) -> AsyncGenerator[Machine]:
    """A machine that runs."""
    paths = Paths.from_environment()
    with tempfile.TemporaryDirectory() as folder, Owner.register(paths) as owner:
        out = Path(folder)
        place = Place(out, out / "console.log", out / "qemu.log", out)
        host = Host(paths, load_config(paths), owner)
        wanted = MachineOptions.model_validate({"network": "none", **options})
        blueprint = await host.blueprint("fonts", image, wanted, {}, place=place, bus=Bus())
        async with host.open_machine(blueprint, place=place, bus=Bus(), start="cold") as machine:
            yield machine


def unpack(folder: Path) -> Path:
    """Debian's packages with the fonts, ``setfont`` and GRUB's font, unpacked below ``folder``."""
    packages = ("console-setup-linux", "kbd", "grub-common")
    subprocess.run(
        ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(folder)], check=True)
    return folder


def keep(file: str, font: Font, origin: str) -> None:
    """Write a font's file."""
    (FOLDER / f"{file}.txt").write_text(format_font(font, origin), encoding="ascii")
    print(f"{file}: {len(font.lines)} glyphs")  # noqa: T201


async def main(wanted: Sequence[str]) -> None:
    """Learn the fonts whose file names are ``wanted``; all where none is."""
    sources = [source for source in SOURCES if not wanted or source.file in wanted]
    with tempfile.TemporaryDirectory() as name:
        root = unpack(Path(name))
        if not wanted or FIRMWARE in wanted:
            keep(FIRMWARE, await learn_firmware(root), "the shell of OVMF, UEFI firmware of EDK II")
        if not wanted or GRUB in wanted:
            keep(GRUB, await learn_grub(root), "the graphical terminal of GRUB, with its unicode.pf2")
        if not sources:
            return
        async with guest("builtin") as machine:
            builtin = machine.image.path
            await machine.copy_to(root / "bin/setfont", "/bin/setfont")
            for source in (one for one in sources if not one.large):
                loaded = f", with {', '.join(source.loads)} of Debian loaded" if source.loads else ""
                font = await learn(machine, source, root / "usr/share/consolefonts")
                keep(source.file, font, f"the built-in guest's console{loaded}")
        for source in (one for one in sources if one.large):
            async with guest(str(kernel_disk(root, builtin, LARGE)), channel="shell", seed=False) as machine:
                keep(source.file, await learn(machine, source, root), f"the built-in guest's console at {LARGE}")


asyncio.run(main(sys.argv[1:]))
