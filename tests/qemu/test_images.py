"""Image files are looked at with suspicion, and disks are made from them, by the real qemu-img."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from qa.errors import ImageError, ImageNotFound, ImageRefused, NoSpace, UsageError
from qa.events import Bus
from qa.images.image import Image
from qa.images.overlay import create_disk, create_overlay
from qa.images.probe import probe
from qa.images.pull import pull_url
from qa.images.recipes import build
from qa.images.resolve import resolve
from qa.images.store import Store
from qa.images.tools import require, run_tool
from qa.paths import Paths

MIB = 1 << 20


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk of 8 MiB with a boot sector and noise behind it, so that formats have something to store."""
    file = tmp_path / "disk.raw"
    file.write_bytes(b"\0" * 510 + b"\x55\xaa" + os.urandom(2 * MIB))
    os.truncate(file, 8 * MIB)
    return file


@pytest.fixture
def qcow2(tmp_path: Path, disk: Path) -> Path:
    file = tmp_path / "disk.qcow2"
    qemu_img("convert", "-O", "qcow2", disk, file)
    return file


@pytest.fixture
def own_home(tmp_path: Path) -> Paths:
    """A cache of this test alone: the images of this machine are not played with."""
    return Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path / "own")})


def image_of(path: Path, image_format: str = "qcow2") -> Image:
    return Image(reference=path.name, path=path, format=image_format, virtual_size=8 * MIB, identity="x")


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
async def test_the_formats_of_published_images_are_known(tmp_path: Path, disk: Path, kind: str) -> None:
    file = tmp_path / "image"
    qemu_img("convert", "-O", kind, disk, file)
    found = await probe(file)
    assert found.format == kind
    assert found.virtual_size >= 8 * MIB


async def test_a_raw_disk_is_known_by_its_boot_sector(disk: Path) -> None:
    found = await probe(disk)
    assert (found.format, found.virtual_size) == ("raw", 8 * MIB)


async def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="there is no file"):
        await probe(tmp_path / "nothing.qcow2")


async def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageRefused, match="is a folder"):
        await probe(tmp_path)


async def test_a_device() -> None:
    with pytest.raises(ImageRefused, match="is a device"):
        await probe(Path("/dev/null"))


async def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with pytest.raises(ImageRefused, match="is empty"):
        await probe(tmp_path / "image")


async def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "image").write_text("not found\n")
    with pytest.raises(ImageRefused, match="looks like a text file"):
        await probe(tmp_path / "image")


@pytest.mark.parametrize("size", [60, 200, 70_000, 1_000_000])
async def test_a_qcow2_that_is_cut_short(qcow2: Path, size: int) -> None:
    os.truncate(qcow2, size)
    with pytest.raises(ImageError, match=r"cut short|not a sound"):
        await probe(qcow2)


