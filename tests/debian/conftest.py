"""The Debian guest, booted once for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import qemus

from qa.paths import Paths


@pytest.fixture(scope="session", autouse=True)
def no_qemu_is_left() -> Iterator[None]:
    yield
    assert qemus() == []


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A home for machines that live longer than one test; the verdict on the accelerator is kept in it."""
    images = Path(os.environ.get("ANIMA_QA_TEST_CACHE") or Paths.from_environment().cache).absolute() / "images"
    paths = Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path_factory.mktemp("home"))})
    images.mkdir(parents=True, exist_ok=True)
    paths.cache.mkdir(parents=True)
    paths.images.symlink_to(images)
    return paths
