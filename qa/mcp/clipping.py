"""Long texts for readers who pay for each word: head and tail, and the whole in a file."""

from __future__ import annotations

from pathlib import Path

TEXT_LIMIT = 16_000
"""Bytes of one result's text. Clients refuse results of more than about 25,000 tokens, and long ones drown what matters."""


def clip(text: str, limit: int = TEXT_LIMIT) -> tuple[str, int]:
    """``text`` with its middle cut out where it is longer than ``limit`` bytes, and how many bytes were cut. Whole lines stay
    whole where there are any near the cuts."""
    data = text.encode("utf-8", errors="replace")
    if len(data) <= limit:
        return text, 0
    head, tail = data[: limit // 2], data[-(limit // 2) :]
    if (end := head.rfind(b"\n", len(head) // 2)) >= 0:
        head = head[: end + 1]
    if (start := tail.find(b"\n", 0, len(tail) // 2)) >= 0:
        tail = tail[start + 1 :]
    cut = len(data) - len(head) - len(tail)
    mark = f"[... {cut} bytes cut out here ...]"
    joint = "" if head.endswith(b"\n") else "\n"
    return f"{head.decode(errors='ignore')}{joint}{mark}\n{tail.decode(errors='ignore')}", cut


def keep_whole(text: str, folder: Path, name: str) -> Path:
    """Write ``text`` to a new file ``name`` in ``folder``; with a number where there is one already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stem, dot, suffix = name.partition(".")
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{stem}-{number}{dot}{suffix}")
        try:
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        else:
            return path
