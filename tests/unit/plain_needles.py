"""The comparison of needles once more, as plainly as it can be written: what the quick one must agree with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
WEIGHTS = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def plain_grey(rgb: Any) -> Numbers:
    red, green, blue = (rgb[..., channel].astype(np.int64) for channel in range(3))
    return (3735 * blue + 19235 * green + 9798 * red + 2**14) >> 15


def mirrored(index: int, length: int) -> int:
    if length == 1:
        return 0
    return -index if index < 0 else 2 * length - 2 - index if index >= length else index


def blur_at(plane: Numbers, y: int, x: int, replaced: Any = None, green: int = 0) -> int:
    """One pixel of the blurred plane; ``replaced(dy, dx)`` tells which of those around it count as ``green``."""
    total = 8
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            value = int(plane[mirrored(y + dy, plane.shape[0]), mirrored(x + dx, plane.shape[1])])
            total += WEIGHTS[dy + 1][dx + 1] * (green if replaced and replaced(dy, dx) else value)
    return total >> 4


def plain_blur(plane: Numbers) -> Numbers:
    return np.array([[blur_at(plane, y, x) for x in range(plane.shape[1])] for y in range(plane.shape[0])])


def plain_search(
    screen: Any, needle: Any, box: tuple[int, int, int, int], margin: int, excluded: Any = None, metric: str = "openqa"
) -> tuple[int, int, int] | None:
    """Place and sum of squared differences of the area ``box`` (x, y, width, height) of ``needle``."""
    planes = (lambda rgb: [plain_grey(rgb)]) if metric == "openqa" else (lambda rgb: [rgb[..., c].astype(int) for c in range(3)])
    greens = [150] if metric == "openqa" else [0, 255, 0]
    x0, y0, width, height = box
    out = np.zeros(needle.shape[:2], bool) if excluded is None else excluded
    best: tuple[int, int, int] | None = None
    sums: dict[tuple[int, int], int] = {}
    for y in range(max(0, y0 - margin), min(screen.shape[0], y0 + height + margin) - height + 1):
        for x in range(max(0, x0 - margin), min(screen.shape[1], x0 + width + margin) - width + 1):
            total = 0
            for seen, wanted, green in zip(planes(screen), planes(needle), greens, strict=True):
                filled = np.where(out, green, wanted)
                for py in range(y0, y0 + height):
                    for px in range(x0, x0 + width):

                        def gone(dy: int, dx: int, py: int = py, px: int = px) -> bool:
                            return bool(out[mirrored(py + dy, out.shape[0]), mirrored(px + dx, out.shape[1])])

                        if metric == "exact":
                            difference = 0 if out[py, px] else int(seen[y + py - y0, x + px - x0]) - int(wanted[py, px])
                        else:
                            there = blur_at(seen, y + py - y0, x + px - x0, gone, green)
                            difference = there - blur_at(filled, py, px)
                        total += difference**2
            sums[x, y] = total
    if not sums:
        return None
    smallest = min(sums.values())
    for (x, y), total in sums.items():
        distance = (x - x0) ** 2 + (y - y0) ** 2
        if total <= smallest + (0 if metric == "exact" else 10) and (
            best is None or distance < (best[0] - x0) ** 2 + (best[1] - y0) ** 2
        ):
            best = (x, y, total)
    return best
