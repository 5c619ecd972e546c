"""UEFI firmware: a pair of CODE and VARS, found by the descriptors that distributions install with it.

The descriptors are those of QEMU's firmware interoperability specification (``docs/interop/firmware.json``). Pairs are never
guessed from file names: a CODE of 4 MB does not start with a VARS of 2 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from qa.errors import FirmwareMissing
from qa.host.packages import install_hint
from qa.places import read_path

FOLDERS = (Path("/usr/share/qemu/firmware"), Path("/etc/qemu/firmware"))
"""The system's folders, weakest first; the user's own (``$XDG_CONFIG_HOME/qemu/firmware``) comes after them."""

LARGE_VARS = 0x80000
"""Builds with 4 MB of flash have a variable store of 528 KiB, those with 2 MB one of 128 KiB."""

REFUSED_FEATURES = frozenset({"requires-smm", "enrolled-keys"})
"""Machines have no SMM, and enrolled keys refuse boot loaders that are not signed."""

MACHINE_TYPE = "pc-q35-10.0"
"""Stands for the machine type when descriptors are matched: they name patterns such as ``pc-q35-*``."""


@dataclass(frozen=True)
class Firmware:
    """A pair of firmware and variable store for flash; both files belong to the system and are only read."""

    code: Path
    vars: Path
    code_format: str
    vars_format: str
    descriptor: Path


class _File(BaseModel):
    filename: str
    format: Literal["raw", "qcow2"]


class _Mapping(BaseModel):
    device: str
    mode: str = "split"
    executable: _File | None = None
    nvram_template: _File | None = Field(None, alias="nvram-template")


class _Target(BaseModel):
    architecture: str
    machines: list[str]


class _Descriptor(BaseModel):
    interface_types: list[str] = Field(alias="interface-types")
    mapping: _Mapping
    targets: list[_Target]
    features: list[str] = []


class _Unsuitable(Exception):
    """A descriptor is not for us; the text says why."""


def descriptor_folders(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """The folders that are searched, weakest first. ``ANIMA_QA_FIRMWARE_DIR`` replaces them all."""
    if only := environment.get("ANIMA_QA_FIRMWARE_DIR"):
        return (read_path(only).absolute(),)
    configured = environment.get("XDG_CONFIG_HOME", "")
    try:
        user = Path(configured) if Path(configured).is_absolute() else Path.home() / ".config"
    except RuntimeError:  # a user without a home has no folder of his own
        return FOLDERS
    return (*FOLDERS, user / "qemu" / "firmware")


def find_firmware(arch: str = "x86_64", *, folders: Iterable[Path] | None = None) -> Firmware:
    """The UEFI firmware for a q35 machine of ``arch``: without Secure Boot, with a variable store, preferably the 4 MB build.

    A file in a stronger folder replaces one of the same name in a weaker folder; an empty one hides it. Among several that
    suit, the first by name wins. File names in a descriptor that are not absolute are taken from the descriptor's folder.

    Raises:
        FirmwareMissing: none suits; the evidence lists each descriptor with the reason.
    """
    searched = tuple(folders) if folders is not None else descriptor_folders()
    looked_at: list[str] = []
    suitable: list[Firmware] = []
    for descriptor in _descriptors(searched):
        try:
            suitable.append(_read(descriptor, arch))
        except _Unsuitable as reason:
            looked_at.append(f"{descriptor}: {reason}")
    if suitable:
        return min(suitable, key=lambda firmware: _flash_size(firmware.vars, firmware.vars_format) < LARGE_VARS)
    empty = [f"{folder}: no descriptors" for folder in searched if not any(line.startswith(f"{folder}/") for line in looked_at)]
    raise FirmwareMissing(
        f"no UEFI firmware for {arch} is installed",
        hint=install_hint("ovmf"),
        evidence={"looked at": "\n".join(looked_at + empty)},
    )


def _descriptors(folders: Iterable[Path]) -> list[Path]:
    """The descriptors in force, by name."""
    by_name: dict[str, Path] = {}
    for folder in folders:
        by_name.update((file.name, file) for file in folder.glob("*.json"))
    return [by_name[name] for name in sorted(by_name) if not _is_mask(by_name[name])]


def _is_mask(file: Path) -> bool:
    """Whether ``file`` hides another: it is empty, or a link to /dev/null."""
    try:
        return file.stat().st_size == 0
    except OSError:  # a dangling link: told as unreadable later
        return False


def _read(file: Path, arch: str) -> Firmware:
    try:
        descriptor = _Descriptor.model_validate_json(file.read_bytes())
    except OSError as error:
        raise _Unsuitable(f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "file"
        raise _Unsuitable(f"is not a firmware descriptor: {place}: {problem['msg']}") from error
    mapping = descriptor.mapping
    if "uefi" not in descriptor.interface_types:
        raise _Unsuitable("not UEFI")
    if not any(_matches(target, arch) for target in descriptor.targets):
        raise _Unsuitable(f"not for {arch} with q35")
    if refused := sorted(REFUSED_FEATURES & set(descriptor.features)):
        raise _Unsuitable(f"has the feature {' and '.join(refused)}")
    if mapping.device != "flash" or mapping.mode != "split" or not mapping.executable or not mapping.nvram_template:
        raise _Unsuitable("not a pair of flash files (CODE and VARS)")
    code, variables = (file.parent / part.filename for part in (mapping.executable, mapping.nvram_template))
    for part in (code, variables):
        if not part.is_file():
            raise _Unsuitable(f"{part} does not exist")
        if not os.access(part, os.R_OK):
            raise _Unsuitable(f"{part} may not be read")
    return Firmware(code, variables, mapping.executable.format, mapping.nvram_template.format, file)


def _matches(target: _Target, arch: str) -> bool:
    return target.architecture == arch and any(
        fnmatchcase(MACHINE_TYPE, pattern) or pattern == "q35" or pattern.startswith("pc-q35-") for pattern in target.machines
    )


def _flash_size(file: Path, file_format: str) -> int:
    """The size the guest sees: of a qcow2 file it stands in the header, bytes 24 to 31."""
    if file_format == "raw":
        return file.stat().st_size
    with file.open("rb") as stream:
        header = stream.read(32)
    return int.from_bytes(header[24:32], "big")
