"""Small single files: two modules and an extension module for each Python, and folders that they unpack into."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from qa.zipapp import cache

HERE = f"{sys.version_info[0]}{sys.version_info[1]}"
OTHER = "311" if HERE != "311" else "312"
ANY_BUILD = "".join(f'DIGEST = "{digit * 16}"\n' for digit in "0123456789abcdef").encode()
"""Facts of whatever build a test says that it is."""
FILES = {
    "__main__.py": b"pass",
    cache.FACTS: ANY_BUILD,
    "site-packages/one.py": b"ONE = 1\n",
    "site-packages/package/two.py": b"TWO = 2\n",
    f"site-packages/fast.cpython-{HERE}-x86_64-linux-gnu.so": b"for this Python",
    f"site-packages/fast.cpython-{OTHER}-x86_64-linux-gnu.so": b"for another Python",
}


def make_archive(path: Path) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    return str(path)


def as_build(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    """From now on this is the start of another build."""
    monkeypatch.setattr(cache, "DIGEST", digest * 16)


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()} - {"lock"}
