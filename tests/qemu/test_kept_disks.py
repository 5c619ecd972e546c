"""Disks that are kept after a run build on their images alone, however often their machine was frozen."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from qa.images.image import Image
from qa.images.overlay import create_next_layer, create_overlay
from qa.operations.blueprint import Blueprint, keep_disks
from qa.qemu.spec import Disk


def io(disk: Path, command: str) -> None:
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, disk], check=True, stdout=subprocess.PIPE)


def describe(disk: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", disk]))
    return described


async def test_layers_in_between_are_written_into_the_disk(tmp_path: Path) -> None:
    base, store, work = tmp_path / "base.raw", tmp_path / "store", tmp_path / "work"
    base.write_bytes(b"b" * (1 << 20))
    store.mkdir()
    work.mkdir()
    image = Image("base", base, "raw", 1 << 20, "x")
    await create_overlay(image, work / "disk0.qcow2")
    io(work / "disk0.qcow2", "write -P 1 0 64k")
    (work / "disk0.qcow2").rename(store / "layer.qcow2")
    (work / "disk0.qcow2").write_bytes(b"the layer has another name here")
    await create_next_layer(work / "disk0.abc.qcow2", below=store / "layer.qcow2", size=1 << 20)
    io(work / "disk0.abc.qcow2", "write -P 2 64k 64k")
    seed = Disk(work / "seed.iso", "raw", read_only=True)
    now = (Disk(work / "disk0.abc.qcow2", "qcow2"), seed)
    plain = (Disk(work / "disk0.qcow2", "qcow2"), seed)
    blueprint = cast("Blueprint", SimpleNamespace(image=image, others=(), disks=lambda _: plain))
    await keep_disks(now, blueprint)
    (store / "layer.qcow2").unlink()
    assert [one.name for one in work.iterdir()] == ["disk0.qcow2"]
    info = describe(work / "disk0.qcow2")
    assert (info["backing-filename"], info["backing-filename-format"]) == (str(base), "raw")
    for pattern, start in ((1, 0), (2, 65536), (ord("b"), 131072)):
        io(work / "disk0.qcow2", f"read -P {pattern} {start} 64k")
