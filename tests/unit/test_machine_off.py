"""A machine that was never switched on: what its verbs say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from qa.errors import MachineOff, UsageError
from qa.events import Bus, Event, Notice
from qa.images.image import Image
from qa.machine import Machine, MachineSetup
from qa.operations.catalogue import CATALOGUE
from qa.snapshots.store import Store


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    image = Image("builtin", tmp_path / "image.qcow2", "qcow2", 1 << 20, "x")
    setup = MachineSetup(
        name="vm",
        image=image,
        qemu=cast("Any", None),
        firmware=cast("Any", None),
        accel="tcg",
        accel_reason="asked for",
        factor=5.0,
        work=tmp_path,
        results=tmp_path,
        store=Store(tmp_path / "snapshots"),
        made_of={},
        memory=256 << 20,
        cpus=1,
        disks=(),
        console_log=tmp_path / "console.log",
        qemu_log=tmp_path / "qemu.log",
    )
    async with Machine.open(setup, Bus()) as machine:
        yield machine


async def test_a_console_log_that_could_not_be_written_is_told_at_the_end(machine: Machine) -> None:
    told: list[Event] = []
    machine.bus.subscribe(told.append)
    machine._console.error = OSError(28, "No space left on device")
    await machine.destroy()
    assert [event.message for event in told if isinstance(event, Notice)] == [
        "the console log of vm is not complete: No space left on device"
    ]


ARGUMENTS: dict[str, Any] = {
    "execute": "true", "succeed": "true", "fail": "true", "wait_until_succeeds": "true", "wait_until_fails": "true",
    "wait_for_ready": None, "wait_for_unit": "nginx", "wait_for_open_port": 80, "wait_for_closed_port": 80, "wait_for_file": "/x",
    "wait_for_console_text": "x", "wait_for_shutdown": None, "screenshot": None, "send_key": "a", "send_chars": "a",
    "click": {"at": [1, 2]}, "drag": {"from": [1, 2], "to": [3, 4]}, "scroll": "down", "move_mouse": [1, 2], "send_console": "a",
    "assert_screen": "x", "wait_for_screen": "x", "wait_for_still_screen": None, "wait_for_text": "x", "read_screen_text": None,
    "copy_to": {"source": "/etc/hostname", "target": "/x"}, "copy_from": {"source": "/x", "target": "x"},
    "reboot": None, "pause": None, "resume": None,
}  # fmt: skip
HARMLESS = {"crash", "shutdown", "read_console"}


def test_every_verb_that_needs_the_machine_is_tried_here() -> None:
    assert set(ARGUMENTS) | HARMLESS == set(CATALOGUE) - {"boot", "snapshot", "restore"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("verb", ARGUMENTS)
async def test_a_verb_that_needs_the_machine_says_that_it_is_off(machine: Machine, verb: str) -> None:
    with pytest.raises(MachineOff, match="vm is off: never booted") as caught:
        await CATALOGUE[verb](machine, CATALOGUE[verb].parse(ARGUMENTS[verb]))
    assert caught.value.hint == "boot it first"


@pytest.mark.parametrize("verb", sorted(HARMLESS))
async def test_verbs_that_find_nothing_to_do_do_nothing(machine: Machine, verb: str) -> None:
    assert not await CATALOGUE[verb](machine, CATALOGUE[verb].parse(None))
    assert machine.ended == "never booted"


async def test_a_wrong_key_is_told_before_the_machine_is_asked(machine: Machine) -> None:
    with pytest.raises(UsageError, match="there is no key"):
        await machine.send_key("ctrl-altt")


async def test_its_files_are_named_before_it_boots(machine: Machine, tmp_path: Path) -> None:
    assert (machine.console_log, machine.qemu_log) == (tmp_path / "console.log", tmp_path / "qemu.log")
    assert machine.console_tail() == ""
    assert machine.forwards == {}
