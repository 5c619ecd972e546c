"""Optional programs and image tools: where they are, or how to get them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from qa.host.helpers import HELPERS, find_helpers, find_program
from qa.host.packages import PACKAGES
from qa.images.recipes import recipes


def which(*have: str, sbin: tuple[str, ...] = ()) -> Callable[..., str | None]:
    def find(name: str, path: str | None = None) -> str | None:
        if path is None:
            return f"/usr/bin/{name}" if name in have else None
        return f"/usr/sbin/{name}" if name in sbin and "/usr/sbin" in path else None

    return find


def test_each_helper_is_found_or_comes_with_a_hint() -> None:
    found = find_helpers(which("ssh", "mcopy", sbin=("mke2fs",)), hint=lambda name: f"get {name}")
    by_name = {one.helper.name: (one.path, one.hint) for one in found}
    assert by_name["ssh"] == (Path("/usr/bin/ssh"), None)
    assert by_name["mtools"] == (Path("/usr/bin/mcopy"), None)
    assert by_name["mke2fs"] == (Path("/usr/sbin/mke2fs"), None)
    assert by_name["tesseract"] == (None, "get tesseract")
    assert len(found) == len(HELPERS)


def test_the_users_path_comes_before_the_systems_folders() -> None:
    assert find_program("mke2fs", which=which("mke2fs", sbin=("mke2fs",))) == Path("/usr/bin/mke2fs")


def test_every_helper_says_what_it_is_for() -> None:
    assert all(helper.purpose for helper in HELPERS)
    assert {helper.name for helper in HELPERS if not helper.build} == {"tesseract", "ssh", "ffmpeg"}


COMES_ALONG = {"apt-cache", "dpkg", "mmd", "gzip", "qemu-img"}
"""In the same package as another, on every host, or looked at by itself."""


def test_what_the_recipes_need_is_what_is_looked_for() -> None:
    needed = {tool for recipe in recipes().values() for tool in recipe.description.tools}
    looked_for = {program for helper in HELPERS if helper.build for program in helper.programs}
    assert needed - COMES_ALONG == looked_for


def test_every_helper_has_a_package() -> None:
    assert [helper.name for helper in HELPERS if helper.name not in PACKAGES] == []


def test_what_the_recipes_need_is_what_the_host_packages_script_installs() -> None:
    script = (Path(__file__).parents[2] / "tools/host-packages.sh").read_text()
    words = set(re.findall(r"[\w.+-]+", script))
    packages = {name for helper in HELPERS if helper.build for name in PACKAGES[helper.name][0].split()}
    assert packages - words - {"apt", "dpkg"} == set()
