"""The single file behaves as a file that people copy around: what it says, where it unpacks itself, what it puts up with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LIMIT_S

from qa import __version__

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "examples/hello.yaml"
PYTHONS = ("311", "312", "313", "314")


@pytest.fixture(scope="session")
def built() -> Path:
    """The file, built if need be."""
    subprocess.run([TOP / "build_zipapp.sh"], check=True)
    return TOP / "dist/anima-qa.pyz"


class Host:
    """A host that the file was copied to."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.home = folder / "home"
        self.cwd = folder / "work"
        self.file = folder / "anima-qa.pyz"
        self.root = self.home / ".cache/anima-qa/zipapp"
        for made in (self.home, self.cwd):
            made.mkdir(parents=True)
        shutil.copy(file, self.file)

    def settings(self, changes: dict[str, str]) -> dict[str, str]:
        # All that the program itself writes goes elsewhere, so that what is in the home was unpacked.
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.cwd), **changes}

    def start(self, *arguments: object, before: tuple[object, ...] = (), **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in (*before, self.file, *arguments)], cwd=self.cwd, env=self.settings(env),
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: object, before: tuple[object, ...] = (), **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, before=before, **env)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        return process.returncode, stdout, stderr

    def unpacked(self) -> list[Path]:
        return [path for path in self.root.iterdir() if path.name != "lock"] if self.root.exists() else []


@pytest.fixture
def host(tmp_path: Path, built: Path) -> Iterator[Host]:
    yield Host(tmp_path / "host", built)
    shutil.rmtree(tmp_path / "host")  # 120 MB


CHECKED = (0, f"{SCRIPT}: ok, 8 steps\n", "")
VERSION = (0, f"anima-qa {__version__}\n", "")


def test_it_is_the_same_program(host: Host) -> None:
    assert host.run("--version") == VERSION
    assert host.run("check", SCRIPT) == CHECKED
    status, stdout, _ = host.run("--help")
    assert (status, stdout.split()[:2]) == (0, ["Usage:", "anima-qa"])
    status, stdout, _ = host.run(_ANIMA_QA_COMPLETE="bash_source")
    assert (status, "complete -o nosort -F _anima_qa_completion anima-qa" in stdout) == (0, True)


