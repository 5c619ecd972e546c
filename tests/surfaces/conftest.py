"""One home for all runs of the program: the verdict on the accelerator is found once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from program import Program

from qa.paths import Paths

IMAGES = Path(os.environ.get("ANIMA_QA_TEST_CACHE") or Paths.from_environment().cache).absolute() / "images"


def new_home(folder: Path) -> Path:
    """A home whose images are those of this machine."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "images").symlink_to(IMAGES)
    return folder


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_home(tmp_path_factory.mktemp("shared") / "home")


@pytest.fixture(scope="module")
def module_program(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """For runs that the tests of one file share."""
    return Program(shared_home, tmp_path_factory.mktemp("cwd"))


@pytest.fixture
def program(shared_home: Path, tmp_path: Path) -> Program:
    return Program(shared_home, tmp_path)


@pytest.fixture
def fresh_program(tmp_path: Path) -> Program:
    """With a home that knows nothing of this host."""
    return Program(new_home(tmp_path / "fresh"), tmp_path)
