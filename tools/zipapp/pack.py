"""Make the single file: dependencies and program into one tree, shiv's archive of it, and our start in place of shiv's.

pack.py --machine x86_64 --cache FOLDER --output FILE, run by build_zipapp.sh in the environment that it made.

shiv's own start is not taken along: it knows nothing of a Python that is too old, an unwritable home, deleted files or old
versions, and unpacks the extension modules of all Pythons.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import wheels

TOP = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).with_name("requirements.lock")
sys.path.insert(0, str(TOP))

from qa.zipapp import cache, gate  # noqa: E402 -- of the checkout that is packed

SHEBANG = f"/usr/bin/env -S python3 {gate.CLEAN}"
START = "anima_qa_start"
START_MODULES = ("__init__.py", "gate.py", "start.py", "streams.py", "place.py", "cache.py")
MAIN = f"from {START}.gate import go_on\n\ngo_on(__loader__.archive)\n"
EPOCH = "1700000000"
DATE = (2023, 11, 14, 22, 13, 20)
"""``EPOCH`` as zip files write it."""
ELF = b"\x7fELF"
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
BLOCK = 4096
"""A file takes whole ones of a disk."""


def program_wheel(folder: Path) -> Path:
    """The program's own wheel."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, quiet=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def archive_of(tree: Path, target: Path) -> None:
    """shiv's archive."""
    run(
        Path(sys.executable).with_name("shiv"), "--site-packages", tree, "--reproducible", "--uncompressed",
        "--python", SHEBANG, "--entry-point", "qa.cli:main", "--output-file", target, quiet=True,
    )  # fmt: skip


def finish(raw: Path, target: Path, machine: str, version: str) -> None:
    """Compress the archive, and give it our start. Entries are in order, with one time and one mode."""
    with zipfile.ZipFile(raw) as source:
        files = {name: source.read(name) for name in sorted(source.namelist()) if name.startswith("site-packages/")}
    start = TOP / "qa" / "zipapp"
    files = {f"{START}/{name}": (start / name).read_bytes() for name in START_MODULES} | files
    files = {"__main__.py": MAIN.encode()} | files
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    if foreign := of_another_machine(files, machine):
        sys.exit(f"build_zipapp: these files are not for {machine}: {', '.join(foreign)}")
    pythons = ", ".join(f"({python.replace('.', ', ')})" for python in wheels.PYTHONS)
    facts = f'VERSION = "{version}"\nDIGEST = "{digest.hexdigest()[:16]}"\nMACHINE = "{machine}"\nPYTHONS = ({pythons})\n'
    facts += f"UNPACKED = {unpacked_size(files)}\n"
    files[f"{START}/facts.py"] = facts.encode()
    stored = ("__main__.py", f"{START}/")  # Python reads these before we have shut out a zlib that is not its own
    with target.open("wb") as file:
        file.write(f"#!{SHEBANG}\n".encode())
        with zipfile.ZipFile(file, "w") as packed:
            for name, content in files.items():
                info = zipfile.ZipInfo(name, DATE)
                info.external_attr = 0o100644 << 16
                kind = zipfile.ZIP_STORED if name.startswith(stored) or name.endswith(".qcow2") else zipfile.ZIP_DEFLATED
                packed.writestr(info, content, kind, 9)
    target.chmod(0o755)


def of_another_machine(files: dict[str, bytes], machine: str) -> list[str]:
    """The programs and libraries among the files that are for other processors."""
    wanted = ELF_MACHINES[machine].to_bytes(2, "little")
    return [name for name, content in files.items() if content.startswith(ELF) and content[18:20] != wanted]


def unpacked_size(files: dict[str, bytes]) -> int:
    """Bytes on the disk for the Python that needs most. What Python compiles a module to takes as much as its text, and a block
    more: for what is larger than its text, and for folders.
    """

    def blocks(name: str, content: bytes) -> int:
        size = -(-len(content) // BLOCK) * BLOCK
        return 2 * size + BLOCK if name.endswith(".py") else size

    pythons = ["cp" + python.replace(".", "") for python in wheels.PYTHONS]
    return max(sum(blocks(*file) for file in files.items() if cache.wanted(file[0], python)) for python in pythons)


def run(*command: object, quiet: bool = False) -> None:
    """Run a program of the build; what it says is shown when it fails."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SHIV_"))}
    settings |= {"SOURCE_DATE_EPOCH": EPOCH, "PYTHONDONTWRITEBYTECODE": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=TOP, env=settings, capture_output=quiet, text=True, check=False)
    if done.returncode:
        sys.exit(f"{(done.stdout or '') + (done.stderr or '')}build_zipapp: this failed: {' '.join(words)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="build_zipapp.sh")
    parser.add_argument("--machine", choices=["x86_64", "aarch64"], required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    os.umask(0o022)
    with tempfile.TemporaryDirectory(dir=arguments.cache, prefix="build-") as work:
        raw, tree = Path(work, "raw.pyz"), Path(work, arguments.machine)
        own = program_wheel(Path(work, "wheel"))
        for machine in {arguments.machine, platform.machine()}:
            wheels.merge([own, *wheels.download(LOCK, machine, arguments.cache / "wheels")], Path(work, machine))
        guest = Path(__file__).with_name("guest.py")  # the program that is being built builds it: that of this machine
        run(sys.executable, "-B", guest, Path(work, platform.machine()), tree, arguments.cache / "guest")
        archive_of(tree, raw)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        packed = arguments.output.with_name(f".{arguments.output.name}.new")
        finish(raw, packed, arguments.machine, own.name.split("-")[1])
        packed.replace(arguments.output)


if __name__ == "__main__":
    main()
