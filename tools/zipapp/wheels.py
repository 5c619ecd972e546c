"""The locked dependencies for several Pythons, downloaded as wheels and merged into one tree.

Extension modules carry the Python version in their names, so one folder serves all of them.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The lowest that a package has wins, so that the file runs on old hosts too; pip takes each of these tags by its exact name.
GLIBCS = ("2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34")

LEFT_OUT_FOLDERS = {"tests", "test", "__pycache__"}
LEFT_OUT_SUFFIXES = {".pyi", ".pyc", ".pyx", ".pxd", ".c", ".h", ".a"}
LEFT_OUT_PREFIXES = (
    # of numpy: what neither it nor we import
    "numpy/f2py/", "numpy/random/", "numpy/distutils/", "numpy/_pyinstaller/", "numpy/_core/include/", "numpy/_core/_simd.",
    "numpy/_core/_multiarray_tests.", "numpy/_core/_umath_tests.", "numpy/_core/_rational_tests.",
    "numpy/_core/_struct_ufunc_tests.", "numpy/_core/_operand_flag_tests.",
    # of Pillow: fonts, colour profiles, Tk and AVIF, with the libraries that only they need
    "PIL/_imagingft.", "PIL/_imagingcms.", "PIL/_imagingtk.", "PIL/_avif.", "pillow.libs/libfreetype", "pillow.libs/libharfbuzz",
    "pillow.libs/libbrotli", "pillow.libs/libpng16", "pillow.libs/liblcms2", "pillow.libs/libavif",
)  # fmt: skip
LEFT_OUT_FILES = {
    "qemu/qmp/legacy.py",     # GPL-2.0-only; nothing of ours uses it, nor what imports it:
    "qemu/qmp/qmp_shell.py",
    "qemu/qmp/qmp_tui.py",
}  # fmt: skip
MAY_DIFFER = {"numpy/__config__.py"}
"""What one Python's wheel has is good for all: it only tells how numpy was compiled."""
KEPT_OF_METADATA = {"METADATA", "licenses"}
"""Of a package's ``dist-info``: its name, version and license. The rest is for installers, and differs between Pythons."""


class Conflict(Exception):
    """Two wheels bring different files of one name."""


def locked(lock: Path, python: str, machine: str) -> Iterator[str]:
    """The lines of a lock file that hold for a Python: markers are decided for it, not for the Python that runs this."""
    environment = {
        "python_version": python, "python_full_version": f"{python}.99", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
        "platform_machine": machine,
    }  # fmt: skip
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        wish, *hashes = line.split("--hash=")
        requirement = Requirement(wish.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            digests = " ".join(f"--hash={one.strip()}" for one in hashes)
            yield f"{requirement.name}{requirement.specifier} {digests}"


def download(lock: Path, machine: str, folder: Path) -> list[Path]:
    """The wheels for all Pythons, each Python's in a folder of its own; what is there already stays."""
    with ThreadPoolExecutor(2) as workers:
        folders = list(workers.map(lambda python: _downloaded(lock, python, machine, folder / machine), PYTHONS))
    return [wheel for one in folders for wheel in sorted(one.glob("*.whl"))]


def _downloaded(lock: Path, python: str, machine: str, folder: Path) -> Path:
    wanted = "\n".join([*locked(lock, python, machine), ""])
    target = folder / f"{python}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if not (target / "complete").exists():
        target.mkdir(parents=True, exist_ok=True)
        (target / "requirements.txt").write_text(wanted, encoding="utf-8")
        _pip_download(target, python, machine)
        (target / "complete").touch()
    return target


def _pip_download(target: Path, python: str, machine: str) -> None:
    abi = "cp" + python.replace(".", "")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
            "--disable-pip-version-check", "--no-input", "--requirement", target / "requirements.txt", "--dest", target,
            "--implementation", "cp", "--python-version", python, "--abi", abi, "--abi", "abi3", "--abi", "none",
            *(word for glibc in GLIBCS for word in ("--platform", f"manylinux_{glibc}_{machine}")),
            "--platform", f"manylinux2014_{machine}",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout}build_zipapp: cannot download the locked packages for Python {python} on {machine}")


def merge(wheels: list[Path], tree: Path) -> None:
    """Unpack the wheels into ``tree``, all files with the same mode.

    Raises:
        Conflict: they cannot be in one tree.
    """
    seen: dict[str, tuple[bytes, Path]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            for name in sorted(packed.namelist()):
                if name.endswith("/") or not is_wanted(name):
                    continue
                content = packed.read(name)
                if name not in seen:
                    seen[name] = content, wheel
                    _write(tree / name, content)
                elif seen[name][0] != content and name not in MAY_DIFFER and not name.endswith("dist-info/METADATA"):
                    raise Conflict(f"{name} differs between {seen[name][1].name} and {wheel.name}")


def is_wanted(name: str) -> bool:
    """Whether a file of a wheel goes into the single file."""
    first, *rest = name.split("/")
    if first.endswith(".dist-info"):
        return rest[0] in KEPT_OF_METADATA or rest[0].upper().startswith(("LICEN", "COPYING", "NOTICE", "AUTHORS"))
    if first.endswith(".data"):
        return False  # programs and manual pages
    if (
        name in LEFT_OUT_FILES
        or name.startswith(LEFT_OUT_PREFIXES)
        or (first != "qa" and LEFT_OUT_FOLDERS & set(name.split("/")[:-1]))
    ):
        return False
    return Path(name).suffix not in LEFT_OUT_SUFFIXES or first == "qa"


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o644)
