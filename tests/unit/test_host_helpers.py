"""Optional programs and image tools: where they are, or how to get them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qa.host.helpers import HELPERS, find_helpers, find_program


def which(*have: str, sbin: tuple[str, ...] = ()) -> Callable[..., str | None]:
    def find(name: str, path: str | None = None) -> str | None:
        if path is None:
            return f"/usr/bin/{name}" if name in have else None
        return f"/usr/sbin/{name}" if name in sbin and "/usr/sbin" in path else None

    return find


def test_each_helper_is_found_or_comes_with_a_hint() -> None:
    found = find_helpers(which("ssh", "grub2-mkimage", sbin=("mke2fs",)), hint=lambda name: f"get {name}")
    by_name = {one.helper.name: (one.path, one.hint) for one in found}
    assert by_name["ssh"] == (Path("/usr/bin/ssh"), None)
    assert by_name["grub-mkimage"] == (Path("/usr/bin/grub2-mkimage"), None)
    assert by_name["mke2fs"] == (Path("/usr/sbin/mke2fs"), None)
    assert by_name["tesseract"] == (None, "get tesseract")
    assert len(found) == len(HELPERS)


def test_the_users_path_comes_before_the_systems_folders() -> None:
    assert find_program("mke2fs", which=which("mke2fs", sbin=("mke2fs",))) == Path("/usr/bin/mke2fs")


def test_every_helper_says_what_it_is_for() -> None:
    assert all(helper.purpose for helper in HELPERS)
    assert {helper.name for helper in HELPERS if not helper.build} == {"tesseract", "ssh", "swtpm", "ffmpeg"}
