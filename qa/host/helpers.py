"""Programs that some features need: which they are, what each is for, and whether it is here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qa.host.packages import install_hint

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where file system tools live on hosts whose users do not have these folders in PATH."""


@dataclass(frozen=True)
class Helper:
    """A program, under the name that `qa.host.packages.PACKAGES` knows its package by.

    Attributes:
        name: what it is called in messages.
        programs: names it may have; the first that is found is used.
        purpose: what does not work without it.
        build: whether it is needed to build guest images.
    """

    name: str
    programs: tuple[str, ...]
    purpose: str
    build: bool = False


HELPERS: tuple[Helper, ...] = (
    Helper("tesseract", ("tesseract",), "reading text off the screen"),
    Helper("ssh", ("ssh",), "looking into a machine with your own SSH client"),
    Helper("ffmpeg", ("ffmpeg",), "videos of a run"),
    Helper("apt-get", ("apt-get",), "building the guests: it fetches Debian's packages", build=True),
    Helper("dpkg", ("dpkg-deb",), "building the guests: it unpacks them", build=True),
    Helper("cpio", ("cpio",), "building the built-in guest: its initramfs", build=True),
    Helper("xz", ("xz",), "building the built-in guest: it unpacks kernel modules (.xz)", build=True),
    Helper("grub-mkimage", ("grub-mkimage",), "building the guests: their boot loader", build=True),
    Helper("mkfs.fat", ("mkfs.fat",), "building the guests: the EFI system partition", build=True),
    Helper("mtools", ("mcopy",), "building the guests: files on the EFI system partition", build=True),
    Helper("mmdebstrap", ("mmdebstrap",), "building the Debian guest", build=True),
    Helper("sgdisk", ("sgdisk",), "building the Debian guest: its partitions", build=True),
    Helper("mke2fs", ("mke2fs",), "building the Debian guest: its root file system", build=True),
)


@dataclass(frozen=True)
class Found:
    """A helper on this host; ``path`` is None where it is missing, and ``hint`` then says how to get it."""

    helper: Helper
    path: Path | None
    hint: str | None


def find_program(*names: str, which: Callable[..., str | None] = shutil.which) -> Path | None:
    """The first of ``names`` that is in PATH or in the system's own folders."""
    for name in names:
        if found := which(name) or which(name, path=":".join(SBIN)):
            return Path(found)
    return None


def find_helpers(which: Callable[..., str | None] = shutil.which, hint: Callable[[str], str] = install_hint) -> list[Found]:
    """All of `HELPERS`, with where they are."""
    found = ((helper, find_program(*helper.programs, which=which)) for helper in HELPERS)
    return [Found(helper, path, None if path else hint(helper.name)) for helper, path in found]
