"""One home for all runs of the program: the verdict on the accelerator is found once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from firefox import Firefox
from program import Program, new_home
from zipapp_host import TOP, Host


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


@pytest.fixture(scope="session")
def built() -> Path:
    """The single file, built if need be."""
    subprocess.run([TOP / "build_zipapp.sh"], check=True)
    return TOP / "dist/anima-qa.pyz"


@pytest.fixture
def host(tmp_path: Path, built: Path) -> Iterator[Host]:
    yield Host(tmp_path / "host", built)
    shutil.rmtree(tmp_path / "host")  # 120 MB


@pytest.fixture(scope="session")
def firefox() -> Iterator[Firefox]:
    """Started once, which takes seconds; each test opens a page of its own."""
    with Firefox() as browser:
        browser.prefer(prefers_color_scheme="light")
        yield browser
