"""Hosts that cannot run guests, and settings that are wrong: the exit status, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import SHARED_IMAGES, Program

SCRIPT = "image: builtin\nsteps: [succeed: 'true']\n"


MACHINES = 'case "$*" in *-smp*) {};; esac; exec qemu-system-x86_64 "$@"'
"""A QEMU that answers questions, and for a machine does something else."""


def fake_qemu(folder: Path, text: str) -> str:
    path = folder / "fake-qemu"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_no_firmware(program: Program) -> None:
    (program.cwd / "none").mkdir()
    ended = program.run_script(SCRIPT, "--accel", "tcg", ANIMA_QA_FIRMWARE_DIR=str(program.cwd / "none"))
    assert ended.status == 3
    assert "no UEFI firmware" in ended.text
    assert "install" in ended.result["hint"]
    assert (ended.folder / "report.html").exists()


def test_no_qemu(fresh_program: Program) -> None:
    tools = fresh_program.cwd / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    (tools / "python3").symlink_to(Path(sys.executable).resolve())  # the single file is started by its first line
    ended = fresh_program.run_script(SCRIPT, PATH=str(tools), ANIMA_QA_QEMU=None)
    assert ended.status == 3
    assert "QEMU is not installed" in ended.text
    assert ended.result["hint"]


@pytest.mark.parametrize(
    ("qemu", "status", "said"),
    [
        ("/nonexistent/qemu", 3, "there is no QEMU at /nonexistent/qemu"),
        ("/", 3, "is a folder"),
        ("exit 0", 3, "without telling what it is"),
        ("head -c 10000 /dev/urandom; exit 0", 3, "without telling what it is"),
        ("kill -SEGV $$", 3, "fake-qemu"),
        (MACHINES.format('exec qemu-system-x86_64 "$@" -frobnicate'), 4, "-frobnicate: invalid option"),
        (MACHINES.format("exit 0"), 4, "ended while it started"),
    ],
)  # fmt: skip
def test_a_qemu_that_is_none(fresh_program: Program, qemu: str, status: int, said: str) -> None:
    path = qemu if qemu.startswith("/") else fake_qemu(fresh_program.cwd, qemu)
    ended = fresh_program.run_script(SCRIPT, "--accel", "tcg", ANIMA_QA_QEMU=path)
    assert ended.status == status
    assert said in ended.text
    assert "Traceback" not in ended.text
    assert fresh_program.leftovers() == []


def test_kvm_that_does_not_work_is_refused_where_it_is_required(fresh_program: Program) -> None:
    """``/dev/null`` in its place opens, and is no KVM."""
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    hide = 'if [ -e /dev/kvm ]; then mount --bind /dev/null /dev/kvm; fi; exec "$@"'
    script = fresh_program.script(SCRIPT)
    for flag in ("--require-kvm", "--accel=kvm"):
        ended = fresh_program.run("run", script, flag, before=["unshare", *flags, "sh", "-c", hide, "sh"])
        assert ended.status == 3
        assert "KVM" in ended.result["reason"]
        assert "does not work here: " in ended.text
        assert "--accel auto" in ended.result["hint"]


def test_required_hardware_and_software_emulation_contradict_each_other(program: Program) -> None:
    ended = program.run_script(SCRIPT, "--require-kvm", "--accel", "tcg")
    assert ended.status == 2
    assert "KVM is required and software emulation is asked for" in ended.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("acel = 'tcg'", "there is no setting 'acel'"),
        ("jobs = 'many'", "'jobs'"),
        ("jobs = 0", "should be auto or a number from 1 to 64, and is 0"),
        ("accel = 'xen'", "should be 'auto', 'kvm' or 'tcg', and is 'xen'"),
        ("this is no toml", "cannot read"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(fresh_program: Program, settings: str, said: str) -> None:
    (fresh_program.home / "config").mkdir()
    (fresh_program.home / "config" / "config.toml").write_text(settings)
    ended = fresh_program.run_script(SCRIPT)
    assert ended.status == 2
    assert said in ended.stderr
    assert "config.toml" in ended.stderr
    assert not (fresh_program.cwd / "results").exists()


@pytest.mark.parametrize("home", ["/proc", "/dev/null"])
def test_a_home_that_cannot_be_written(program: Program, home: str) -> None:
    ended = program.run_script(SCRIPT, ANIMA_QA_HOME=home)
    assert ended.status in {2, 3}
    assert home in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("machine", "status", "said"),
    [
        ("memory: 8M", 2, "memory must be at least 64M"),
        ("memory: 900T", 3, "MB of memory, and this host has"),
        ("disk: 1M", 2, "is too small for builtin"),
        ("disks: [{}]", 2, "a disk needs a size or a path"),
        ("network: none, forward: [80]", 2, "without a network no port can be forwarded"),
        ("network: none, channel: ssh", 2, "without a network there is no SSH"),
        ("channel: serial", 2, "needs login"),
        ("cpus: 0", 2, "must be at least 1"),
    ],
)
def test_hardware_that_cannot_be(program: Program, machine: str, status: int, said: str) -> None:
    ended = program.run_script(f"image: builtin\nmachine: {{{machine}}}\nsteps: [succeed: 'true']\n")
    assert ended.status == status
    assert said in ended.text


@pytest.fixture
def ordinary() -> Iterator[tuple[Program, list[str]]]:
    """A program for a user without privileges, and what starts it so: we are one ourselves where we are not root."""
    with tempfile.TemporaryDirectory(prefix="anima-qa-ordinary-") as name:  # pytest's own folders are root's alone
        cwd, before = Path(name), []
        home = cwd / "home"
        shutil.copytree(SHARED_IMAGES, home / "cache" / "images", ignore=shutil.ignore_patterns("debian*", ".*"))
        (cwd / "script.yaml").touch()
        if os.geteuid() == 0:
            for folder, _, files in os.walk(cwd):
                for path in [folder, *(f"{folder}/{file}" for file in files)]:
                    os.chown(path, 65534, 65534)
            reading = "+dac_read_search"  # the interpreter may lie in root's home; devices are still out of reach
            before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            before += [f"--inh-caps={reading}", f"--ambient-caps={reading}"]
        yield Program(home, cwd), before


def test_an_ordinary_user_in_a_bare_environment(ordinary: tuple[Program, list[str]]) -> None:
    program, before = ordinary
    path = program.script("image: builtin\nsteps: [{record: grüße ☃}, {succeed: 'printf ü; [ $(id -u) = 0 ]'}]\n")
    bare = dict.fromkeys(("HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "COLUMNS"), None)
    ended = program.run("run", path, before=before, LANG="C", LC_ALL="C", TERM="dumb", **bare)
    assert ended.status == 0, ended.text
    if before:
        assert "KVM does not work here: /dev/kvm" in ended.result["host"]["accel_reason"]
    assert ended.result["steps"][1]["command"]["stdout"] == "ü"
