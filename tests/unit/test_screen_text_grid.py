"""Text consoles are read exactly, from pictures of real ones."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from PIL import Image
from screens import LINUX_PAGE, frame_of, plain, screen

from qa.screen.frames import Frame
from qa.screen.text import UNKNOWN, Box, Grid, read_console_grid
from qa.screen.text.alike import settle
from qa.screen.text.fonts import Font, format_font, format_glyphs, known_fonts, parse_font
from qa.screen.text.grid import MOST_PIXELS


def read(frame: Frame) -> Grid:
    grid = read_console_grid(frame)
    assert grid is not None
    return grid


def font(name: str) -> Font:
    return next(font for font in known_fonts() if font.name == name)


VGA = "VGA 8x16 (kernel)"


@pytest.mark.parametrize(
    ("name", "expected", "columns", "rows"),
    [("linux-colours", VGA, 100, 37), ("debian-fixed16", "Fixed 8x16", 100, 37),
     ("debian-terminus32", "TerminusBold 16x32", 50, 18)],
)  # fmt: skip
def test_colours_bold_and_inverse_make_no_difference(name: str, expected: str, columns: int, rows: int) -> None:
    grid = read(screen(name))
    assert (grid.font, grid.columns, len(grid.rows), grid.origin) == (expected, columns, rows, (0, 0))
    page = LINUX_PAGE.replace("õ", "o") if expected == VGA else LINUX_PAGE  # the kernel's font shows it as an o
    wrapped = "\n".join("\n".join(re.findall(f".{{1,{columns}}}", line)) for line in page.splitlines())
    assert grid.text.startswith(wrapped)


def test_lines_boxes_and_arrows_are_read() -> None:
    assert read(screen("linux-colours")).rows[4:7] == (
        f"┌──────┬──────┐ ╔══════╦══════╗ ░▒▓ ▀▄▌▐ ←↑→↓ {UNKNOWN}",
        "│ one  │ two  │ ║ one  ║ two  ║ ├┼┤ ╠╬╣",
        "└──────┴──────┘ ╚══════╩══════╝",
    )


def test_what_the_guests_font_does_not_have_is_unknown_and_counted() -> None:
    grid = read(screen("linux-colours"))
    assert grid.rows[7] == f"a combining e{UNKNOWN}, a wide {UNKNOWN} , a missing {UNKNOWN}"
    assert grid.unknown == 4


def test_the_cursor_is_read_through() -> None:
    grid = read(screen("linux-colours"))
    assert grid.cursor == (4, 11)
    assert grid.rows[11] == ""
    assert read(screen("debian-fixed16")).cursor == (2, 7)
    assert read(screen("debian-fixed16")).rows[7] == "$"


@pytest.mark.parametrize("column", [0, 3, 40, 99])
def test_the_cursor_on_a_character_is_read_through(column: int) -> None:
    before = screen("linux-colours")
    pixels = before.rgb.copy()
    x, y = 8 * column, 8 * 16  # the row of figures
    pixels[y + 14 : y + 16, x : x + 8] = 170 - pixels[y + 14 : y + 16, x : x + 8]
    pixels[11 * 16 : 12 * 16] = 0  # there is one cursor only
    grid = read(frame_of(Image.fromarray(pixels)))
    assert grid.rows[8] == "0123456789" * 10
    assert grid.cursor == (column, 8)


def test_a_cursor_alone_is_an_empty_console() -> None:
    grid = read(screen("linux-cursor"))
    assert (grid.text, grid.cursor) == ("", (0, 0))


def test_less_and_vi_are_read() -> None:
    assert read(screen("linux-less")).text == "\n".join(f"line {n}" for n in range(1, 37)) + "\nstandard input"
    vi = read(screen("linux-vi"))
    assert vi.rows == ("export PATH=/sbin:/bin PS1='qa:\\w# '", *["~"] * 35, "- /etc/profile 1/1 100%")


def test_a_line_that_is_just_being_drawn_does_not_spoil_the_others() -> None:
    grid = read(screen("linux-torn"))
    assert grid.unknown == 40
    assert grid.rows[-1].endswith("Mounted dev-hugepages.mount - Huge Pages File System.")
    assert sum(UNKNOWN in row for row in grid.rows) == 1


def test_a_grub_menu_on_the_firmwares_console_is_read() -> None:
    grid = read(screen("grub-menu"))
    assert grid.font == "EFI 8x19"
    lines = [line.strip() for line in grid.text.splitlines() if line.strip()]
    assert lines[:5] == [
        "GNU GRUB  version 2.06-13+deb12u2",
        "┌" + "─" * 96 + "┐",
        "│" + "*Debian GNU/Linux (anima-qa)".ljust(96) + "│",
        "│" + " Memory test".ljust(96) + "│",
        "│" + " Advanced options".ljust(96) + "│",
    ]
    assert lines[-1] == "a command-line. ESC to return previous menu."


def test_grubs_graphical_terminal_is_read() -> None:
    grid = read(screen("grub-graphical"))
    assert (grid.font, grid.origin, grid.columns, len(grid.rows)) == ("GRUB 8x16 (Unifont)", (10, 10), 125, 46)
    assert grid.rows[7] == "grub>"
    assert grid.cursor == (6, 7)


def test_the_uefi_shell_is_read() -> None:
    grid = read(screen("uefi-shell"))
    text = [line.strip() for line in grid.text.splitlines()]
    assert "Shell> type -u fs0:\\table.txt" in text
    assert "`abcdefghijklmnopqrstuvwxyz{|}~ ¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁ" in text
    assert text[-1] == "Shell>"
    assert grid.cursor is not None
    x, y = grid.box(grid.cursor[1], grid.cursor[0], grid.cursor[0] + 1).center
    assert (x, y) == (300, 551)


def test_the_uefi_setup_is_read() -> None:
    grid = read(screen("uefi-setup"))
    assert grid.rows[0] == "┌" + "─" * 78 + "┐"
    assert grid.rows[1].strip("│ ") == "Boot Manager"
    assert grid.rows[-3].strip("│ ") == "↑↓=Move Highlight       <Enter>=Select Entry      Esc=Exit"
    assert grid.unknown == 0


def test_qemus_own_text_is_read() -> None:
    assert read(screen("qemu-placeholder")).text.strip() == "Guest has not initialized the display (yet)."


@pytest.mark.parametrize("name", ["desktop", "uefi-logo"])
def test_a_picture_is_no_console(name: str) -> None:
    assert read_console_grid(screen(name)) is None


@pytest.mark.parametrize(
    "size", [(1, 1), (7, 15), (8, 16), (9, 17), (27, 35), (28, 36), (640, 1), (1, 480), (803, 611), (5000, 3)]
)
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (0, 0, 170)])
def test_a_plain_screen_of_any_size_is_no_console(size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    assert read_console_grid(plain(*size, colour)) is None


@pytest.mark.parametrize("colours", [2, 3, 16, 256])
@pytest.mark.parametrize("size", [(1, 2), (17, 33), (640, 480), (811, 607)])
def test_noise_is_no_console(colours: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(7).integers(0, colours, (size[1], size[0], 1), np.uint8) * np.uint8(255 // (colours - 1))
    assert read_console_grid(frame_of(Image.fromarray(np.repeat(noise, 3, axis=2)))) is None


def test_a_huge_screen_is_not_looked_at() -> None:
    assert read_console_grid(Frame(MOST_PIXELS, 2, b"no pixels at all: reading them would fail")) is None


def test_a_screen_that_is_no_whole_number_of_cells_is_read() -> None:
    whole = Image.fromarray(screen("linux-less").rgb)
    assert read(frame_of(whole.crop((0, 0, 795, 590)))).text == "\n".join(f"line {n}" for n in range(1, 37))


def draw(text: str, chosen: Font, ink: tuple[int, int, int] = (170, 170, 170)) -> np.ndarray:
    """A row of cells."""
    width, height = chosen.cell
    glyphs = {character: shape for shape, characters in chosen.glyphs.items() for character in characters}
    blank = bytes(len(chosen.bare_cursor))
    cells = [
        np.unpackbits(np.frombuffer(glyphs.get(character, blank), np.uint8))[: width * height].reshape(height, width, 1)
        for character in text
    ]
    return np.concatenate(cells, axis=1) * np.array(ink, np.uint8)


def on_black(cells: np.ndarray, height: int = 160, width: int = 400) -> Frame:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: cells.shape[0], : cells.shape[1]] = cells
    return frame_of(Image.fromarray(pixels))


def test_lines_and_dots_alone_are_no_console() -> None:
    assert read_console_grid(on_black(draw("┌──── . . . ─|─ ' _ ┐", font(VGA)))) is None
    assert read(on_black(draw("┌──── a . . ─|─ ' _ ┐", font(VGA)))).rows[0] == "┌──── a . . ─|─ ' _ ┐"


@pytest.mark.parametrize("ink", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (255, 255, 254)])
def test_every_colour_but_the_papers_is_ink(ink: tuple[int, int, int]) -> None:
    assert read(on_black(draw("login:", font(VGA), ink))).rows[0] == "login:"


def test_a_character_in_two_inks_is_a_picture() -> None:
    cells = draw("login: now", font(VGA))
    cells[8:, :8][cells[8:, :8] > 0] = 80
    assert read(on_black(cells)).rows[0] == " ogin: now"


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_a_boot_logo_above_the_text_does_not_matter() -> None:
    pixels = screen("linux-torn").rgb.copy()
    pixels[:80, :80] = noise(80, 80)
    assert read(frame_of(Image.fromarray(pixels))).rows[5:] == read(screen("linux-torn")).rows[5:]


def test_a_picture_with_some_text_is_no_console() -> None:
    pixels = noise(600, 800)
    pixels[:320, :160] = screen("linux-less").rgb[:320, :160]
    assert read_console_grid(frame_of(Image.fromarray(pixels))) is None


@pytest.mark.parametrize("offset", [(1, 0), (0, 1), (4, 8)])
def test_a_console_in_a_window_is_no_text_console(offset: tuple[int, int]) -> None:
    whole = Image.new("RGB", (1024, 768), (0, 80, 120))
    window = Image.fromarray(screen("linux-less").rgb).crop((0, 0, 640, 400))
    whole.paste(window, (96 + offset[0], 96 + offset[1]))
    assert read_console_grid(frame_of(whole)) is None


@pytest.mark.parametrize("name", [font.name for font in known_fonts()])
def test_every_glyph_of_every_font_is_read_in_any_two_colours(name: str) -> None:
    """Drawn in random order, with dark and light backgrounds."""
    chosen, rng = font(name), random.Random(name)
    width, height = chosen.cell
    shapes = [shape for shape in chosen.glyphs if np.unpackbits(np.frombuffer(shape, np.uint8))[: width * height].min() == 0]
    rng.shuffle(shapes)
    columns = 50
    corner = {"corner": (0, 0), "inset": (10, 10), "centred": (0, 0)}[chosen.place]
    rows = -(-len(shapes) // columns)
    pixels = np.zeros((rows * height + 2 * corner[1], columns * width + 2 * corner[0], 3), np.uint8)
    for number, shape in enumerate(shapes):
        bits = np.unpackbits(np.frombuffer(shape, np.uint8))[: width * height].reshape(height, width, 1)
        y, x = corner[1] + number // columns * height, corner[0] + number % columns * width
        ink = rng.choice([(170, 170, 170), (255, 255, 255), (85, 255, 85)])
        pixels[y : y + height, x : x + width] = bits * np.array(ink, np.uint8)
    grid = read(frame_of(Image.fromarray(pixels)))
    found = "".join(row.ljust(columns) for row in grid.rows)
    assert grid.font == name
    for number, shape in enumerate(shapes):
        if shape != chosen.bare_cursor:
            assert found[number] in chosen.glyphs[shape], chosen.glyphs[shape]


@pytest.mark.parametrize(
    ("shown", "read_as"),
    [
        ("CAT", "CAT"),
        ("КОТ", "КОТ"),
        ("ΔΑΤΑ", "ΔΑΤΑ"),
        ("table КОТ ΔΑΤΑ", "table КОТ ΔΑΤΑ"),
        ("СССР и", "СССР и"),
        ("СССР", "CCCP"),
        ("PC: КОТ", "РС: КОТ"),
    ],
)
def test_letters_that_look_alike_follow_their_word_and_then_their_line(shown: str, read_as: str) -> None:
    chosen = font("Fixed 8x16")
    glyphs = {character: characters for characters in chosen.glyphs.values() for character in characters} | {" ": " "}
    assert settle([glyphs[character] for character in shown]) == read_as


def test_a_font_survives_its_file() -> None:
    chosen = font("Terminus 10x20")
    again = parse_font(format_font(chosen, "a test"))
    assert again == chosen
    assert format_glyphs(again.glyphs) == chosen.lines


def test_every_font_has_the_characters_of_ascii() -> None:
    for chosen in known_fonts():
        firsts = {characters[0] for characters in chosen.glyphs.values()}
        assert firsts >= {chr(code) for code in range(33, 127)}, chosen.name


def test_only_the_cells_of_a_region_are_read() -> None:
    grid = read(screen("linux-less"))
    part = grid.inside(Box(35, 20, 30, 40))
    assert part.rows == (" 2", " 3", " 4")
    assert part.box(0, 1, 2) == Box(40, 16, 8, 16)
