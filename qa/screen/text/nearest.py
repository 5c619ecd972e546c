"""What on the screen is most like a text that was not found."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

MOST_LINES = 500
"""Lines that are compared: a text console has a hundred."""

ALIKE = 0.5
"""A line that has less in common is no near miss."""


def nearest_text(pattern: str, text: str) -> str:
    """The part of ``text`` that is most like ``pattern``; empty where nothing is."""
    wanted = plain(pattern)
    if not wanted:
        return ""
    best, part = ALIKE, ""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted.casefold())
    for line in text.splitlines()[:MOST_LINES]:
        matcher.set_seq1(line.casefold())
        if matcher.quick_ratio() * (len(line) + len(wanted)) / (2 * len(wanted)) < best:
            continue
        blocks = [block for block in matcher.get_matching_blocks() if block.size]
        if not blocks:
            continue
        common = sum(block.size for block in blocks)
        start = max(blocks[0].a - blocks[0].b, 0)
        end = min(blocks[-1].a + len(wanted) - blocks[-1].b, len(line))
        share = 2 * common / (len(wanted) + max(end - start, 1))
        if share > best:
            best, part = share, line[start:end]
    return part.strip()


def plain(pattern: str) -> str:
    """A regular expression without what is special in it: the text that a person had in mind."""
    without = re.sub(r"\\[bBAZdDwWsS]|\(\?[a-zA-Z:=!<]+|[*+?]\??|\{[\d,]+\}|[\^$()|]", " ", pattern)
    without = re.sub(r"\[[^\]]*\]|(?<!\\)\.", " ", without)
    return " ".join(re.sub(r"\\(.)", r"\1", without).split())
