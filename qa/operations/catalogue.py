"""The catalogue: every operation once, taken from the methods of ``Machine``."""

from __future__ import annotations

from qa.operations.operation import Catalogue

CATALOGUE = Catalogue([])
