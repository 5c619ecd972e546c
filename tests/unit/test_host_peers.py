"""Who has connected: the kernel's tables, played and real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qa.host.peers import why_foreign

OWN, PEER = ("127.0.0.1", 8090), ("127.0.0.1", 40000)
ME = os.getuid()
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
V4 = "   1: 0100007F:9C40 0100007F:1F9A 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 {inode} 1 0000 20 4 30 10 -1\n"
OURS = "   0: 0100007F:1F9A 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 555 1 0000 20 4 30 10 -1\n"
MAPPED = V4.replace("0100007F", "0000000000000000FFFF00000100007F")
V6 = V4.replace("0100007F", "00000000000000000000000001000000")


@dataclass
class Proc:
    """A played /proc of a little-endian computer."""

    folder: Path

    def table(self, line: str, name: str = "tcp", *, uid: int = ME, inode: int = 777) -> None:
        (self.folder / "net").mkdir(exist_ok=True)
        lines = OURS.format(uid=ME) + line.format(uid=uid, inode=inode)
        (self.folder / "net" / name).write_text(HEADER + lines, encoding="ascii")

    def process(self, pid: int, name: str, program: str, *, holds: int = 0, parent: int = 1) -> Path:
        folder = self.folder / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {pid} 0 -1")
        (folder / "exe").symlink_to(program)
        (folder / "fd" / "0").symlink_to("/dev/null")
        (folder / "fd" / "9").symlink_to(f"socket:[{holds}]")
        return folder

    def why(self, own: tuple[str, int] = OWN, peer: tuple[str, int] = PEER) -> str:
        return why_foreign(peer, own, proc=self.folder, uid=ME)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    assert sys.byteorder == "little"
    (tmp_path / "self").mkdir()
    return Proc(tmp_path)


@pytest.mark.parametrize(("line", "name"), [(V4, "tcp"), (MAPPED, "tcp6")])
def test_a_program_of_the_same_user_is_let_in(proc: Proc, line: str, name: str) -> None:
    proc.table(line, name)
    proc.process(40, "curl", "/usr/bin/curl", holds=777)
    assert proc.why() == ""


def test_the_newer_protocol_has_a_table_of_its_own(proc: Proc) -> None:
    proc.table(V6, "tcp6")
    assert proc.why(("::1", 8090), ("::1", 40000)) == ""
    assert "cannot be told" in proc.why()


def test_a_program_of_another_user_is_not(proc: Proc) -> None:
    proc.table(V4, uid=ME + 1)
    assert proc.why() == f"the program that has connected belongs to another user (uid {ME + 1})"


def test_root_may(proc: Proc) -> None:
    proc.table(V4, uid=0)
    assert proc.why() == ""


def test_a_socket_that_is_closed_already_is_nobodys_though_it_looks_like_roots(proc: Proc) -> None:
    proc.table(V4, uid=0, inode=0)
    assert "is gone" in proc.why()


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
        ("qemu-kvm", "/usr/libexec/qemu-kvm"),
        ("vm (one)", "/opt/bin/qemu-system-aarch64"),
        ("qemu-system-x86", "/opt/bin/emulator"),
    ],
)
def test_a_guest_speaks_through_its_qemu(proc: Proc, name: str, program: str) -> None:
    proc.table(V4)
    process = proc.process(41, name, program, holds=777)
    assert proc.why() == "it comes from a virtual machine"
    (process / "fd" / "9").unlink()
    assert proc.why() == "", "another program has connected, while a machine runs"


def test_a_child_of_ours_is_a_machine_whatever_it_is_called(proc: Proc) -> None:
    proc.table(V4)
    proc.process(42, "emulator", "/opt/bin/emulator", holds=777, parent=os.getpid())
    assert proc.why() == "it comes from a virtual machine"


def test_a_machine_that_lets_nobody_see_what_it_holds_is_not_trusted(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.table(V4)
    hidden = proc.process(43, "qemu-system-x86", "/usr/bin/qemu-system-x86_64", holds=1)
    assert proc.why() == ""
    usual = os.scandir

    def refuse(path: Path) -> Any:
        if path == hidden / "fd":
            raise PermissionError(13, "no")
        return usual(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert proc.why() == "it comes from a virtual machine"


def test_where_the_kernel_tells_nothing_nobody_is_let_in(proc: Proc) -> None:
    assert "cannot be told" in proc.why()
    proc.table("")
    assert "cannot be told" in proc.why(), "only our own end is in the table"


CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    connection.recv(1)
"""


def test_the_kernels_own_tables_tell_a_program_of_ours_from_a_child() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        own = listening.getsockname()
        with socket.create_connection(own[:2]), listening.accept()[0] as accepted:
            assert why_foreign(accepted.getpeername()[:2], own[:2]) == ""
        with subprocess.Popen([sys.executable, "-c", CONNECT, *map(str, own)]) as child:
            accepted, peer = listening.accept()
            with accepted:
                assert why_foreign(peer[:2], own[:2]) == "it comes from a virtual machine"
            child.wait()
        closed = socket.create_connection(own[:2])
        accepted, peer = listening.accept()
        closed.close()
        with accepted:
            assert "gone" in why_foreign(peer[:2], own[:2])
