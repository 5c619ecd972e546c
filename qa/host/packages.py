"""What a missing thing is called by this host's package manager, and the command that installs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Manager = Literal["apt", "dnf", "pacman", "zypper"]

OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))

_COMMANDS: Mapping[Manager, str] = MappingProxyType(
    {"apt": "apt-get install", "dnf": "dnf install", "pacman": "pacman -S", "zypper": "zypper install"}
)
_PROGRAMS: Mapping[Manager, str] = MappingProxyType({"apt": "apt-get", "dnf": "dnf", "pacman": "pacman", "zypper": "zypper"})
_FAMILIES: Mapping[str, Manager] = MappingProxyType(
    {
        "debian": "apt",
        "ubuntu": "apt",
        "fedora": "dnf",
        "rhel": "dnf",
        "centos": "dnf",
        "arch": "pacman",
        "suse": "zypper",
        "opensuse": "zypper",
    }
)

# Thing: packages for apt, dnf, pacman, zypper; empty where the distribution has none.
PACKAGES: Mapping[str, tuple[str, str, str, str]] = MappingProxyType(
    {
        "qemu": ("qemu-system-x86", "qemu-kvm", "qemu-system-x86", "qemu-x86"),
        "qemu-img": ("qemu-utils", "qemu-img", "qemu-img", "qemu-tools"),
        "ovmf": ("ovmf", "edk2-ovmf", "edk2-ovmf", "qemu-ovmf-x86_64"),
        "tesseract": ("tesseract-ocr", "tesseract", "tesseract tesseract-data-eng", "tesseract-ocr"),
        "ssh": ("openssh-client", "openssh-clients", "openssh", "openssh-clients"),
        "ffmpeg": ("ffmpeg", "ffmpeg-free", "ffmpeg", "ffmpeg"),
        "apt-get": ("apt", "apt", "", ""),
        "dpkg": ("dpkg", "dpkg", "dpkg", "dpkg"),
        "cpio": ("cpio", "cpio", "cpio", "cpio"),
        "grub-mkimage": (
            "grub-common grub-efi-amd64-bin",
            "grub2-tools grub2-efi-x64-modules",
            "grub",
            "grub2 grub2-x86_64-efi",
        ),
        "mtools": ("mtools", "mtools", "mtools", "mtools"),
        "mkfs.fat": ("dosfstools", "dosfstools", "dosfstools", "dosfstools"),
        "xz": ("xz-utils", "xz", "xz", "xz"),
        "mmdebstrap": ("mmdebstrap", "mmdebstrap", "", ""),
        "sgdisk": ("gdisk", "gdisk", "gptfdisk", "gptfdisk"),
        "mke2fs": ("e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"),
    }
)
_COLUMNS: tuple[Manager, ...] = ("apt", "dnf", "pacman", "zypper")

_BACKPORTS = "bookworm-backports"
# Takes the archive from the sources that apt has, so that it suits any mirror.
_ADD_BACKPORTS = (
    "{sudo}apt-get update && echo \"deb $(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages'"
    ' | head -n 1) bookworm-backports main" | {sudo}tee /etc/apt/sources.list.d/backports.list && {sudo}apt-get update && '
)


@dataclass(frozen=True)
class Distribution:
    """This host's distribution, as far as installing packages goes.

    Attributes:
        os_release: the fields of os-release; empty where there is no such file.
        which: finds a program in PATH.
        root: whether this process may install packages by itself.
        apt_sources: the folder that holds apt's ``sources.list``.
    """

    os_release: Mapping[str, str]
    which: Callable[[str], str | None] = shutil.which
    root: bool = False
    apt_sources: Path = Path("/etc/apt")

    @classmethod
    def here(cls) -> Distribution:
        """That of the running host."""
        return cls(os_release=read_os_release(), root=os.geteuid() == 0)

    @cached_property
    def manager(self) -> Manager | None:
        """The package manager: the distribution's own if it is in PATH, else the first that is, else the distribution's own."""
        family = [self.os_release.get("ID", ""), *self.os_release.get("ID_LIKE", "").split()]
        own = [_FAMILIES[name.split("-")[0]] for name in family if name.split("-")[0] in _FAMILIES]
        installed = (manager for manager in (*own, *_COLUMNS) if self.which(_PROGRAMS[manager]))
        return next(installed, own[0] if own else None)

    @property
    def needs_backports(self) -> bool:
        """Whether QEMU should come from backports: that of Debian 12 (7.2) miscompiles recent kernels under TCG."""
        return self.manager == "apt" and self.os_release.get("VERSION_CODENAME") == "bookworm"

    @property
    def has_backports(self) -> bool:
        """Whether apt has a source for Debian 12's backports."""
        files = [self.apt_sources / "sources.list", *(self.apt_sources / "sources.list.d").glob("*")]
        return any(_mentions_backports(file) for file in files)


def _mentions_backports(file: Path) -> bool:
    if file.suffix not in {".list", ".sources"}:
        return False
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(_BACKPORTS in line for line in lines if not line.lstrip().startswith("#"))


def read_os_release(files: tuple[Path, ...] = OS_RELEASE) -> dict[str, str]:
    """The fields of the first of ``files`` that can be read, without quotes."""
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
        return {name.strip(): _unquoted(value.strip()) for name, value in pairs}
    return {}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def install_hint(thing: str, distribution: Distribution | None = None) -> str:
    """How to get ``thing`` on this host, for example ``install it with: apt-get install ovmf``.

    ``thing`` is a key of `PACKAGES`; anything else is taken for a package that every distribution calls the same.
    On Debian 12 QEMU comes from backports, and the hint says how to add them where apt does not have them yet.
    """
    host = distribution or Distribution.here()
    names = PACKAGES.get(thing, (thing,) * len(_COLUMNS))
    sudo = "" if host.root else "sudo "
    if host.manager is None:
        return f"install {thing} with your distribution's package manager (Debian calls the package {names[0].split()[0]})"
    package = names[_COLUMNS.index(host.manager)]
    if not package:
        return f"{host.manager} has no package for {thing}: it must be installed by hand"
    if thing in {"qemu", "qemu-img"} and host.needs_backports:
        add = "" if host.has_backports else _ADD_BACKPORTS.replace("{sudo}", sudo)
        return (
            "install it from backports (under software emulation Debian 12's own QEMU 7.2 crashes recent kernels): "
            f"{add}{sudo}apt-get install -t {_BACKPORTS} qemu-system-x86 qemu-utils"
        )
    return f"install it with: {sudo}{_COMMANDS[host.manager]} {package}"
