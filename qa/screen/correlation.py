"""Sums of squared differences of a small picture with the parts of a large one, exactly, as fast as numpy can.

Two ways. Where a part must be rather alike, few can be: the sum over a block of n pixels is at least the square of the
difference of both blocks' sums, divided by n (Cauchy and Schwarz), and sums of blocks are read off an integral image. For all
places at once: sum (S - T)^2 = sum S^2 - 2 sum S T + sum T^2, where the products are a correlation, which Fourier transforms do.
Those work in double precision on values from -128 to 127, so that their error (at most 4 u log2(N) times the product of both
pictures' norms, u = 2^-53) stays below 10^-3 for 10^6 pixels, and rounding gives the integer.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Indexes = NDArray[np.intp]
Table = NDArray[np.unsignedinteger]
Transform = tuple[tuple[int, int], bool]
"""Its lengths, and whether it is of the pixels that count instead of the values."""
Block = tuple[int, int, int, int]
"""Top, left, bottom, right in the small picture; the latter two are not inside."""

MIDDLE = 128
"""Taken off each value before transforms: the differences are the same, and the numbers smaller."""
SPARSE = 8
"""Transforms take as long as to look at so many single blocks or pixels for each pixel of the field."""
SLACK = 1.0
"""Above all rounding of a bound, which is a sum of a few hundred quotients."""
KEPT_BYTES = 128 << 20
"""Of transforms that are kept: fifteen of a screen of 1280x800, with 8 MB each, or seven of 1920x1080, which is more than a step
waits for as a rule. One that is not kept adds 7 ms to the 11 ms that the look takes with it at 1280x800."""


def transform_length(least: int) -> int:
    """The smallest length from ``least`` on with no prime factor above 5: transforms of others are slow."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


