"""Sizes: as people write them, and as people read them. Units are powers of 1024."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(value: Any) -> Any:
    """Bytes from ``"512M"``, ``"1.5G"``, ``"20 GiB"`` or a plain number; units are powers of 1024."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(float(match[1]) * 1024 ** _POWERS[match[2].upper()])
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not a size: write 512M, 1G or 20G")
    return value


def format_size(size: int) -> str:
    """A size as people read it: ``300 B``, ``4 KiB``, ``96.5 MiB``, ``1.2 GiB``."""
    if size < 1000:
        return f"{size} B"
    for unit, power in (("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)):
        if size < 1000 << power or unit == "TiB":
            number = size / (1 << power)
            return f"{number:.0f} {unit}" if unit == "KiB" or number >= 99.95 else f"{number:.1f} {unit}"
    raise AssertionError(size)


Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=int | str),
    Field(gt=0, description="A size in bytes, or with a unit: 512M, 1G, 20G (powers of 1024)."),
]
