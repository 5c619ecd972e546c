"""The single file behaves as a file that people copy around: what it says, where it unpacks itself, what it puts up with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LIMIT_S
from zipapp_host import CHECKED, SCRIPT, VERSION, Host, on_a_disk_of

from qa import __version__

TOP = Path(__file__).parents[2]
PYTHONS = ("311", "312", "313", "314")


def test_it_is_the_same_program(host: Host) -> None:
    assert host.run("--version") == VERSION
    assert host.run("check", SCRIPT) == CHECKED
    status, stdout, _ = host.run("--help")
    assert (status, stdout.split()[:2]) == (0, ["Usage:", "anima-qa"])


def test_a_shell_completes_it_whatever_its_name(host: Host) -> None:
    host.file = host.file.rename(host.cwd / "vm-tests")
    typed = 'eval "$(_ANIMA_QA_COMPLETE=bash_source vm-tests)"; complete -p vm-tests; COMP_WORDS=(vm-tests doc) COMP_CWORD=1; '
    typed += '_vm_tests_completion vm-tests; echo "${COMPREPLY[@]}"'
    command = ["bash", "-c", typed]
    path = {"PATH": f"{host.cwd}:{os.environ['PATH']}"}
    lines = subprocess.check_output(command, env=host.settings(path), text=True).splitlines()
    assert lines == ["complete -o nosort -F _vm_tests_completion vm-tests", "doctor"]


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
    assert not re.search(r"^  .*see (its|the license)", stdout, re.MULTILINE)
    with zipfile.ZipFile(built) as packed:
        brought = {found[1] for name in packed.namelist() if (found := re.search(r"\.libs/([^-/]+)", name))}
    assert brought == set(re.findall(r"^  (lib\S+) +(?:numpy|pillow) ", stdout, re.MULTILINE))
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


IMPORTS = "import click, os\nos.environ['IMPORTED'] = click.__file__\n"


@pytest.fixture
def polluted(tmp_path: Path) -> Path:
    """A Python with packages of its own, one of which is imported before any program starts."""
    made = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "click.py").write_text("")
    (site / "imports.pth").write_text("import click\n")
    return made / "bin"


@pytest.mark.parametrize("options", [(), ("-sE",), ("-I",)], ids=["plain", "-sE", "-I"])
def test_nothing_that_is_installed_here_is_imported(host: Host, polluted: Path, options: tuple[str, ...]) -> None:
    said = subprocess.check_output([polluted / "python3", "-c", "import sys; print(sys.modules['click'].__file__)"], text=True)
    assert said.startswith(str(polluted.parent))  # so it would be in the way
    assert host.run("check", SCRIPT, before=(polluted / "python3", *options)) == CHECKED
    assert host.run("check", SCRIPT, PATH=f"{polluted}:{os.environ['PATH']}") == CHECKED


def test_nothing_that_pythonpath_imports_at_its_start_stays(host: Host) -> None:
    for name in ("click", "pydantic"):
        (host.cwd / f"{name}.py").write_text("")
    (host.cwd / "sitecustomize.py").write_text(
        "import click, pydantic, sys\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, *_):\n"
        "        if name.startswith(('qa', 'rich')):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Finder)\n"
    )
    assert host.run("check", SCRIPT, before=("python3",), PYTHONPATH=str(host.cwd)) == CHECKED


def test_agents_are_told_to_start_it_so(host: Host) -> None:
    status, stdout, _ = host.run("mcp", "--print-config", "codex")
    assert status == 0
    assert f'args = ["-IS", "{host.file}", "mcp"]' in stdout


@pytest.mark.parametrize(
    "way", ["-I", "PYTHONSAFEPATH", "a link", "spaces", "umlauts", "LC_ALL=C", "no exec bit", "another name", "a relative path"]
)
def test_ways_to_start_it(host: Host, way: str, tmp_path: Path) -> None:
    before: tuple[object, ...] = ()
    env = {}
    match way:
        case "-I":
            before = (sys.executable, "-I")
        case "PYTHONSAFEPATH":
            before, env = (sys.executable,), {"PYTHONSAFEPATH": "1"}
        case "a link":
            (tmp_path / "link").symlink_to(host.file)
            host.file = tmp_path / "link"
        case "spaces" | "umlauts" | "another name":
            host.file = host.file.rename(tmp_path / {"spaces": "a b.pyz", "umlauts": "prüfer ☃.pyz"}.get(way, "vm"))
        case "LC_ALL=C":
            env = {"LC_ALL": "C", "LANG": "C"}
        case "no exec bit":
            host.file.chmod(0o644)
            before = (sys.executable,)
        case _:
            host.file = Path(os.path.relpath(host.file, host.cwd))
    script = host.cwd / "grüße.yaml"
    script.write_text(SCRIPT.read_text())
    assert host.run("--version", before=before, **env) == VERSION
    assert host.run("check", script.name, before=before, **env) == (0, f"{script.name}: ok, 8 steps\n", "")


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
    os.utime(old / "contents", times=(0, 0))
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


@pytest.fixture
def ordinary(built: Path) -> Iterator[tuple[Host, tuple[object, ...]]]:
    """A host whose home belongs to a user without privileges, and what starts a program as that user."""
    with tempfile.TemporaryDirectory(prefix="anima-qa-ordinary-") as name:  # pytest's own folders are root's alone
        Path(name).chmod(0o755)
        host = Host(Path(name, "host"), built)
        for folder in (host.home, host.cwd):
            os.chown(folder, 65534, 65534)
        reading = "+dac_read_search"  # the interpreter may lie in root's home
        switch = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={reading}")
        yield host, (*switch, f"--ambient-caps={reading}")


def test_root_with_the_home_of_a_user(ordinary: tuple[Host, tuple[object, ...]]) -> None:
    host, as_user = ordinary
    private = host.cwd / "anima-qa-0/zipapp"
    line = f"anima-qa: {host.home} belongs to another user, so the program is unpacked in {private}\n"
    assert host.run("--version") == (*VERSION[:2], line)
    assert list(host.home.iterdir()) == []
    assert host.run("--version", before=as_user) == VERSION
    assert len(host.unpacked()) == 1
    assert host.run("--version") == (*VERSION[:2], line)  # nor does root run what a user could have changed


def test_a_user_whose_home_has_files_of_root(ordinary: tuple[Host, tuple[object, ...]]) -> None:
    host, as_user = ordinary
    (host.home / ".cache").mkdir(mode=0o700)
    without = ("setpriv", "--bounding-set=-all", *as_user[1:4])
    if subprocess.run([*without, sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        without = as_user[:4]
    for command in (("image", "list"), ("template", "list"), ("image", "info", "builtin"), ("doctor",)):
        status, stdout, stderr = host.run(*command, before=(*without, "/usr/bin/python3"))
        assert status == 3, stderr
        assert "Traceback" not in stderr
        assert f"{host.home}/.cache" in stdout + stderr
        assert "ANIMA_QA_HOME" in stdout + stderr


def test_a_user_that_the_system_does_not_know(ordinary: tuple[Host, tuple[object, ...]]) -> None:
    host, as_user = ordinary
    nameless = (*(str(word).replace("65534", "4242") for word in as_user), "env", "-u", "HOME")
    try:
        assert host.run("--version", before=nameless, TMPDIR="/nowhere") == VERSION
        status, _, stderr = host.run("doctor", before=nameless)
    finally:
        shutil.rmtree("/tmp/anima-qa-4242")
    assert (status, stderr.splitlines()[0]) == (
        2, "error: there is no home folder: HOME is not set, and the system knows no user with the number 4242"
    )  # fmt: skip


def test_no_more_room_is_taken_than_is_asked_for(host: Host) -> None:
    host.run("--licenses")
    (folder,) = host.unpacked()
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder], env=settings, stdout=subprocess.DEVNULL, check=False)
    taken = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    with zipfile.ZipFile(host.file) as packed:
        (asked,) = re.findall(r"UNPACKED = (\d+)", packed.read("anima_qa_start/facts.py").decode())
    assert int(asked) * 0.9 < taken < int(asked) * 1.02


def test_it_is_one_file_of_a_size_that_people_copy(built: Path) -> None:
    assert built.stat().st_size < 70_000_000
    assert os.access(built, os.X_OK)
