"""The command that installs a missing thing, for each package manager."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa.host.packages import PACKAGES, Distribution, install_hint, read_os_release


def distribution(tmp_path: Path, programs: str, *, root: bool = True, **os_release: str) -> Distribution:
    """A distribution on which only ``programs`` are in PATH."""
    have = programs.split()
    return Distribution(os_release, lambda name: f"/usr/bin/{name}" if name in have else None, root, tmp_path / "apt")


@pytest.mark.parametrize(
    ("os_release", "programs", "command"),
    [
        ({"ID": "debian", "VERSION_CODENAME": "trixie"}, "apt-get", "apt-get install qemu-system-x86"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt-get", "apt-get install qemu-system-x86"),
        ({"ID": "fedora"}, "dnf", "dnf install qemu-kvm"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf", "dnf install qemu-kvm"),
        ({"ID": "arch"}, "pacman", "pacman -S qemu-system-x86"),
        ({"ID": "opensuse-tumbleweed", "ID_LIKE": "opensuse suse"}, "zypper", "zypper install qemu-x86"),
    ],
)
def test_the_command_is_that_of_the_distribution(tmp_path: Path, os_release: dict[str, str], programs: str, command: str) -> None:
    assert install_hint("qemu", distribution(tmp_path, programs, **os_release)) == f"install it with: {command}"


def test_the_distributions_own_manager_wins_over_another_that_is_installed(tmp_path: Path) -> None:
    fedora = distribution(tmp_path, "apt-get dnf", ID="fedora")
    assert install_hint("ovmf", fedora) == "install it with: dnf install edk2-ovmf"


def test_an_unknown_distribution_is_known_by_what_is_in_path(tmp_path: Path) -> None:
    assert install_hint("ovmf", distribution(tmp_path, "pacman", ID="own")) == "install it with: pacman -S edk2-ovmf"


def test_a_known_distribution_is_believed_even_when_path_is_empty(tmp_path: Path) -> None:
    assert install_hint("ovmf", distribution(tmp_path, "", ID="fedora")) == "install it with: dnf install edk2-ovmf"


def test_without_any_known_manager_the_hint_still_names_the_package(tmp_path: Path) -> None:
    assert install_hint("qemu-img", distribution(tmp_path, "", ID="own")) == (
        "install qemu-img with your distribution's package manager (Debian calls the package qemu-utils)"
    )


def test_who_is_not_root_needs_sudo(tmp_path: Path) -> None:
    user = distribution(tmp_path, "dnf", root=False, ID="fedora")
    assert install_hint("ffmpeg", user) == "install it with: sudo dnf install ffmpeg-free"


def test_what_a_distribution_lacks_is_said(tmp_path: Path) -> None:
    arch = distribution(tmp_path, "pacman", ID="arch")
    assert install_hint("mmdebstrap", arch) == "pacman has no package for mmdebstrap: it must be installed by hand"


def test_a_thing_that_is_not_in_the_table_is_taken_for_a_package(tmp_path: Path) -> None:
    assert install_hint("strace", distribution(tmp_path, "dnf", ID="fedora")) == "install it with: dnf install strace"


BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}


@pytest.mark.parametrize("thing", ["qemu", "qemu-img"])
def test_debian_12_gets_qemu_from_backports_and_how_to_add_them(tmp_path: Path, thing: str) -> None:
    hint = install_hint(thing, distribution(tmp_path, "apt-get", root=False, **BOOKWORM))
    assert hint.startswith("install it from backports")
    assert "bookworm-backports main" in hint
    assert hint.endswith("sudo apt-get install -t bookworm-backports qemu-system-x86 qemu-utils")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("sources.list", "deb http://mirror bookworm-backports main\n"),
        ("sources.list.d/x.sources", "Types: deb\nSuites: bookworm bookworm-backports\n"),
    ],
)
def test_backports_that_apt_has_already_are_not_added_again(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "apt" / file).write_text(content)
    hint = install_hint("qemu", distribution(tmp_path, "apt-get", **BOOKWORM))
    assert "sources.list" not in hint
    assert hint.endswith(": apt-get install -t bookworm-backports qemu-system-x86 qemu-utils")


@pytest.mark.parametrize("file", ["sources.list.d/x.list", "sources.list.d/x.list.disabled"])
def test_backports_that_are_switched_off_are_added(tmp_path: Path, file: str) -> None:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    off = "# " if file.endswith(".list") else ""
    (tmp_path / "apt" / file).write_text(f"{off}deb http://mirror bookworm-backports main\n")
    assert "sources.list.d/backports.list" in install_hint("qemu", distribution(tmp_path, "apt-get", **BOOKWORM))


def test_other_things_of_debian_12_come_from_debian_12(tmp_path: Path) -> None:
    assert install_hint("ovmf", distribution(tmp_path, "apt-get", **BOOKWORM)) == "install it with: apt-get install ovmf"


def test_every_thing_has_a_package_on_debian() -> None:
    assert [thing for thing, names in PACKAGES.items() if not names[0]] == []


def test_os_release_is_read_without_quotes_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text("# a comment=1\nID=debian\nNAME=\"Debian 'x'\"\nVERSION_CODENAME='bookworm'\n\nnonsense\n")
    assert read_os_release((tmp_path / "none", file)) == {
        "ID": "debian",
        "NAME": "Debian 'x'",
        "VERSION_CODENAME": "bookworm",
    }


def test_no_os_release(tmp_path: Path) -> None:
    assert read_os_release((tmp_path / "none",)) == {}
