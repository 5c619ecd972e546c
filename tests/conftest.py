"""Shared by all tests: a marker for each folder, and a home of its own for each test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from qa.paths import Paths

TESTS = Path(__file__).parent
KINDS = {
    "unit": "no QEMU",
    "qemu": "real QEMU that never boots a guest",
    "vm": "boots the built-in guest",
    "debian": "boots the Debian guest",
    "surfaces": "drives the program as a user does",
}
HOST_SETTINGS = {"ANIMA_QA_QEMU", "ANIMA_QA_FIRMWARE_DIR"}

# Images are built once for this machine, so every home shares them.
SHARED_IMAGES = Path(os.environ.get("ANIMA_QA_TEST_CACHE") or Paths.from_environment().cache).absolute() / "images"


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background lets these be ignored, as nohup does, also by all that the tests start.
    usually = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    for stop, usual in usually.items():
        if signal.getsignal(stop) == signal.SIG_IGN:
            signal.signal(stop, usual)
    for kind, meaning in KINDS.items():
        config.addinivalue_line("markers", f"{kind}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in KINDS:
            item.add_marker(kind)


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """The folders of this test alone (``ANIMA_QA_HOME``), with the images of this machine except in unit tests."""
    is_unit = request.node.get_closest_marker("unit") is not None
    for name in [name for name in os.environ if name.startswith("ANIMA_QA_")]:
        if is_unit or name not in HOST_SETTINGS:
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("ANIMA_QA_HOME", str(folder))
    paths = Paths.from_environment()
    if not is_unit:
        SHARED_IMAGES.mkdir(parents=True, exist_ok=True)
        paths.cache.mkdir(parents=True)
        paths.images.symlink_to(SHARED_IMAGES)
    return paths


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A home for machines of several tests; the verdict on the accelerator is kept in it, and the machines that are forked."""
    paths = Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path_factory.mktemp("home"))})
    SHARED_IMAGES.mkdir(parents=True, exist_ok=True)
    paths.cache.mkdir(parents=True)
    paths.images.symlink_to(SHARED_IMAGES)
    return paths