async def test_a_backing_file_is_refused_unless_allowed(tmp_path: Path, qcow2: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", qcow2, overlay)
    with pytest.raises(ImageRefused, match=r"reads other files of this host: .*disk\.qcow2"):
        await probe(overlay)
    assert (await probe(overlay, allow_backing=True)).others == (str(qcow2),)


async def test_an_external_data_file_is_refused_and_not_opened(tmp_path: Path) -> None:
    image, data = tmp_path / "image.qcow2", tmp_path / "data.raw"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", image, "1M")
    data.unlink()
    with pytest.raises(ImageRefused, match="external data file"):
        await probe(image)


async def test_an_encrypted_image_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    secret = "secret,id=s,data=abc"
    qemu_img("create", "-f", "qcow2", "--object", secret, "-o", "encrypt.format=luks,encrypt.key-secret=s", image, "1M")
    with pytest.raises(ImageRefused, match="encrypted"):
        await probe(image)


async def test_an_overlay_names_the_format_of_what_is_below(tmp_path: Path, disk: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    await create_overlay(image_of(disk, "raw"), overlay, 16 * MIB)
    info = (await run_tool(["qemu-img", "info", "--output=json", overlay])).stdout
    assert '"backing-filename-format": "raw"' in info
    assert f'"virtual-size": {16 * MIB}' in info


async def test_an_overlay_cannot_be_smaller_than_its_image(tmp_path: Path, qcow2: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        await create_overlay(image_of(qcow2), tmp_path / "overlay", 4 * MIB)
    assert not (tmp_path / "overlay").exists()


async def test_an_empty_disk_takes_no_space(tmp_path: Path) -> None:
    await create_disk(tmp_path / "empty.qcow2", 1 << 40)
    assert (tmp_path / "empty.qcow2").stat().st_size < MIB


async def test_a_full_disk_is_told_as_such() -> None:
    with pytest.raises(NoSpace):
        await run_tool(["dd", "if=/dev/zero", "of=/dev/full", "count=1"])


async def test_a_tool_cannot_write_without_end(tmp_path: Path) -> None:
    result = await run_tool(["dd", "if=/dev/zero", f"of={tmp_path / 'big'}", "bs=64K", "count=100000"], file_limit=MIB)
    assert result.exit_code != 0
    assert (tmp_path / "big").stat().st_size <= MIB


async def test_a_path_is_resolved_from_the_scripts_folder(own_home: Paths, qcow2: Path) -> None:
    image = await resolve("./disk.qcow2", paths=own_home, bus=Bus(), base_folder=qcow2.parent)
    assert (image.path, image.format, image.virtual_size) == (qcow2, "qcow2", 8 * MIB)


async def test_a_file_that_changed_has_another_identity(own_home: Paths, qcow2: Path) -> None:
    before = await resolve("disk.qcow2", paths=own_home, bus=Bus(), base_folder=qcow2.parent)
    os.utime(qcow2, ns=(1, 1))
    after = await resolve("disk.qcow2", paths=own_home, bus=Bus(), base_folder=qcow2.parent)
    assert before.identity != after.identity


@pytest.mark.parametrize(("wrong", "right"), [("biultin", "builtin"), ("debain-13", "debian-13"), ("my-imgae", "my-image")])
async def test_a_mistyped_name_gets_a_suggestion(own_home: Paths, qcow2: Path, wrong: str, right: str) -> None:
    await Store.of(own_home).add(qcow2, "my-image")
    with pytest.raises(ImageNotFound) as failure:
        await resolve(wrong, paths=own_home, bus=Bus(), base_folder=qcow2.parent)
    assert failure.value.hint == f"did you mean {right!r}?"


async def test_an_imported_image_is_resolved_by_its_name_and_does_not_need_its_source(own_home: Paths, qcow2: Path) -> None:
    await Store.of(own_home).add(qcow2, "my-image")
    qcow2.unlink()
    image = await resolve("my-image", paths=own_home, bus=Bus(), base_folder=qcow2.parent)
    assert image.path.is_relative_to(own_home.images)
    await Store.of(own_home).verify(Store.of(own_home).get("my-image"))


@pytest.mark.parametrize("url", ["https://example.org/image.qcow2", "https://example.org/image.qcow2#sha256=short", "ftp://x/y"])
async def test_a_url_needs_http_and_a_digest(own_home: Paths, url: str) -> None:
    with pytest.raises(UsageError):
        await pull_url(url, paths=own_home, bus=Bus())


async def test_two_builds_at_once_build_once(own_home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "data" / "tiny"
    recipe.mkdir(parents=True)
    about = "description: d\ntools: [qemu-img]\ncloud_init: false\nshell: true\nmemory_mib: 64\ntime_limit_s: 60\n"
    (recipe / "recipe.yaml").write_text(about)
    script = f"echo built >> {tmp_path}/count; echo 'package: busybox 1.35'; qemu-img create -q -f qcow2 $1 1M"
    (recipe / "build.sh").write_text(script)
    monkeypatch.setattr("qa.images.recipes.data_folder", lambda _: tmp_path / "data")
    first, second = await asyncio.gather(*(build("tiny", paths=own_home, bus=Bus()) for _ in range(2)))
    assert first.path == second.path
    assert (tmp_path / "count").read_text() == "built\n"
    assert first.metadata.packages == {"busybox": "1.35"}
    assert (first.folder / "build.log").read_text().startswith("package:")
    assert (first.image("tiny").shell, first.image("tiny").memory) == (True, 64 * MIB)
    again = await build("tiny", paths=own_home, bus=Bus(), force=True)
    assert (tmp_path / "count").read_text() == "built\nbuilt\n"
    assert again.path == first.path


async def test_a_tool_that_was_killed_says_so() -> None:
    with pytest.raises(ImageError, match="cannot make it: sh was killed by signal 9"):
        await require(["sh", "-c", "kill -9 $$"], "cannot make it")
