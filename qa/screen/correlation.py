"""Sums of squared differences of a small picture with each part of a large one, exactly, as fast as numpy can.

sum (S - T)^2 = sum S^2 - 2 sum S T + sum T^2. The first is read off an integral image; the second is a correlation, which
Fourier transforms do for all places at once. They work in double precision and on values from -128 to 127, so that their
error is far below one half, and rounding gives the integer: for 10^6 pixels it stays below 10^-3 (bound: 4 u log2(N) times the
product of both pictures' norms, u = 2^-53).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

MIDDLE = 128
"""Taken off each value before transforms: the differences are the same, and the numbers smaller."""


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


def sums_of_squares(values: NDArray[np.integer], height: int, width: int) -> Integers:
    """The sum of the squares in each part of that height and width."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(np.square(values, dtype=np.int64), axis=0), axis=1, out=table[1:, 1:])
    return table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]


@dataclass
class Field:
    """A plane, or a part of one, in which others are looked for. Its transforms are kept."""

    plane: NDArray[np.uint8]
    _transforms: dict[str, NDArray[np.complex128]] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Lengths of the transforms."""
        height, width = self.plane.shape
        return transform_length(height), transform_length(width)

    def centred(self) -> NDArray[np.int16]:
        """The values, from -128 to 127."""
        return self.plane.astype(np.int16) - MIDDLE

    def places(self, height: int, width: int) -> tuple[int, int]:
        """How many places, down and across, a part of that size has."""
        return self.plane.shape[0] - height + 1, self.plane.shape[1] - width + 1

    def correlation(self, small: NDArray[np.float64], *, squares: bool = False) -> Integers:
        """The sum of the products with ``small`` at each place; of this plane's squares where ``squares`` is set."""
        down, across = self.places(*small.shape)
        product = self._transform(squares=squares) * np.conj(np.fft.rfft2(small, self.shape))
        return np.rint(np.fft.irfft2(product, self.shape)[:down, :across]).astype(np.int64)

    def _transform(self, *, squares: bool) -> NDArray[np.complex128]:
        key = "squares" if squares else "values"
        if key not in self._transforms:
            values = self.centred().astype(np.float64)
            self._transforms[key] = np.fft.rfft2(np.square(values) if squares else values, self.shape)
        return self._transforms[key]

    def differences(self, small: NDArray[np.uint8], counted: NDArray[np.bool_] | None = None) -> Integers:
        """The sum of the squared differences from ``small`` at each place.

        Args:
            counted: the pixels of ``small`` that count; all where it is not given.
        """
        values = small.astype(np.float64) - MIDDLE
        if counted is None:
            squares = sums_of_squares(self.centred(), *small.shape)
        else:
            values *= counted
            squares = self.correlation(counted.astype(np.float64), squares=True)
        return squares - 2 * self.correlation(values) + np.int64(np.rint(np.square(values).sum()))
