"""What is kept of a stream, and words on their way to the guest."""

from __future__ import annotations

import os
import re
import subprocess
import tty
from contextlib import suppress

import pytest

from qa.deadline import Deadline
from qa.guest.channel import CommandResult, Kept
from qa.guest.shell_script import UNIT, UNIT_NAME, control_prelude, quote_line, slot_prelude, smbios_strings


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
@pytest.mark.parametrize("piece", [1, 7, 499, 500, 501, 5000])
def test_what_fits_is_kept_whole(size: int, piece: int) -> None:
    data = os.urandom(size)
    kept = Kept(1000)
    for start in range(0, size, piece):
        kept.add(data[start : start + piece])
    assert kept.value() == data
    assert not kept.truncated


@pytest.mark.parametrize("size", [1001, 1500, 5000, 123_457])
@pytest.mark.parametrize("piece", [1, 7, 499, 500, 501, 200_000])
def test_of_more_the_head_and_the_tail_are_kept(size: int, piece: int) -> None:
    data = os.urandom(size)
    kept = Kept(1000)
    for start in range(0, size, piece):
        kept.add(data[start : start + piece])
    assert kept.truncated
    assert kept.value() == data[:500] + b"\n[... %d bytes cut out here ...]\n" % (size - 1000) + data[-500:]
    assert kept.value() == kept.value()


def test_a_flood_is_not_kept() -> None:
    kept = Kept(1000)
    for _ in range(1000):
        kept.add(b"x" * 777)
    assert len(kept._head) + len(kept._tail) < 3000


def test_output_that_is_no_text_can_be_read_as_text() -> None:
    result = CommandResult("x", 0, b"a\xff\n", "ü".encode(), 0.1)
    assert (result.stdout_text, result.stderr_text) == ("a\ufffd\n", "ü")


@pytest.mark.parametrize("shell", [["bash"], ["dash"], ["busybox", "sh"]])
@pytest.mark.parametrize("command", ["", "echo 'a'", "a\nb\n", "'\n'", '$n ${n} `x` \\ "', "ü'ß", "'''"])
def test_a_quoted_command_is_one_word_on_one_line(shell: list[str], command: str) -> None:
    quoted = quote_line(command)
    assert "\n" not in quoted
    ran = subprocess.run([*shell, "-c", f"n='\n'\nprintf %s {quoted}"], capture_output=True, check=True)
    assert ran.stdout == command.encode()


@pytest.mark.parametrize("shell", [["bash"], ["dash"], ["busybox", "sh"]])
@pytest.mark.parametrize("script", [control_prelude(), slot_prelude("token")], ids=["control", "slot"])
def test_the_scripts_are_no_bashisms(shell: list[str], script: str) -> None:
    assert subprocess.run([*shell, "-n"], input=script.encode(), capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize("shell", [["bash"], ["dash"], ["busybox", "sh"]])
def test_the_control_shell_says_when_it_is_ready(shell: list[str]) -> None:
    ran = subprocess.run(shell, input=control_prelude().encode(), capture_output=True, check=True)
    assert ran.stdout == b"\x1eanima-qa-shell ready\n"


def test_the_control_shell_ends_when_the_system_goes_down() -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        try:
            os.write(ours, control_prelude().encode())
            said = b""
            while b"ready\n" not in said:
                said += os.read(ours, 4096)
            deadline = Deadline.after(20)
            while process.poll() is None and not deadline.expired:
                process.terminate()  # again, because bash sees one that comes just before it reads only after the next key
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.5)
            assert process.poll() == 0
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_a_terse_environment_gets_the_paths_of_administrators() -> None:
    ran = subprocess.run(
        ["bash"],
        input=control_prelude().encode() + b"echo $PATH\n",
        capture_output=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    path = ran.stdout.decode().splitlines()[-1].split(":")
    assert {"/usr/bin", "/bin", "/usr/sbin", "/sbin"} <= set(path)
    assert len(path) == len(set(path))


def test_the_unit_and_the_key_travel_as_credentials() -> None:
    strings = smbios_strings("ssh-ed25519 AAAA me")
    names = [re.sub(r"=.*", "", text.partition(":")[2]) for text in strings]
    assert names[0] == f"systemd.extra-unit.{UNIT_NAME}"
    assert names[-1] == "ssh.authorized_keys.root"
    assert not any("authorized_keys" in text for text in smbios_strings())
    assert all("," not in text and "\n" not in text for text in strings)


def test_the_units_hello_reaches_the_console() -> None:
    (line,) = [line for line in UNIT.splitlines() if line.startswith("ExecStart=")]
    assert '"\\\\036anima-qa-shell\\\\n"' in line  # systemd takes one backslash, printf the other
