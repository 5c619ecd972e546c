"""The single file under each Python of this host: all of it can be imported, or two lines say what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from zipapp_host import TOP, VERSION, Host

from qa.zipapp import gate

ASK = "import sys; print(sys.executable); print(sys.version_info[0] * 100 + sys.version_info[1])"


def pythons() -> dict[int, str]:
    """Each version of Python in PATH and of pyenv, as 311 is 3.11, with its path; that of these tests is always among them."""
    found = {sys.version_info[0] * 100 + sys.version_info[1]: sys.executable}
    folders = [Path(folder) for folder in os.environ["PATH"].split(":")]
    folders += sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin"))
    for path in (path for folder in folders for path in folder.glob("python[23].*") if re.fullmatch(r"python\d\.\d+", path.name)):
        asked = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            executable, version = asked.stdout.split()
            found.setdefault(int(version), executable)
    return found


PYTHONS = pythons()
WANTED = {100 * major + minor for major, minor in gate.PYTHONS}


@pytest.mark.parametrize("version", sorted(PYTHONS.keys() & WANTED))
def test_all_modules_can_be_imported(host: Host, version: int) -> None:
    python = PYTHONS[version]
    assert host.run("--version", before=(python,)) == VERSION
    (folder,) = host.unpacked()
    assert folder.name.endswith(f"-cp{version // 100}{version % 100}")
    command = [python, "-IS", TOP / "tools/zipapp/import_all.py", folder / "site-packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[2]) > 1500


def test_other_pythons_say_what_it_needs_or_find_it(host: Host, tmp_path: Path) -> None:
    for version in PYTHONS.keys() - WANTED:
        assert host.run("--version", before=(PYTHONS[version],)) == VERSION
        refused(host, PYTHONS[version])
    another = tmp_path / "riscv64.pyz"  # to which the Python of these tests is another one too
    with zipfile.ZipFile(host.file) as packed, zipfile.ZipFile(another, "w") as changed:
        for name in packed.namelist():
            if not name.startswith("site-packages/"):
                changed.writestr(name, packed.read(name).replace(b'MACHINE = "', b'MACHINE = "no-'))
    host.file = another
    refused(host, sys.executable)


def refused(host: Host, python: str) -> None:
    status, stdout, stderr = host.run("--version", before=(python,), PATH="/nowhere")
    assert (status, stdout) == (3, "")
    first, second = stderr.splitlines()
    assert first.startswith("error: anima-qa needs CPython 3.11, 3.12, 3.13 or 3.14 on Linux with glibc, for ")
    assert first.endswith(f" at {python}")
    assert second.startswith("  -> install one of them")
