"""Finding QEMU and learning what it offers, against small scripts that play QEMU."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from qa.errors import HostError, ToolMissing
from qa.host import probe
from qa.host.qemu import find_qemu, find_qemu_img
from qa.paths import Paths

MODERN: dict[str, Any] = {
    "schema": [
        {"name": "1", "meta-type": "command"},
        {
            "name": "2",
            "meta-type": "enum",
            "members": [{"name": n} for n in ("xbzrle", "postcopy-ram", "x-ignore-shared", "mapped-ram")],
        },
        {"name": "3", "meta-type": "enum", "values": ["socket", "exec", "rdma", "file"]},
    ],
    "options": [
        {"option": "sandbox", "parameters": [{"name": "spawn"}]},
        {"option": "run-with", "parameters": [{"name": "exit-with-parent"}]},
    ],
    "devices": [{"name": "vmgenid"}, {"name": "pvpanic-pci"}, {"name": "a-device-nobody-asks-for"}],
    "accelerators": [{"name": "kvm-accel"}, {"name": "tcg-accel"}],
}
PLAIN: dict[str, Any] = {
    "schema": [
        {"name": "2", "meta-type": "enum", "values": ["xbzrle", "postcopy-ram"]},
        {"name": "3", "meta-type": "enum", "values": ["socket", "exec", "rdma"]},
        {"name": "4", "meta-type": "enum", "values": ["file", "mapped-ram"]},
    ],
    "options": [{"option": "run-with", "parameters": [{"name": "chroot"}]}],
    "devices": [{"name": "VGA"}],
    "accelerators": [{"name": "tcg-accel"}],
}


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
    path.chmod(0o755)
    return path


def fake_qemu(
    path: Path, version: tuple[int, int, int] = (10, 0, 2), package: str = "Debian 1:10", answers: dict[str, Any] = MODERN
) -> Path:
    """A QEMU that says what it is, and counts in the file ``asked`` beside it how often it was started."""
    major, minor, micro = version
    greeting = {"QMP": {"version": {"qemu": {"major": major, "minor": minor, "micro": micro}, "package": package}}}
    refused = {"error": {"class": "CommandNotFound"}}
    replies = [greeting, {"return": {}}]
    replies += [({"return": answers[key]} if key in answers else refused) | {"id": key} for key in MODERN]
    lines = "\n".join(json.dumps(reply) for reply in replies)
    return script(path, f"echo once >> '{path.parent}/asked'\ncat <<'END'\n{lines}\nEND\nexec sleep 1000\n")


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text().splitlines())


def test_version_package_and_features_are_what_qemu_says(tmp_path: Path) -> None:
    qemu = find_qemu(fake_qemu(tmp_path / "qemu"))
    assert (qemu.version, qemu.version_text, qemu.package) == ((10, 0, 2), "10.0.2", "Debian 1:10")
    assert qemu.features == {
        *("vmgenid", "pvpanic-pci", "accel:kvm", "accel:tcg", "sandbox", "exit-with-parent"),
        *("x-ignore-shared", "mapped-ram", "file-migration"),
    }


def test_features_that_are_not_there_are_not_claimed(tmp_path: Path) -> None:
    assert find_qemu(fake_qemu(tmp_path / "qemu", answers=PLAIN)).features == {"VGA", "accel:tcg"}


def test_a_qemu_that_knows_none_of_the_questions_still_has_a_version(tmp_path: Path) -> None:
    qemu = find_qemu(fake_qemu(tmp_path / "qemu", version=(7, 2, 0), answers={}))
    assert (qemu.version, qemu.features) == ((7, 2, 0), frozenset())


@pytest.mark.parametrize(("version", "trusted"), [((7, 2, 9), False), ((8, 0, 0), True), ((11, 0, 0), True)])
def test_software_emulation_is_trusted_from_8_on(tmp_path: Path, version: tuple[int, int, int], trusted: bool) -> None:
    assert find_qemu(fake_qemu(tmp_path / "qemu", version=version)).tcg_trusted is trusted


def test_it_is_asked_once(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "qemu")
    assert find_qemu(path) == find_qemu(path)
    assert asked(tmp_path) == 1


def test_it_is_asked_again_when_the_file_has_changed(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "qemu")
    find_qemu(path)
    status = path.stat()
    fake_qemu(path, version=(11, 1, 0))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert find_qemu(path).version == (11, 1, 0)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b'{"format": 0, "qemus": {}}', b'{"format": 1, "qemus": {"x": 1}}']
)
def test_a_broken_cache_file_is_ignored_and_written_anew(tmp_path: Path, home: Paths, content: bytes) -> None:
    path = fake_qemu(tmp_path / "qemu")
    home.cache.mkdir(parents=True)
    (home.cache / "qemu.json").write_bytes(content)
    assert find_qemu(path).version == (10, 0, 2)
    assert find_qemu(path).version == (10, 0, 2)
    assert asked(tmp_path) == 1
    assert [file.name for file in home.cache.iterdir()] == ["qemu.json"]


def test_two_qemus_are_remembered_side_by_side(tmp_path: Path) -> None:
    old, new = fake_qemu(tmp_path / "old" / "qemu", version=(8, 2, 0)), fake_qemu(tmp_path / "new" / "qemu")
    versions = [find_qemu(path).version for path in (old, new, old, new)]
    assert versions == [(8, 2, 0), (10, 0, 2)] * 2
    assert (asked(tmp_path / "old"), asked(tmp_path / "new")) == (1, 1)


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, home: Paths) -> None:
    home.cache.parent.mkdir(parents=True)
    home.cache.write_text("a file where the folder should be")
    assert find_qemu(fake_qemu(tmp_path / "qemu")).version == (10, 0, 2)


def test_it_is_found_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_qemu(tmp_path / "bin" / "qemu-system-x86_64")
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    assert find_qemu().path == path


def test_a_bare_name_is_looked_up_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_qemu(tmp_path / "bin" / "my-qemu")
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    assert find_qemu(Path("my-qemu")).path == path


def test_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("qa.host.qemu.NAMES", ("qemu-system-x86_64",))
    with pytest.raises(ToolMissing, match="QEMU is not installed") as caught:
        find_qemu()
    assert caught.value.hint
    assert "qemu" in caught.value.hint


def test_absent_where_the_setting_points(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"there is no QEMU at .*/nowhere") as caught:
        find_qemu(tmp_path / "nowhere")
    assert "ANIMA_QA_QEMU" in str(caught.value.hint)


def test_a_folder_is_not_a_program(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is a folder"):
        find_qemu(tmp_path)


def test_not_executable(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "qemu")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with pytest.raises(HostError, match="is not executable"):
        find_qemu(path)


def test_not_a_program_for_this_host(tmp_path: Path) -> None:
    path = tmp_path / "qemu"
    path.write_bytes(b"\x7fELFnonsense")
    path.chmod(0o755)
    with pytest.raises(HostError, match="cannot be started: Exec format error"):
        find_qemu(path)


def test_it_crashes(tmp_path: Path) -> None:
    path = script(tmp_path / "qemu", "echo 'illegal hardware' >&2\nkill -SEGV $$\n")
    with pytest.raises(HostError, match="was ended by signal SIGSEGV without telling what it is") as caught:
        find_qemu(path)
    assert caught.value.evidence == {"its last words": "illegal hardware"}


def test_it_is_something_else(tmp_path: Path) -> None:
    path = script(tmp_path / "qemu", "echo 'unknown option -M'\nexit 3\n")
    with pytest.raises(HostError, match="ended with status 3") as caught:
        find_qemu(path)
    assert caught.value.evidence == {"its last words": "unknown option -M"}


@pytest.mark.parametrize(
    "greeting", ['{"QMP": {}}', '{"QMP": {"version": {"qemu": {"major": "x", "minor": 0, "micro": 0}}}}', "[1]"]
)
def test_it_talks_nonsense(tmp_path: Path, greeting: str) -> None:
    with pytest.raises(HostError, match="without telling what it is"):
        find_qemu(script(tmp_path / "qemu", f"echo '{greeting}'\n"))


def test_it_closes_its_output_and_runs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ENDING_S", 0.05)
    with pytest.raises(HostError, match="runs on without telling what it is"):
        find_qemu(script(tmp_path / "qemu", "exec sleep 1000 >&-\n"))


def test_it_dies_in_the_middle_of_its_answers(tmp_path: Path) -> None:
    greeting = '{"QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 0}}}}'
    path = script(tmp_path / "qemu", f"echo '{greeting}'\nprintf '{{\"return\": [{{\"na'\nkill -KILL $$\n")
    with pytest.raises(HostError, match="was ended by signal SIGKILL"):
        find_qemu(path)


def test_an_answer_that_is_longer_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    schema = [{"name": str(number), "meta-type": "command"} for number in range(10_000)] + list(PLAIN["schema"])
    schema.append({"name": "late", "meta-type": "enum", "values": ["xbzrle", "postcopy-ram", "multifd"]})
    assert "multifd" in find_qemu(fake_qemu(tmp_path / "qemu", answers=MODERN | {"schema": schema})).features


def test_it_is_too_old(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"is QEMU 7\.1\.9, and 7\.2 is the oldest that works") as caught:
        find_qemu(fake_qemu(tmp_path / "qemu", version=(7, 1, 9)))
    assert caught.value.hint


def test_it_hangs_and_nothing_of_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "qemu", f"sleep 1000 &\necho $! > '{tmp_path}/child'\nwait\n")
    with pytest.raises(HostError, match=r"did not answer within 0\.5 s"):
        probe.ask(path, limit_s=0.5)
    assert has_ended(int((tmp_path / "child").read_text()))


def test_a_child_of_a_wrapper_that_keeps_the_pipe_open_does_not_hang_us(tmp_path: Path) -> None:
    path = script(tmp_path / "qemu", f"sleep 1000 &\necho $! > '{tmp_path}/child'\nexit 0\n")
    with pytest.raises(HostError, match=r"did not answer within 0\.5 s"):
        probe.ask(path, limit_s=0.5)
    assert has_ended(int((tmp_path / "child").read_text()))


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet taken away by init."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    if state and not state.startswith("Z"):
        os.kill(pid, signal.SIGKILL)
        return False
    return True


def test_qemu_img_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "qemu-img", "exit 0\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_qemu_img() == path


def test_qemu_img_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="qemu-img is not installed") as caught:
        find_qemu_img()
    assert caught.value.hint
