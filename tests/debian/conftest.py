"""The Debian guest: one boot, and a fork for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import qemus


@pytest.fixture(scope="session", autouse=True)
def no_qemu_is_left() -> Iterator[None]:
    yield
    assert qemus() == []