def test_the_built_in_guest_comes_with_it(host: Host) -> None:
    tools = host.cwd / "bin"  # nothing that a guest could be built with
    tools.mkdir()
    for name in ("env", "qemu-img"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    status, stdout, stderr = host.run("image", "build", "builtin", PATH=str(tools))
    assert (status, stderr) == (0, "")
    assert f"{host.home}/.cache/anima-qa/images/builtin-" in stdout
    status, stdout, _ = host.run("image", "info", "builtin")
    assert re.search(r"linux-image-\S+ \d", stdout)


def test_what_is_inside_and_under_which_license(host: Host, built: Path) -> None:
    status, stdout, _ = host.run("--licenses")
    assert status == 0
    for line in (
        r"cryptography +\S+ +Apache-2.0 OR BSD-3-Clause",
        r"linux-image-\S+ +\S+ +.*GPL-2",
        r"busybox-static +\S+ +GPL-2",
    ):
        assert re.search(line, stdout), line
    assert re.search(r"qemu.qmp +0.0.6 .*LGPLv2\+\)\n", stdout)
    assert not re.search(r"^  .*see its", stdout, re.MULTILINE)
    lock = (TOP / "tools/zipapp/requirements.lock").read_text()
    elsewhere = r"(?!.*sys_platform == '(?:win32|emscripten)')"
    locked = re.findall(rf"^{elsewhere}([a-z0-9-]+)==(\S+)", lock, re.MULTILINE)
    listed = {
        re.sub(r"[._]", "-", name).lower(): version for name, version in re.findall(r"^  (\S+) +(\S+)", stdout, re.MULTILINE)
    }
    assert [(name, version) for name, version in locked if listed.get(name) != version] == []
    for folder in re.findall(r" in (/\S+?)[,.]?(?:,|\s|$)", stdout):
        assert Path(folder).is_dir()


def test_each_python_has_its_extension_modules_and_nobody_pays_for_what_nobody_uses(built: Path) -> None:
    with zipfile.ZipFile(built) as packed:
        names = packed.namelist()
    modules: dict[str, set[str]] = {}
    for name in names:
        if found := re.fullmatch(r"(.+)\.cpython-(\d+)-x86_64-linux-gnu\.so", name):
            modules.setdefault(found[1], set()).add(found[2])
    assert len(modules) > 5
    # A module may be for one Python only where the package has its code in Python as well.
    assert {name for name, pythons in modules.items() if pythons != set(PYTHONS)} == set()
    unwanted = [name for name in names if re.search(r"/tests?/|\.pyi$|\.pyc$|/RECORD$|qmp/legacy\.py|site-packages/pip/", name)]
    assert unwanted == []


def test_nothing_in_the_current_folder_or_in_pythons_settings_is_imported(host: Host) -> None:
    for name in ("json", "re", "zipfile", "shutil", "zlib", "click", "pydantic", "yaml", "qa", "anima_qa_start", "typing"):
        (host.cwd / f"{name}.py").write_text('raise SystemExit("imported " + __file__)\n')
    for before in ((), ("python3", "-S")):
        assert host.run("check", SCRIPT, before=before, PYTHONPATH=str(host.cwd)) == CHECKED
    assert host.run("check", SCRIPT, PYTHONHOME="/nowhere", PYTHONSTARTUP="evil.py", PYTHONOPTIMIZE="2") == CHECKED


def test_it_unpacks_itself_once(host: Host) -> None:
    host.run("--version")
    (folder,) = host.unpacked()
    made = folder.stat().st_ino
    assert host.run("check", SCRIPT) == CHECKED
    assert [path.stat().st_ino for path in host.unpacked()] == [made]


def test_a_deleted_file_comes_back(host: Host) -> None:
    host.run("--version")
    (folder,) = host.unpacked()
    shutil.rmtree(folder / "site-packages/rich")
    (folder / "site-packages/click/core.py").write_text("")
    assert host.run("check", SCRIPT) == CHECKED
    assert (folder / "site-packages/rich/console.py").exists()


def test_first_starts_at_once(host: Host) -> None:
    started = [host.start("check", SCRIPT) for _ in range(6)]
    ended = [(*process.communicate(timeout=LIMIT_S), process.returncode) for process in started]
    assert ended == [(CHECKED[1], "", 0)] * 6
    assert len(host.unpacked()) == 1


def test_a_killed_first_start(host: Host) -> None:
    first = host.start("--version")
    while first.poll() is None:
        if any(path.name.startswith(".new-") for path in host.unpacked()):
            first.kill()
            break
    first.communicate()
    assert first.returncode == -9
    assert host.run("--version") == VERSION
    assert [path.name.startswith(__version__) for path in host.unpacked()] == [True]


def test_an_old_version_goes(host: Host) -> None:
    old = host.root / "0.0.1-0123456789abcdef-cp311"
    (old / "site-packages").mkdir(parents=True)
    (old / "contents").write_text("end\n")
    assert host.run("--version") == VERSION
    assert len(host.unpacked()) == 1
    assert not old.exists()


def test_a_home_that_cannot_be_written_to(host: Host) -> None:
    assert host.run("check", SCRIPT, HOME="/proc/none") == CHECKED
    (private,) = host.cwd.glob("anima-qa-*")
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("command", [("run", SCRIPT), ("image", "build", "builtin")])
def test_commands_that_need_a_home_say_so(host: Host, command: tuple[object, ...]) -> None:
    status, _, stderr = host.run(*command, HOME="/proc/none")
    assert status == 3
    assert "cannot be written to" in stderr
    assert "ANIMA_QA_HOME" in stderr
    assert "Traceback" not in stderr


def test_the_doctor_of_a_host_with_an_unwritable_home(host: Host) -> None:
    status, stdout, stderr = host.run("doctor", before=on_a_disk_of("1M", host.home, ",ro"))
    assert status == 3
    assert re.search(r"^no cache folder", stdout, re.MULTILINE)
    assert "Traceback" not in stderr


def test_no_place_at_all(host: Host) -> None:
    status, stdout, stderr = host.run("--version", ANIMA_QA_HOME="/proc/none")
    assert (status, stdout) == (3, "")
    assert stderr.splitlines() == [
        "error: anima-qa cannot unpack itself: /proc/none: No such file or directory",
        "  -> let ANIMA_QA_HOME name a folder that you can write to, on a file system that is not mounted noexec",
    ]


def test_screens_are_compared_out_of_the_one_file(host: Host) -> None:
    needles = TOP / "screenshots"
    status, stdout, stderr = host.run(
        "needle", "check", needles, "--screen", needles / "builtin-cleared.png", "--search-ratio", "1"
    )
    assert (status, stderr) == (1, "")
    assert "builtin-cleared: matches" in stdout
    assert "builtin-welcome: does not match" in stdout


def on_a_disk_of(size: str, folder: Path, options: str = "") -> tuple[object, ...]:
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    script = f"mount -t tmpfs -o size={size}{options} tmpfs '{folder}' && exec \"$@\""
    return ("unshare", *flags, "sh", "-c", script, "sh")


def test_a_full_disk(host: Host) -> None:
    status, _, stderr = host.run("--version", before=on_a_disk_of("20M", host.home))
    assert status == 3
    first, second = stderr.splitlines()
    assert first == f"error: no space left to unpack anima-qa in {host.root}"
    assert re.fullmatch(r"  -> free \d+ MB there, or let ANIMA_QA_HOME name a folder on another file system", second)


@pytest.mark.parametrize("options", [",ro", ",noexec"])
def test_a_home_on_a_file_system_that_forbids_it(host: Host, options: str) -> None:
    assert host.run("check", SCRIPT, before=on_a_disk_of("500M", host.home, options)) == CHECKED


def test_a_file_that_was_damaged_on_its_way(host: Host) -> None:
    content = bytearray(host.file.read_bytes())
    with zipfile.ZipFile(host.file) as packed:
        largest = max(packed.infolist(), key=lambda info: info.compress_size)
    content[largest.header_offset + largest.compress_size // 2] ^= 0xFF
    host.file.write_bytes(content)
    status, _, stderr = host.run("--version")
    assert status == 3
    assert stderr.startswith(f"error: the file {host.file} is damaged: ")
    assert "copy it again" in stderr
    assert host.unpacked() == []


def test_it_is_one_file_of_a_size_that_people_copy(built: Path) -> None:
    assert built.stat().st_size < 70_000_000
    assert os.access(built, os.X_OK)