@dataclass(eq=False)
class Small:
    """What is looked for: a plane, of which some pixels may not count. What is computed of it is kept.

    Attributes:
        counted: the pixels that count; all where it is None.
        keep: whether transforms are kept too, which is for what is looked for again.
    """

    plane: NDArray[np.uint8]
    counted: NDArray[np.bool_] | None = None
    keep: bool = True
    transforms: dict[Transform, NDArray[np.complex128]] = field(default_factory=dict)

    @cached_property
    def blocks(self) -> list[list[tuple[Block, int]]]:
        """Ever finer partitions into blocks, with the sum of each. Those with pixels that do not count are left out."""
        height, width = self.plane.shape
        levels = []
        for parts in (1, 2, 4, 8):
            rows, columns = ([size * number // parts for number in range(parts + 1)] for size in (height, width))
            level = []
            for top, bottom in itertools.pairwise(rows):
                for left, right in itertools.pairwise(columns):
                    here = np.s_[top:bottom, left:right]
                    if bottom > top and right > left and (self.counted is None or self.counted[here].all()):
                        level.append(((top, left, bottom, right), int(self.plane[here].sum(dtype=np.int64))))
            levels.append(level)
        return levels

    @cached_property
    def energy(self) -> float:
        """The sum of the squares of the centred values that count."""
        return float(np.square(self._centred).sum())

    @property
    def _centred(self) -> NDArray[np.float64]:
        values = self.plane.astype(np.float64) - MIDDLE
        return values if self.counted is None else values * self.counted

    def transform(self, shape: tuple[int, int], *, of_mask: bool) -> NDArray[np.complex128]:
        """The conjugate transform of the values, or of the pixels that count."""
        key = (shape, of_mask)
        found = self.transforms.get(key)
        if found is None:
            values = np.ones(self.plane.shape) if self.counted is None else self.counted.astype(np.float64)
            found = np.conj(np.fft.rfft2(values if of_mask else self._centred, shape))
        if self.keep:
            _RECENT.use(self, key, found)
        return found


@dataclass
class _Recent:
    """Which transforms of all small pictures were used last: beyond ``KEPT_BYTES`` those go that were not used for longest.

    They go with their small picture too. Then they count until it would have been their turn.
    """

    _sizes: OrderedDict[tuple[ReferenceType[Small], Transform], int] = field(default_factory=OrderedDict)
    _total: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use(self, small: Small, key: Transform, values: NDArray[np.complex128]) -> None:
        """Keep a transform, now the one that was used last."""
        if values.nbytes > KEPT_BYTES:
            return
        with self._lock:  # a look that is given up goes on in its thread
            small.transforms[key] = values
            self._total += values.nbytes - self._sizes.pop((ref(small), key), 0)
            self._sizes[ref(small), key] = values.nbytes
            while self._total > KEPT_BYTES:
                (reference, old), size = self._sizes.popitem(last=False)
                self._total -= size
                if (owner := reference()) is not None:
                    del owner.transforms[old]


_RECENT = _Recent()


@dataclass(eq=False)
class Field:
    """A plane, or a part of one, in which small ones are looked for. What is computed of it is kept."""

    plane: NDArray[np.uint8]
    _squares: dict[str, Table] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Lengths of the transforms."""
        height, width = self.plane.shape
        return transform_length(height), transform_length(width)

    @cached_property
    def integral(self) -> Table:
        """The sum of all pixels above and to the left of each corner."""
        return _integral(self.plane, np.uint32 if self.plane.size < 1 << 24 else np.uint64)

    def _sums_of_squares(self, height: int, width: int) -> Table:
        """The sum of the squares of the centred values in each part of that size."""
        kind = np.uint32 if height * width < 1 << 18 else np.uint64  # what overflows in the table is right again in differences
        if kind.__name__ not in self._squares:
            self._squares[kind.__name__] = _integral(np.square(self.plane.astype(np.int16) - MIDDLE), kind)
        table = self._squares[kind.__name__]
        sums = table[height:, width:] - table[:-height, width:]
        sums -= table[height:, :-width]
        sums += table[:-height, :-width]
        return sums

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        return self.plane.astype(np.float64) - MIDDLE

    @cached_property
    def _transform(self) -> NDArray[np.complex128]:
        return np.fft.rfft2(self._values, self.shape)

    @cached_property
    def _transform_of_squares(self) -> NDArray[np.complex128]:
        return np.fft.rfft2(np.square(self._values), self.shape)

    def differences(self, small: Small) -> Integers:
        """The sum of the squared differences from ``small`` at each place."""
        height, width = small.plane.shape
        down, across = self.plane.shape[0] - height + 1, self.plane.shape[1] - width + 1
        product = small.transform(self.shape, of_mask=False) * self._transform
        product *= -2.0
        if small.counted is not None:
            product += small.transform(self.shape, of_mask=True) * self._transform_of_squares
        totals = np.fft.irfft2(product, self.shape)[:down, :across]
        totals += small.energy
        if small.counted is None:
            totals += self._sums_of_squares(height, width)
        return np.rint(totals).astype(np.int64)


def _integral(values: NDArray[np.integer], kind: type[np.unsignedinteger]) -> Table:
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), kind)
    np.cumsum(values, axis=1, dtype=kind, out=table[1:, 1:])
    for above, row in itertools.pairwise(table):  # a third of the time that numpy takes to add up along columns
        np.add(above, row, out=row)
    return table


def places_within(
    fields: Sequence[Field], smalls: Sequence[Small], most: float
) -> tuple[Indexes, Indexes, NDArray[np.float64]] | None:
    """The places where the sum of squared differences over all planes may be ``most`` or less; surely no other has so little.

    Returns:
        Rows, columns, and what each sum is at least. None where there are too many for this to be the quicker way.
    """
    (height, width), (field_height, field_width) = smalls[0].plane.shape, fields[0].plane.shape
    down, across, step = field_height - height + 1, field_width - width + 1, field_width + 1
    found: Indexes | None = None
    least = np.zeros(0)
    for level, blocks in enumerate(smalls[0].blocks):
        if not blocks:
            continue
        if found is None:
            found = np.flatnonzero(_near(fields[0].integral, (down, across), blocks[0], most + SLACK))
        if len(found) * len(blocks) > SPARSE * fields[0].plane.size:
            return None
        least = _bounds(fields, smalls, level, partial(_read, found // across * step + found % across))
        stay = np.flatnonzero(least <= most + SLACK)
        found, least = found[stay], least[stay]
    if found is None:
        return None
    rows, columns = np.divmod(found, across)
    return rows, columns, least


def _near(table: Table, places: tuple[int, int], block: tuple[Block, int], most: float) -> NDArray[np.bool_]:
    """Where one block alone does not need more than ``most``: its sum is near enough."""
    (top, left, bottom, right), wanted = block
    down, across = places
    sums = table[bottom : bottom + down, right : right + across] - table[top : top + down, right : right + across]
    sums -= table[bottom : bottom + down, left : left + across]
    sums += table[top : top + down, left : left + across]
    reach = math.isqrt(int(most * (bottom - top) * (right - left))) + 1
    lowest, highest = max(0, wanted - reach), min(wanted + reach, int(np.iinfo(sums.dtype).max))  # no sum is above that
    sums -= sums.dtype.type(lowest)  # what is below becomes huge: more than any highest less lowest
    return np.asarray(sums <= sums.dtype.type(highest - lowest))


def _read(starts: Indexes, table: Table, y: int, x: int) -> Table:
    """An integral image at the corner ``y``, ``x`` of each part that begins at ``starts``."""
    return np.asarray(table.reshape(-1).take(starts + (y * table.shape[1] + x)))


def _bounds(
    fields: Sequence[Field], smalls: Sequence[Small], level: int, read: Callable[[Table, int, int], Table]
) -> NDArray[np.float64]:
    """What the sums are at least, by the blocks of one level; ``read`` gives an integral image at a corner of each part."""
    total: NDArray[np.float64] | None = None
    for one, small in zip(fields, smalls, strict=True):
        corner = cache(partial(read, one.integral))
        for (top, left, bottom, right), wanted in small.blocks[level]:
            sums = corner(bottom, right) - corner(top, right)
            sums -= corner(bottom, left)
            sums += corner(top, left)
            lacks = sums.astype(np.float64)
            lacks -= wanted
            lacks *= lacks
            lacks *= 1 / ((bottom - top) * (right - left))
            total = lacks if total is None else np.add(total, lacks, out=total)
    assert total is not None
    return total
