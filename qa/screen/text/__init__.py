"""Text on the screen: consoles are read exactly, glyph by glyph; everything else through tesseract."""

from qa.screen.text.found import UNKNOWN, Box, Grid, Match, ScreenText, Word
from qa.screen.text.grid import read_console_grid
from qa.screen.text.reader import read_frame, readings, together

__all__ = ["UNKNOWN", "Box", "Grid", "Match", "ScreenText", "Word", "read_console_grid", "read_frame", "readings", "together"]
