"""A machine on paper: a blueprint out of files that are there, and a host to start it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from qa.config import Config
from qa.doctor.judge import Choice
from qa.host.firmware import Firmware
from qa.host.qemu import Qemu
from qa.images.image import Image
from qa.operations.blueprint import Blueprint
from qa.operations.boot import Place
from qa.operations.options import MachineOptions
from qa.snapshots.store import Store


def file(path: Path, content: bytes = b"") -> Path:
    """A file, which is left alone where it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
    return path


def blueprint(folder: Path, **changed: Any) -> Blueprint:
    """A blueprint whose QEMU, firmware and image are small files in ``folder``; ``changed`` replaces fields of it."""
    image = Image("debian", file(folder / "debian.qcow2"), "qcow2", 1 << 20, "identity of debian", memory=512 << 20)
    plain = Blueprint(
        name="vm",
        image=image,
        others=(),
        options=MachineOptions(),
        cloud_init={},
        qemu=Qemu(file(folder / "qemu-system-x86_64"), (10, 0, 2), "Debian 1:10.0.2", frozenset({"file-migration"})),
        firmware=Firmware(
            file(folder / "code.fd"), file(folder / "vars.fd", b"of the firmware"), "raw", "raw", file(folder / "descriptor.json")
        ),
        choice=Choice("tcg", "asked for"),
    )
    return replace(plain, **changed)


def host(folder: Path) -> Any:
    return SimpleNamespace(store=Store(folder / "store", 1 << 40), config=Config())


def place(folder: Path) -> Place:
    return Place(folder, folder / "console.log", folder / "qemu.log", folder)
