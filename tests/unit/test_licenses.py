"""What the program is made of is named with its license."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from qa.cli import licenses


def test_each_library_that_a_package_brings_is_named_with_its_license() -> None:
    site = Path(str(distribution("numpy").locate_file("")))
    files = {file.name.partition("-")[0] for file in site.glob("*.libs/*.so*")}
    assert len(files) > 5
    assert {name for name, _, _ in licenses.libraries()} == files <= licenses.LIBRARIES.keys()
    text = licenses.text()
    assert re.search(r"^  libgfortran +numpy +GPL-3.0-or-later WITH GCC-exception-3.1$", text, re.MULTILINE)
    assert re.search(r"^  libquadmath +numpy +LGPL-2.1-or-later$", text, re.MULTILINE)
    assert re.search(r"Rust crates \([^)]*\srpds-py", text)


def test_a_library_that_nobody_knows_sends_to_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(licenses.LIBRARIES, "libtiff")
    assert ("libtiff", "pillow", "see the license texts of pillow") in licenses.libraries()
