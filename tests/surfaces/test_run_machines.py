"""Several machines in one script: their hardware, disks and networks, and the way from this host into them."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from program import Ended, Program
from test_run_images import partitioned

SCRIPT = """
name: three
machines:
  server: {image: builtin, cpus: 1, forward: [80], disk: 1G, disks: [{size: 100M, serial: data}, {path: extra.raw}]}
  client: {image: builtin, network: restricted, forward: [80]}
  island: {image: builtin, network: none, memory: 384M}
steps:
  - {name: cpus, on: server, execute: nproc, expect: {stdout: ^1$}}
  - {name: disks, on: server, execute: "cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdc/size"}
  - {name: serial, on: server, execute: cat /sys/block/vdb/serial, expect: {stdout: ^data}}
  - {name: write, on: server, succeed: "echo changed > /dev/vdc"}
  - {name: client cpus, on: client, execute: nproc, expect: {stdout: ^2$}}
  - {name: memory, on: island, execute: "sed -n 's/MemTotal: *//p' /proc/meminfo"}
  - {name: no card, on: island, fail: "ls /sys/class/net | grep -v lo"}
  - {name: server calls, on: server, execute: "nc -w 5 10.0.2.2 ${host_port} </dev/null", expect: {stdout: ^hello from the host}}
  - {name: client calls, on: client, fail: "nc -w 5 10.0.2.2 ${host_port} </dev/null"}
  - {name: served, on: server, succeed: "echo hello from server | nc -l -p 80"}
  - {name: served too, on: client, succeed: "echo hello from client | nc -l -p 80"}
"""
NOTICE = re.compile(r"port 80 of (\w+) is 127\.0\.0\.1:(\d+) on this host")


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A server on this host that greets whoever calls; its port, and who called."""
    called: list[str] = []

    def serve() -> None:
        while True:
            try:
                caller, address = server.accept()
            except OSError:
                return
            with caller:
                called.append(str(address))
                caller.sendall(b"hello from the host\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], called
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def call(port: int) -> str:
    """What a guest says on a forwarded port; before it listens, QEMU takes the call and drops it."""
    for _ in range(500):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            try:
                if answer := connection.recv(100):
                    return answer.decode()
            except ConnectionResetError:
                pass
        threading.Event().wait(0.05)
    return ""


@pytest.fixture(scope="module")
def three(module_program: Program) -> tuple[Ended, dict[str, str], list[str]]:
    """The run, what each machine said to this host, and who called it."""
    partitioned(module_program.cwd / "extra.raw")
    with listening() as (port, called):
        script = module_program.script(SCRIPT)
        with module_program.start("run", script, "--var", f"host_port={port}") as running:
            notices = [NOTICE.search(running.wait_for("127.0.0.1:")) for _ in range(2)]
            ports = dict(notice.groups() for notice in notices if notice)
            running.wait_for("client calls")
            said = {name: call(int(ports[name])) for name in ("server", "client")}
            ended = running.end()
    return ended, said, called


def outputs(ended: Ended) -> dict[str, str]:
    return {step["name"]: step["command"]["stdout"] for step in ended.result["steps"] if step["command"]}


def test_all_steps_pass_on_their_machines(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    assert three[0].status == 0, three[0].text


def test_this_host_reaches_forwarded_ports(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    assert three[1] == {"server": "hello from server\n", "client": "hello from client\n"}


def test_the_result_has_the_forwarded_ports(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    forwards = {machine["name"]: machine["forwards"] for machine in three[0].result["machines"]}
    told = {name: {"80": int(port)} for name, port in NOTICE.findall(three[0].text)}
    assert forwards == {**told, "island": {}}


def test_a_restricted_network_does_not_reach_this_host(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    assert len(three[2]) == 1  # the server, which may


def test_disks_have_their_sizes_and_images_stay_as_they_are(
    three: tuple[Ended, dict[str, str], list[str]], module_program: Program
) -> None:
    sectors = [int(line) for line in outputs(three[0])["disks"].split()]
    extra = module_program.cwd / "extra.raw"
    assert sectors == [1 << 21, 100 << 11, extra.stat().st_size // 512]
    assert b"changed" not in extra.read_bytes()


def test_memory_is_what_was_asked_for(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    assert 300 * 1024 < int(outputs(three[0])["memory"].split()[0]) <= 384 * 1024


def test_each_machine_has_its_own_logs(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    for machine in three[0].result["machines"]:
        assert machine["ready_s"] > 0
        assert machine["console"] == f"console-{machine['name']}.log"
        assert b"login" in (three[0].folder / machine["console"]).read_bytes()
        assert (three[0].folder / machine["qemu_log"]).stat().st_size > 0


def test_the_accelerator_is_told_once(three: tuple[Ended, dict[str, str], list[str]]) -> None:
    assert three[0].text.count(three[0].result["host"]["accel_reason"]) == 1
