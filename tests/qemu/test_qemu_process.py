"""A real QEMU without a guest: it starts, answers, pauses, draws, forwards ports, and never outlives its owner."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import qemus

from qa.errors import QemuExited, QemuFailed, ToolMissing
from qa.host.firmware import find_firmware
from qa.host.qemu import find_qemu
from qa.qemu.argv import MONITOR, SERIAL, build_argv, channel_names
from qa.qemu.forwards import forward_port
from qa.qemu.monitor import Monitor
from qa.qemu.process import QemuProcess, start_qemu
from qa.qemu.spec import Disk, Flash, MachineSpec
from qa.screen.frames import Camera
from qa.screen.keyboard import Keyboard


@pytest.fixture(autouse=True)
def no_qemu_is_left() -> Iterator[None]:
    yield
    assert qemus() == []


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    """A machine with firmware and nothing to boot."""
    firmware = find_firmware()
    variables = tmp_path / "vars.fd"
    variables.write_bytes(firmware.vars.read_bytes())
    flash = Flash(firmware.code, firmware.code_format, variables, firmware.vars_format)
    return MachineSpec("vm", "tcg", 128 << 20, 1, flash, ())


class Running:
    def __init__(self, process: QemuProcess, monitor: Monitor, told: list[tuple[str, dict[str, Any]]]) -> None:
        self.process = process
        self.monitor = monitor
        self.told = told


@asynccontextmanager
async def running(spec: MachineSpec, folder: Path) -> AsyncGenerator[Running]:
    told: list[tuple[str, dict[str, Any]]] = []
    binary = find_qemu().path
    process = start_qemu(channel_names(spec), lambda fds: build_argv(binary, spec, fds), folder / "qemu.log")
    monitor = Monitor(spec.name, lambda name, data: told.append((name, data)))
    try:
        await monitor.connect(process.sockets[MONITOR])
        yield Running(process, monitor, told)
    finally:
        await process.stop()
        await monitor.disconnect()


def opened_by(qemu: Running) -> list[Path]:
    return [link.readlink() for link in Path(f"/proc/{qemu.process.pid}/fd").iterdir() if link.is_symlink()]


@pytest.fixture
async def qemu(spec: MachineSpec, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(spec, tmp_path) as qemu:
        yield qemu


async def test_it_starts_stopped_and_is_stopped_for_good(qemu: Running, tmp_path: Path) -> None:
    assert (await qemu.monitor.execute("query-status"))["status"] == "prelaunch"
    assert qemus() == [qemu.process.pid]
    assert await qemu.process.stop() == -signal.SIGKILL
    assert await qemu.process.stop() == -signal.SIGKILL
    assert qemus() == []
    assert (tmp_path / "qemu.log").read_text().startswith(f"{find_qemu().path} -name vm ")


async def test_a_bad_option_is_told_with_qemus_words_and_status(spec: MachineSpec, tmp_path: Path) -> None:
    binary = find_qemu().path
    log = tmp_path / "qemu.log"
    process = start_qemu(channel_names(spec), lambda fds: [*build_argv(binary, spec, fds), "-device", "no-such-device"], log)
    monitor = Monitor("vm", lambda _name, _data: None)
    with pytest.raises(QemuExited, match="ended while it started"):
        await monitor.connect(process.sockets[MONITOR])
    assert await asyncio.wait_for(process.exited, 10) == 1
    assert "'no-such-device' is not a valid device" in process.log_tail()
    await process.stop()


async def test_a_qemu_that_is_killed_is_an_event_and_an_error(qemu: Running) -> None:
    os.kill(qemu.process.pid, signal.SIGKILL)
    assert await asyncio.wait_for(qemu.process.exited, 10) == -signal.SIGKILL
    with pytest.raises(QemuExited, match="is gone"):
        await qemu.monitor.execute("query-status")


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(ToolMissing, match="/nowhere/qemu cannot be started: No such file"):
        start_qemu(["a", "b"], lambda _: ["/nowhere/qemu"], tmp_path / "qemu.log")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_it_cannot_be_started_from_another_thread(spec: MachineSpec, tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            start_qemu([], lambda _: ["true"], tmp_path / "qemu.log")
        except QemuFailed as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


OWN = """
import asyncio, sys, signal
from pathlib import Path
from qa.host.qemu import find_qemu
from qa.qemu.process import start_qemu
async def main():
    qemu = find_qemu().path
    argv = [str(qemu), "-machine", "none", "-display", "none", "-nodefaults"]
    process = start_qemu(["monitor"], lambda fds: argv, Path(sys.argv[1]))
    print(process.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_owner(end: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWN, tmp_path / "log"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout
        qemu = os.pidfd_open(int(owner.stdout.readline()))
        try:
            owner.send_signal(end)
            owner.wait()
            ended, _, _ = select.select([qemu], [], [], 10)
            assert ended == [qemu]
        finally:
            os.close(qemu)


def test_ctrl_c_in_a_terminal_does_not_reach_it(tmp_path: Path) -> None:
    async def session() -> int:
        process = start_qemu([], lambda _: ["sleep", "60"], tmp_path / "log")
        try:
            return os.getsid(process.pid)
        finally:
            await process.stop()

    assert asyncio.run(session()) != os.getsid(0)


async def test_the_sandbox_is_on(qemu: Running) -> None:
    status = Path(f"/proc/{qemu.process.pid}/status").read_text()
    assert "Seccomp:\t2" in status


async def test_it_inherits_its_channels_and_nothing_else_of_ours(spec: MachineSpec, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        async with running(spec, tmp_path) as qemu:
            assert secret not in opened_by(qemu)
            assert tmp_path / "vars.fd" in opened_by(qemu)


async def test_pausing_and_resuming_are_events(qemu: Running) -> None:
    await qemu.monitor.execute("cont")
    await qemu.monitor.execute("stop")
    await qemu.monitor.execute("cont")
    assert [name for name, _ in qemu.told if name in {"STOP", "RESUME"}] == ["RESUME", "STOP", "RESUME"]


async def test_the_firmware_speaks_on_the_serial_line(qemu: Running) -> None:
    serial = qemu.process.sockets[SERIAL]
    await qemu.monitor.execute("cont")
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(serial, 100), 60)


async def test_a_picture_of_the_screen(qemu: Running) -> None:
    camera = Camera(qemu.monitor)
    frames = [await camera.grab() for _ in range(3)]
    camera.close()
    assert {(frame.width, frame.height) for frame in frames} == {(frames[0].width, frames[0].height)}
    assert frames[0].width >= 640
    assert len(await qemu.monitor.execute("query-fdsets")) == 1


async def test_without_a_screen_there_is_no_picture(tmp_path: Path) -> None:
    argv = [str(find_qemu().path), "-machine", "none", "-display", "none", "-nodefaults", "-S"]
    process = start_qemu(
        [MONITOR],
        lambda fds: [*argv, "-chardev", f"socket,id=m,fd={fds[MONITOR]}", "-mon", "chardev=m,mode=control"],
        tmp_path / "log",
    )
    monitor = Monitor("vm", lambda _name, _data: None)
    camera = Camera(monitor)
    await monitor.connect(process.sockets[MONITOR])
    with pytest.raises(QemuFailed):
        await camera.grab()
    camera.close()
    await process.stop()
    await monitor.disconnect()


async def test_qemu_knows_every_key(qemu: Running) -> None:
    from qa.screen import keyboard_keys
    from qa.screen.layouts import LAYOUTS, load_layout

    await qemu.monitor.execute("cont")
    hands = Keyboard(qemu.monitor)
    layouts = [load_layout(name) for name in LAYOUTS]
    in_layouts = {key for layout in layouts for stroke in [*layout.direct.values(), *layout.dead.values()] for key in stroke}
    assert len(in_layouts) > 40
    names = {*keyboard_keys._NAMED, *keyboard_keys._PLACES, *in_layouts}
    for name in sorted(names):
        await hands.press([name])
    with pytest.raises(QemuFailed, match="refused input-send-event"):
        await hands.press(["no-such-key"])


async def test_forwards_are_on_this_host_only_and_machines_do_not_collide(spec: MachineSpec, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = replace(spec, flash=replace(spec.flash, variables=other / "vars.fd"))
    (other / "vars.fd").write_bytes(spec.flash.variables.read_bytes())
    async with running(spec, tmp_path) as one, running(second, other) as two:
        ports = [await forward_port(one.monitor, 22), await forward_port(one.monitor, 80), await forward_port(two.monitor, 22)]
        assert len(set(ports)) == 3
        listening = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        addresses = {int(row[1].split(":")[1], 16): row[1].split(":")[0] for row in listening if row[3] == "0A"}
        assert {addresses[port] for port in ports} == {"0100007F"}
        with socket.create_connection(("127.0.0.1", ports[2]), 5):
            pass


async def test_a_raw_disk_that_looks_like_qcow2_stays_raw(spec: MachineSpec, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 65536)
    disk = tmp_path / "disk.raw"
    subprocess.run(  # noqa: ASYNC221 -- nothing else is going on
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", disk, "1M"], check=True
    )
    size = disk.stat().st_size
    async with running(replace(spec, disks=(Disk(disk, "raw"),)), tmp_path) as qemu:
        blocks = [block["inserted"] for block in await qemu.monitor.execute("query-block") if block.get("inserted")]
        (image,) = [block["image"] for block in blocks if block["node-name"] == "disk0"]
        assert (image["format"], "backing-filename" in image) == ("raw", False)
        assert 0 <= image["virtual-size"] - size < 512
        assert disk in opened_by(qemu)
        assert secret not in opened_by(qemu)


@pytest.mark.parametrize("network", ["user", "restricted", "none"])
async def test_each_network_starts(spec: MachineSpec, tmp_path: Path, network: Any) -> None:
    async with running(replace(spec, network=network), tmp_path) as qemu:
        assert (await qemu.monitor.execute("query-status"))["running"] is False


async def test_names_with_commas_and_blanks(spec: MachineSpec, tmp_path: Path) -> None:
    folder = tmp_path / "a, b,format=raw"
    folder.mkdir()
    disk = folder / "di,sk.raw"
    disk.write_bytes(b"\0" * 4096)
    odd = replace(spec, name="a,b=c", disks=(Disk(disk, "raw", serial="S-1"),), smbios_strings=("x=a,b",))
    async with running(odd, tmp_path) as qemu:
        assert (await qemu.monitor.execute("query-name"))["name"] == "a,b=c"


async def test_starts_leave_no_descriptors(spec: MachineSpec, tmp_path: Path) -> None:
    counts = []
    for _ in range(4):
        async with running(spec, tmp_path):
            pass
        await asyncio.sleep(0)
        counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[1] == counts[-1]
