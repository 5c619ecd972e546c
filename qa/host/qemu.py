"""The QEMU of this host: where it is, its version, and what it really offers.

QEMU is asked once over QMP and the answer is remembered for as long as the file stays the same (path, size, modification
time): asking takes 0.1 s, remembering a millisecond.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from qa.errors import HostError, ToolMissing
from qa.host.files import write_atomically
from qa.host.packages import install_hint
from qa.host.probe import ask
from qa.paths import Paths
from qa.places import is_folder, is_there

OLDEST = (7, 2, 0)
"""The oldest QEMU that is supported: that of Debian 12."""

TCG_TRUSTED = (8, 0, 0)
"""From here on software emulation is trusted: 7.2 miscompiles recent kernels, which then panic at random."""

NAMES = ("qemu-system-x86_64", "/usr/libexec/qemu-kvm")
"""Where QEMU is looked for: PATH first, then where Red Hat's family keeps it."""

CACHE_FORMAT = 1
"""Raise when the features that are looked for change, so that what older versions remembered is asked again."""


@dataclass(frozen=True)
class Qemu:
    """A QEMU program.

    Attributes:
        path: the file, absolute.
        version: major, minor, micro.
        package: what the distribution calls its build; empty for a build by hand.
        features: what it offers. Devices by their names (`qa.host.probe.DEVICES`); ``accel:kvm`` and ``accel:tcg``; migration
            capabilities as ``mapped-ram``, ``x-ignore-shared``, ``multifd``; ``file-migration``; ``sandbox``;
            ``exit-with-parent``.
    """

    path: Path
    version: tuple[int, int, int]
    package: str
    features: frozenset[str]

    @property
    def version_text(self) -> str:
        """The version as people write it: ``10.0.2``."""
        return ".".join(map(str, self.version))

    @property
    def tcg_trusted(self) -> bool:
        """Whether software emulation in this version is free of the faults known in QEMU 7.2."""
        return self.version >= TCG_TRUSTED


def find_qemu(explicit: Path | None = None, *, paths: Paths | None = None) -> Qemu:
    """The QEMU to use: ``explicit``, else the first of `NAMES`.

    ``explicit`` is the setting ``qemu``: a path, or a bare name that is looked up in PATH.

    Raises:
        ToolMissing: there is none; the hint has the command that installs it.
        HostError: it cannot be started, crashes, hangs, does not speak QMP, or is older than `OLDEST`.
    """
    path = _locate(explicit)
    qemu = _ask_once(path, (paths or Paths.from_environment()).cache / "qemu.json")
    if qemu.version < OLDEST:
        oldest = ".".join(map(str, OLDEST[:2]))
        raise HostError(f"{path} is QEMU {qemu.version_text}, and {oldest} is the oldest that works", hint=install_hint("qemu"))
    return qemu


def find_qemu_img() -> Path:
    """The program ``qemu-img``.

    Raises:
        ToolMissing: it is not in PATH.
    """
    if found := shutil.which("qemu-img"):
        return Path(found).absolute()
    raise ToolMissing("qemu-img is not installed", hint=install_hint("qemu-img"))


def _locate(explicit: Path | None) -> Path:
    if explicit is None:
        if found := next(filter(None, map(shutil.which, NAMES)), None):
            return Path(found).absolute()
        raise ToolMissing("QEMU is not installed (looked for " + " and ".join(NAMES) + ")", hint=install_hint("qemu"))
    path = explicit
    if len(path.parts) == 1 and not is_there(path) and (found := shutil.which(str(path))):
        path = Path(found)
    path = path.absolute()
    named = "the setting qemu (--qemu, ANIMA_QA_QEMU or config.toml) names it"
    if is_folder(path):
        raise HostError(f"{path} is a folder, not a QEMU program", hint=named)
    if not is_there(path):
        raise ToolMissing(f"there is no QEMU at {path}", hint=f"{named}; or {install_hint('qemu')}")
    if not os.access(path, os.X_OK):
        raise HostError(f"{path} is not executable", hint=named)
    return path


class _Remembered(BaseModel):
    """A QEMU as it stands in the cache file, under its path."""

    model_config = ConfigDict(extra="forbid")

    size: int
    mtime_ns: int
    version: tuple[int, int, int]
    package: str
    features: list[str]


class _CacheFile(BaseModel):
    format: int
    qemus: dict[str, _Remembered]


def _ask_once(path: Path, cache: Path) -> Qemu:
    status = path.stat()
    try:
        remembered = _CacheFile.model_validate_json(cache.read_bytes())
    except (OSError, ValidationError):  # absent, torn, or not ours: asked again and written anew
        remembered = _CacheFile(format=CACHE_FORMAT, qemus={})
    if remembered.format != CACHE_FORMAT:
        remembered = _CacheFile(format=CACHE_FORMAT, qemus={})
    known = remembered.qemus.get(str(path))
    if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return Qemu(path, known.version, known.package, frozenset(known.features))
    answer = ask(path)
    qemu = Qemu(path, answer.version, answer.package, answer.features)
    remembered.qemus[str(path)] = _Remembered(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        version=qemu.version,
        package=qemu.package,
        features=sorted(qemu.features),
    )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs 0.1 s next time, nothing else
        write_atomically(cache, remembered.model_dump_json(indent=1))
    return qemu
