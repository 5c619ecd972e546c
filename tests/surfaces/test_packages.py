"""The wheel and the source distribution are sound, and the wheel gives the same program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from zipapp_host import SCRIPT, TOP

from qa import __version__


def test_what_is_built_can_be_installed_and_used(built: Path) -> None:
    assert built.exists()  # the build's tools and the locked wheels are there with it
    done = subprocess.run([TOP / "tools/packages.sh", "short"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    *_, version, checked, pydantic, tools = done.stdout.splitlines()
    assert version == f"anima-qa {__version__}"
    assert checked == f"{SCRIPT}: ok, 8 steps"
    assert pydantic.endswith("MIT")
    assert tools.startswith(f"anima-qa {__version__} offers ")
