"""What goes into the single file: for one architecture, with a size, and with the guest of today's packages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]
ELF = b"\x7fELF" + bytes(14)
X86_64, AARCH64 = ELF + b"\x3e\0", ELF + b"\xb7\0"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOP / f"tools/zipapp/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(TOP / "tools/zipapp")
    return load("pack")


def test_libraries_for_another_processor_are_found(pack: ModuleType) -> None:
    files = {"a.so": X86_64, "b.libs/b.so.1": AARCH64, "c.py": b"text", "short": b"\x7fEL"}
    assert pack.of_another_machine(files, "x86_64") == ["b.libs/b.so.1"]
    assert pack.of_another_machine(files, "aarch64") == ["a.so"]


def test_they_stop_the_build(pack: ModuleType, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "raw", "w") as raw:
        raw.writestr("site-packages/fast.so", X86_64)
    with pytest.raises(SystemExit, match=r"these files are not for aarch64: site-packages/fast\.so"):
        pack.finish(tmp_path / "raw", tmp_path / "done", "aarch64", "1")
    assert not (tmp_path / "done").exists()


def test_the_size_is_that_for_the_python_that_needs_most(pack: ModuleType) -> None:
    block = pack.BLOCK
    files = {
        "__main__.py": bytes(9 * block),  # stays packed
        "site-packages/a.py": bytes(1),  # and what it is compiled to, and a block
        "site-packages/b.cpython-311-x86_64-linux-gnu.so": bytes(5 * block),
        "site-packages/b.cpython-313-x86_64-linux-gnu.so": bytes(6 * block + 1),
    }
    assert pack.unpacked_size(files) == 3 * block + 7 * block


def test_packages_that_apt_has_now_decide_whether_a_guest_is_of_today(tmp_path: Path) -> None:
    record = tmp_path / "home/copyrights/key"
    record.mkdir(parents=True)
    (record / "sources").write_text("busybox-static 1 busybox 1\nlibc6 2 glibc 2\n")
    played = tmp_path / "apt-cache"
    played.write_text(
        '#!/bin/sh\nfor name; do case $name in -*|show) ;; *) printf "Package: %s\\nSize: 1\\nVersion: 3\\n" $name;; esac; done\n'
    )
    played.chmod(0o755)
    command = [sys.executable, TOP / "tools/zipapp/guest.py", tmp_path / "home"]
    said = subprocess.check_output(command, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, text=True)
    names = ("busybox-static", "libc6", "linux-image-cloud-amd64")
    assert said == "".join(f"Package: {name}\nVersion: 3\n" for name in names)


def test_ci_drives_the_single_file_or_fails() -> None:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("ANIMA_QA_")} | {"CI": "true"}
    command = [sys.executable, "-c", "import program"]
    for program, status in (("", 1), ("dist/anima-qa.pyz", 0)):
        done = subprocess.run(
            command,
            cwd=TOP / "tests/surfaces",
            env={**settings, "ANIMA_QA_PROGRAM": program},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert ("ANIMA_QA_PROGRAM must name it" in done.stderr) == (status == 1)
