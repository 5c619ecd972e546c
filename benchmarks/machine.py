"""Commands, pictures, steps and readiness on a running machine."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from benchmarks.measure import Row, take_turns
from qa.config import load_config
from qa.events import Bus
from qa.fleet import Owner
from qa.guest.port import Port
from qa.machine import Machine
from qa.operations import CATALOGUE
from qa.operations.boot import Host, Place
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.report.folder import ResultsFolder
from qa.scenario.machines import OpenMachine
from qa.scenario.reader import read_script
from qa.scenario.runner import run_script

SPARE = 13
"""A virtio serial port that no slot uses unless seven commands run at once: the bare shell is put there."""


@asynccontextmanager
async def machine(image: str, **options: object) -> AsyncGenerator[Machine]:
    """A machine that is ready."""
    paths = Paths.from_environment()
    with tempfile.TemporaryDirectory() as folder, Owner.register(paths) as owner:
        out = Path(folder)
        host = Host(paths, load_config(paths), owner)
        place = Place(out, out / "console.log", out / "qemu.log", out)
        wanted = MachineOptions.model_validate(options)
        blueprint = await host.blueprint(Path(image).stem, image, wanted, {}, place=place, bus=Bus())
        async with host.open_machine(blueprint, place=place, bus=Bus(), start="cold") as running:
            yield running


class BareShell:
    """A shell on a port, asked without any frame: the least that a command can cost on this machine."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._heard = asyncio.Event()
        port.listener = lambda _: self._heard.set()

    @classmethod
    async def start(cls, running: Machine) -> BareShell:
        assert running._power is not None
        bare = cls(running._power.shell._ports[SPARE])
        shell = "$([ -x /bin/bash ] && echo 'bash --norc --noprofile' || echo sh)"
        await running.succeed(f'p=$(echo /dev/vport*p{SPARE}); setsid sh -c "exec <>$p >&0 2>&0; exec {shell}" >/dev/null 2>&1 &')
        await bare("true")
        return bare

    async def __call__(self, command: str) -> None:
        self._heard.clear()
        self._port.write(f"{command}; echo .\n".encode())
        await self._heard.wait()


async def commands(running: Machine, group: str, rounds: int) -> list[Row]:
    """A command over the shell against the bare round trip on the same kind of port, and against kept SSH."""
    bare = await BareShell.start(running)
    program = {
        "bare round trip": lambda: bare("/bin/true"),
        "over the shell channel": lambda: running.execute("/bin/true"),
    }
    builtin = {"bare round trip": lambda: bare(":"), "over the shell channel": lambda: running.execute(":")}
    ssh = await _ssh(running)
    if ssh:
        program["over kept SSH"] = lambda: ssh.run("/bin/true", limit=60)
    rows = await take_turns(f"{group}: a program (/bin/true)", program, rounds)
    rows += await take_turns(f"{group}: a shell's builtin (:)", builtin, rounds)
    if ssh:
        await ssh.close()
    return rows


async def _ssh(running: Machine):  # type: ignore[no-untyped-def]
    from qa.guest.ssh import SshChannel  # noqa: PLC0415

    power, access = running._power, running.setup.ssh
    if power is None or access is None:
        return None
    return await SshChannel.connect(access, power.forwards[22], vitals=power.vitals, factor=5, tell=lambda _: None)


async def pictures(running: Machine, rounds: int) -> list[Row]:
    """A frame into memory, and a saved picture, against QEMU's own PNG."""
    power = running._power
    assert power is not None
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/qemu.png"
        subjects = {
            "QEMU writes a PNG": lambda: power.monitor.execute("screendump", {"filename": file, "format": "png"}),
            "a frame in memory": running.grab,
            "screenshot: a frame, saved as PNG": running.screenshot,
        }
        return await take_turns("the screen", subjects, rounds)


async def steps(running: Machine, count: int) -> list[Row]:
    """What the runner itself adds to each step of a script."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "steps.yaml"
        script.write_text("image: builtin\nsteps:\n" + "  - execute: ':'\n" * count)
        parsed = read_script(script, CATALOGUE)
        started = time.perf_counter()
        for _ in range(count):
            await running.execute(":")
        direct = (time.perf_counter() - started) / count * 1000

        @asynccontextmanager
        async def already_open(*_: object) -> AsyncGenerator[Machine]:
            yield running

        results = ResultsFolder.create(folder, "steps")
        result = await run_script(parsed, open_machine=cast("OpenMachine", already_open), bus=Bus(), folder=results)
        if result.outcome != "passed":
            raise RuntimeError(result.reason)
        last = result.steps[-1]
        scripted = (last.started_s + last.duration_s - result.steps[0].started_s) / count * 1000
    return [
        Row("a step of a script", "the command alone", direct, "ms", 1.0),
        Row("a step of a script", "the same as a step", scripted, "ms", scripted / direct, f"runner: {scripted - direct:.2f} ms"),
    ]


async def readiness(running: Machine) -> list[Row]:
    """From systemd's own mark (its boot is finished) to the answer of our first command after "ready", on the guest's clock.

    The answer comes later than our noticing, so the figure is an upper bound.
    """
    result = await running.execute("cut -d' ' -f1 /proc/uptime; systemctl show -P FinishTimestampMonotonic")
    uptime, finished = result.stdout_text.split()
    late = float(uptime) - int(finished) / 1e6
    return [Row("readiness (Debian)", "systemd's mark to our first command", late * 1000, "ms", None, "upper bound")]
