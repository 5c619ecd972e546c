"""What a guest printed, made harmless: for a page, for XML and for a terminal.

Guests print what they like: escape sequences, NULs, bytes that are no text, marks that turn the direction of writing, lines
of megabytes. Here all of that becomes plain lines of visible characters. Colours are kept apart as data, for who wants them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_LINE = 4000
"""Characters of a line that are kept. Longer lines are data, not something a person reads; the raw file has them whole."""

_SEQUENCE = re.compile(
    r"\x1b\[(?P<arguments>[0-9;:?<=>]{0,64})[ -/]{0,4}(?P<final>[@-~])"  # colours, cursor movements
    r"|\x1b\](?:R|P[0-9A-Fa-f]{7})"  # the Linux console's palette, which has no end
    r"|\x1b\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\)?"  # titles, links; bounded, or an unfinished one would swallow the rest
    r"|\x1b[PX^_][^\x1b\n]{0,512}(?:\x1b\\)?"
    r"|\x1b[ -/]{0,4}[0-~]"
    r"|(?P<newline>\r{0,3}\n|\x0b|\x0c|\x85)"
    r"|(?P<carriage>\r)"
    r"|(?P<back>\x08)"
)


def _visible_characters() -> dict[int, str]:
    """What stands for characters that are invisible, illegal in XML, or do something to whoever shows them."""
    table = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
    table[0x7F] = "\u2421"
    table.update(dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd"))
    directional = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0xFEFF]
    table.update({code: f"\u27e8U+{code:04X}\u27e9" for code in directional})
    return table


_VISIBLE = _visible_characters()


_UNUSUAL = re.compile(r"[^\t\n -~]")


@dataclass(frozen=True)
class Span:
    """A piece of a line. ``colour`` is 0 to 15 in the order of ANSI terminals, None for the usual one."""

    text: str
    colour: int | None = None
    bold: bool = False


Line = list[Span]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + _missing(len(line))


def _missing(length: int) -> str:
    return f" … {length - MAX_LINE:,} more characters"


def visible(text: str) -> str:
    """``text`` with controls (but tab and newline), direction marks and non-characters replaced by visible stand-ins."""
    return text.translate(_VISIBLE)


def one_line(text: str, limit: int = 300) -> str:
    """``text`` as one plain line of at most ``limit`` characters."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def middle(text: str, limit: int) -> str:
    """``text`` as one line, with its middle left out where it is longer: its end tells it from others."""
    text = one_line(text, 10_000)
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def plain(text: str) -> str:
    """The lines of ``text`` as a person would have read them on a terminal, without colours."""
    if not _UNUSUAL.search(text):  # as most outputs are: ten times quicker
        return "\n".join(_cut(line) for line in text.removesuffix("\n").split("\n"))
    return "\n".join("".join(span.text for span in line) for line in coloured_lines(text))


def line_text(line: Line) -> str:
    """A line without its colours."""
    return "".join(span.text for span in line).rstrip()


def tail(text: str, lines: int) -> str:
    """The last ``lines`` lines of ``text`` that are not blank at its end."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def coloured_lines(text: str) -> Iterator[Line]:
    """The lines of ``text``: escape sequences are gone, what a carriage return overwrote as well, colours are kept as data.

    A cursor sent to the first column (firmware and boot loaders draw so) begins a new line.
    """
    line = _LineBuilder()
    position = 0
    for match in _SEQUENCE.finditer(text):
        line.add(text[position : match.start()])
        position = match.end()
        if match["newline"] is not None:
            yield line.finish()
        elif match["carriage"]:
            line.overwrite()
        elif match["back"]:
            line.erase()
        elif match["final"] == "m":
            line.style(match["arguments"])
        elif match["final"] in ("H", "f") and not line.empty and _column(match["arguments"]) == 1:
            yield line.finish()
    line.add(text[position:])
    if not line.empty:
        yield line.finish()


def _column(arguments: str) -> int:
    _, _, column = arguments.partition(";")
    return int(column) if column.isdigit() else 1


class _LineBuilder:
    """One line as it grows, and the style in force."""

    def __init__(self) -> None:
        self._spans: Line = []
        self._length = 0
        self._overwritten = False
        self._colour: int | None = None
        self._bold = False

    @property
    def empty(self) -> bool:
        return not self._length

    def add(self, text: str) -> None:
        if not text:
            return
        if self._overwritten:
            self._spans, self._length, self._overwritten = [], 0, False
        room = MAX_LINE - self._length
        self._length += len(text)
        if room > 0:
            shown = text[:room]
            self._spans.append(Span(visible(shown) if _UNUSUAL.search(shown) else shown, self._colour, self._bold))

    def overwrite(self) -> None:
        self._overwritten = True

    def erase(self) -> None:
        if self._spans and self._length <= MAX_LINE:
            last = self._spans.pop()
            self._length -= 1
            if len(last.text) > 1:
                self._spans.append(Span(last.text[:-1], last.colour, last.bold))

    def finish(self) -> Line:
        spans = self._spans
        if self._length > MAX_LINE:
            spans.append(Span(_missing(self._length)))
        self._spans, self._length, self._overwritten = [], 0, False
        return spans

    def style(self, arguments: str) -> None:
        codes = [int(code) if code.isdigit() else 0 for code in re.split("[;:]", arguments)]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self._colour, self._bold = None, False
            elif code in (1, 22):
                self._bold = code == 1
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self._colour = code - 30 if code < 90 else code - 82
            elif code == 39:
                self._colour = None
            elif code in (38, 48):  # 256 colours or RGB: the arguments that follow are no codes
                del codes[: {5: 2, 2: 4}.get(codes[0] if codes else 0, 0)]


@dataclass(frozen=True)
class Clip:
    """A text of which only the beginning and the end are kept. ``cut`` counts the bytes left out between them."""

    head: str
    tail: str = ""
    cut: int = 0
    size: int = 0

    @property
    def text(self) -> str:
        """Both parts, with a line between them that says what is missing."""
        return f"{self.head}\n… {self.cut:,} bytes left out …\n{self.tail}" if self.cut else self.head


def clip(text: str, head: int, tail_size: int) -> Clip:
    """``text`` with at most ``head`` characters of its beginning and ``tail_size`` of its end."""
    if len(text) <= head + tail_size:
        return Clip(text, size=len(text))
    return Clip(text[:head], text[len(text) - tail_size :], len(text) - head - tail_size, len(text))


def read_clip(path: Path, head: int, tail_size: int) -> Clip:
    """The beginning and the end of the file at ``path``, in bytes; a file of gigabytes costs no more than that.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size <= head + tail_size:
            return Clip(file.read(size).decode("utf-8", "replace"), size=size)
        first = file.read(head).decode("utf-8", "replace")
        file.seek(size - tail_size)
        last = file.read(tail_size).decode("utf-8", "replace")
    return Clip(first, last, size - head - tail_size, size)
