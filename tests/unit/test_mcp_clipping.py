from __future__ import annotations

from pathlib import Path

import pytest

from qa.mcp.clipping import clip, keep_whole


def test_short_texts_stay() -> None:
    assert clip("a\nb\n", 100) == ("a\nb\n", 0)


def test_the_middle_is_cut_out_between_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    clipped, cut = clip(text, 1000)
    lines = clipped.splitlines()
    assert (lines[0], lines[-1]) == ("line 0", "line 999")
    (mark,) = [line for line in lines if "cut out" in line]
    assert mark == f"[... {cut} bytes cut out here ...]"
    assert all(line in text for line in lines if line != mark)
    assert len(text) - cut + len(mark) + 1 == len(clipped)
    assert 800 < len(clipped) <= 1100


@pytest.mark.parametrize("text", ["é" * 5000, "\u2028" * 5000, "\udc80" * 5000, "x" * 5000 + "\n" + "y" * 5000])
def test_texts_without_lines_are_cut_at_letters(text: str) -> None:
    clipped, cut = clip(text, 1001)
    assert cut > 0
    assert "\ufffd" not in clipped
    assert len(clipped.encode()) < 1200


def test_the_whole_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    first = keep_whole("a\udc80", tmp_path / "new", "out.txt")
    second = keep_whole("b", tmp_path / "new", "out.txt")
    assert (first.name, second.name) == ("out.txt", "out-2.txt")
    assert (first.read_text(), second.read_text()) == ("a?", "b")
