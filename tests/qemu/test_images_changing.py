"""Images in other formats, overlays and other sizes, by the real tools: the content stays, and nothing half is left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from disks import MIB, gpt

from qa.config import Config
from qa.errors import ImageError, ImageRefused, NoSpace, PolicyRefused, UsageError
from qa.events import Bus, Progress
from qa.host.qemu import find_qemu
from qa.images import convert as converting
from qa.images.partitions import HEAD, read_table
from qa.images.probe import probe
from qa.images.resize import resize
from qa.operations.calls import Caller
from qa.operations.gate import Gate
from qa.operations.hosting import HOST_OPERATIONS, Bench
from qa.paths import Paths

PARTITION = (2048, 4095)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A raw disk of 16 MiB with a partition full of noise."""
    content = gpt(16 * MIB, PARTITION)
    content[PARTITION[0] * 512 : (PARTITION[1] + 1) * 512] = os.urandom((PARTITION[1] - PARTITION[0] + 1) * 512)
    file = tmp_path / "disk.raw"
    file.write_bytes(content)
    return file


@pytest.fixture
def bench(tmp_path: Path, home: Paths) -> Bench:
    own = Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path / "own")})
    return Bench(own, Config(), Bus(), tmp_path)


def content(path: Path, size: int | None = None) -> str:
    """The digest of what a guest would see, of the first ``size`` bytes."""
    form = asyncio.run(probe(path, allow_backing=True)).format
    raw = path.with_name("as-raw")
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", path, raw], check=True)
    data = raw.read_bytes()
    raw.unlink()
    return hashlib.sha256(data[: size or len(data)]).hexdigest()


def do(bench: Bench, name: str, **arguments: Any) -> Any:
    one = HOST_OPERATIONS[name]
    return asyncio.run(one(bench, one.operation.parse(arguments)))


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("form", converting.FORMATS)
def test_an_image_keeps_its_content_in_every_format_and_back(bench: Bench, disk: Path, form: str) -> None:
    told: list[Any] = []
    bench.bus.subscribe(told.append)
    made = do(bench, "image_convert", image=str(disk), target=f"there.{form}")
    assert (made["format"], made["virtual_size"]) == (form, 16 * MIB)
    do(bench, "image_convert", image="./there." + form, target="back.qcow2", compress=True)
    assert content(bench.base_folder / "back.qcow2") == content(disk)
    progress = [event for event in told if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total == 16 * MIB
    assert files(bench.base_folder) == {"disk.raw", f"there.{form}", "back.qcow2"}


def test_an_overlay_shows_its_base_and_is_refused_until_that_is_meant(bench: Bench, disk: Path) -> None:
    made = do(bench, "image_overlay", image=str(disk), target="over.qcow2", size="32M")
    assert (made["virtual_size"], made["base"]) == (32 * MIB, str(disk))
    for name, target in (("image_convert", {"target": "flat.qcow2"}), ("image_info", {})):
        with pytest.raises(ImageRefused, match="reads other files"):
            do(bench, name, image="./over.qcow2", **target)
    assert do(bench, "image_info", image="./over.qcow2", backing=True)["reads"] == [str(disk)]
    do(bench, "image_convert", image="./over.qcow2", target="flat.qcow2", backing=True)
    assert content(bench.base_folder / "flat.qcow2", 16 * MIB) == content(disk)
    with pytest.raises(UsageError, match="too small"):
        do(bench, "image_overlay", image=str(disk), target="small.qcow2", size="8M")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "there.qcow2"}, UsageError, "there is a file"),
        ({"target": "disk.raw", "replace": True}, UsageError, "is the image itself"),
        ({"target": "linked.raw", "replace": True}, UsageError, "is the image itself"),
        ({"target": "new.foo"}, UsageError, "does not tell a format"),
        ({"target": "new.vmdk", "compress": True}, UsageError, "cannot be compressed"),
        ({"target": "no/folder.raw"}, UsageError, "no folder"),
        ({"target": "new.raw", "image": "./note.txt"}, ImageRefused, "not a disk image"),
        ({"target": "new.raw", "image": "./nothing.raw"}, ImageError, "no file"),
    ],
)
def test_what_cannot_be_converted_is_told_and_leaves_nothing(
    bench: Bench, disk: Path, arguments: dict[str, Any], error: Any, message: str
) -> None:
    (bench.base_folder / "there.qcow2").write_text("mine")
    (bench.base_folder / "note.txt").write_text("a note\n" * 100)
    (bench.base_folder / "linked.raw").hardlink_to(disk)
    before, there = content(disk), files(bench.base_folder)
    with pytest.raises(error, match=message):
        do(bench, "image_convert", **{"image": str(disk)} | arguments)
    assert files(bench.base_folder) == there
    assert content(disk) == before
    assert (bench.base_folder / "there.qcow2").read_text() == "mine"


def test_an_image_whose_content_cannot_be_read_leaves_nothing(bench: Bench, disk: Path) -> None:
    image = bench.base_folder / "image.qcow2"
    data = bytearray(disk.read_bytes())
    data[PARTITION[0] * 512 : (PARTITION[1] + 1) * 512] = (b"text that can be compressed. " * 40000)[:MIB]
    disk.write_bytes(data)
    do(bench, "image_convert", image=str(disk), target=image.name, compress=True)
    packed = bytearray(image.read_bytes())
    packed[-3000:-100] = os.urandom(2900)  # the tables stay sound
    image.write_bytes(packed)
    with pytest.raises(ImageError, match="could not be converted") as caught:
        do(bench, "image_convert", image="./image.qcow2", target="new.raw")
    assert caught.value.evidence
    assert files(bench.base_folder) == {"disk.raw", "image.qcow2"}


def test_what_is_meant_to_be_replaced_is_replaced_at_once(bench: Bench, disk: Path) -> None:
    (bench.base_folder / "there.qcow2").write_text("old")
    do(bench, "image_convert", image=str(disk), target="there.qcow2", replace=True)
    assert content(bench.base_folder / "there.qcow2") == content(disk)


async def test_a_conversion_that_is_cancelled_leaves_nothing(bench: Bench, disk: Path) -> None:
    one = HOST_OPERATIONS["image_convert"]
    task = asyncio.create_task(one(bench, one.operation.parse({"image": str(disk), "target": "new.qcow2"})))
    bench.bus.subscribe(lambda event: task.cancel())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(bench.base_folder) == {"disk.raw"}


def test_what_cannot_fit_is_refused_before_it_begins(bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "free_space", lambda folder: MIB // 2)
    with pytest.raises(NoSpace, match="are free in"):
        do(bench, "image_convert", image=str(disk), target="new.qcow2")
    assert files(bench.base_folder) == {"disk.raw"}


_ON_A_SMALL_DISK = """
import asyncio, sys
from pathlib import Path
from qa.errors import NoSpace
from qa.events import Bus
from qa.images import convert
from qa.images.image import Image
convert.free_space = lambda folder: 1 << 60
image = Image("disk", Path(sys.argv[1]), "raw", 16 << 20, "x")
target = Path(sys.argv[2], "new.qcow2")
try:
    asyncio.run(convert.convert(image, target, None, bus=Bus()))
except NoSpace as error:
    print("no space", sorted(file.name for file in target.parent.iterdir()))
"""


def test_a_disk_that_becomes_full_leaves_nothing(tmp_path: Path, disk: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    mount = f'mount -t tmpfs -o size=600k tmpfs "{small}" && exec "$@"'
    argv = ["unshare", *flags, "sh", "-c", mount, "sh", sys.executable, "-c", _ON_A_SMALL_DISK, str(disk), str(small)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "no space []", ended.stderr


# sizes


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_disk_grows_and_shrinks_and_keeps_its_partition(bench: Bench, disk: Path, form: str) -> None:
    image = bench.base_folder / f"image.{form}"
    do(bench, "image_convert", image=str(disk), target=image.name)
    partition_end = (PARTITION[1] + 1) * 512
    before = _partition(image)
    assert do(bench, "image_resize", image=image.name, size="40M") == {
        "path": str(image), "before": 16 * MIB, "after": 40 * MIB,
    }  # fmt: skip
    assert _partition(image) == before
    do(bench, "image_resize", image=image.name, size="4M", shrink=True)
    assert asyncio.run(probe(image)).virtual_size == 4 * MIB
    assert _partition(image) == before
    table = read_table(_head(image), 4 * MIB)
    assert (table.last_end, table.least_size <= 4 * MIB) == (partition_end, True)


def _head(image: Path) -> bytes:
    raw = image.with_name("as-raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    data = raw.read_bytes()[:HEAD]
    raw.unlink()
    return data


def _partition(image: Path) -> str:
    raw = image.with_name("as-raw")
    form = "raw" if image.suffix == ".raw" else "qcow2"
    subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", image, raw], check=True)
    data = raw.read_bytes()[PARTITION[0] * 512 : (PARTITION[1] + 1) * 512]
    raw.unlink()
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("size", "shrink", "message", "hint"),
    [
        (4 * MIB, False, "are less", "shrink"),
        (2 * MIB, True, "would cut a partition off", "2114048 bytes"),
        (2114048 - 512, True, "would cut a partition off", "2114048 bytes"),
        (2 * MIB, False, "would cut a partition off", "2114048 bytes"),
    ],
)
def test_no_partition_is_ever_cut_off(disk: Path, size: int, shrink: bool, message: str, hint: str) -> None:
    before = disk.read_bytes()
    with pytest.raises(UsageError, match=message) as caught:
        asyncio.run(resize(disk, size, shrink=shrink))
    assert hint in str(caught.value.hint)
    assert disk.read_bytes() == before


def test_the_smallest_disk_that_is_told_is_possible(disk: Path) -> None:
    asyncio.run(resize(disk, 2114048, shrink=True))
    assert disk.stat().st_size == 2114048


@pytest.mark.parametrize("wrong", ["checksum", "no table"])
def test_without_a_sound_table_nothing_is_cut_off(disk: Path, wrong: str) -> None:
    data = bytearray(disk.read_bytes())
    if wrong == "checksum":
        data[1024 + 40] ^= 1
    else:
        data[446:510] = bytes(64)
        data[512:1024] = bytes(512)
    disk.write_bytes(data)
    with pytest.raises(ImageRefused, match="cannot be made smaller"):
        asyncio.run(resize(disk, 8 * MIB, shrink=True))
    assert disk.read_bytes() == data


def test_an_image_with_snapshots_or_of_another_kind_or_of_the_cache_is_left_alone(bench: Bench, disk: Path) -> None:
    for form in ("qcow2", "vdi"):
        do(bench, "image_convert", image=str(disk), target=f"image.{form}")
    image = bench.base_folder / "image.qcow2"
    subprocess.run(["qemu-img", "snapshot", "-c", "one", image], check=True)
    with pytest.raises(ImageRefused, match="has snapshots"):
        asyncio.run(resize(image, 8 * MIB, shrink=True))
    with pytest.raises(ImageRefused, match="only raw and qcow2"):
        do(bench, "image_resize", image="image.vdi", size="40M")
    bench.paths.images.mkdir(parents=True)
    (bench.paths.images / "cached.raw").write_bytes(disk.read_bytes())
    (bench.base_folder / "way").symlink_to(bench.paths.images)
    with pytest.raises(ImageRefused, match="belongs to the cache"):
        do(bench, "image_resize", image="way/cached.raw", size="40M")
    assert asyncio.run(probe(image)).virtual_size == 16 * MIB


def test_an_image_that_a_machine_is_using_is_left_alone(bench: Bench, disk: Path) -> None:
    options = ["-S", "-nodefaults", "-display", "none", "-monitor", "stdio", "-drive", f"file={disk},if=virtio,format=raw"]
    using = subprocess.Popen([find_qemu().path, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert using.stdout
    assert b"monitor" in using.stdout.readline()  # now it has opened the image
    try:
        for size in (8 * MIB, 40 * MIB):
            with pytest.raises(ImageError, match="in use"):
                asyncio.run(resize(disk, size, shrink=True))
    finally:
        using.communicate(b"quit\n")
    assert disk.stat().st_size == 16 * MIB


# through the gate


def call(bench: Bench, name: str, arguments: dict[str, Any], **rules: Any) -> Any:
    config = Config.model_validate({"policy": rules, "audit": {"of": "none"}})
    one = HOST_OPERATIONS[name]
    parsed = one.operation.parse(arguments)
    gate, agent = Gate.of(bench.paths, config), Caller("mcp", "a")
    return asyncio.run(gate.call(agent, name, lambda: one(bench, parsed), facts=one.facts(bench, parsed)))


@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("image_info", {"image": "../secret.raw"}, "allow_paths"),
        ("image_convert", {"image": "../secret.raw", "target": "new.qcow2"}, "allow_paths"),
        ("image_convert", {"image": "./disk.raw", "target": "../new.qcow2"}, "allow_paths"),
        ("image_convert", {"image": "./over.qcow2", "target": "new.qcow2", "backing": True}, "allow_paths"),
        ("image_overlay", {"image": "./disk.raw", "target": "/etc/new.qcow2"}, "allow_paths"),
        ("image_resize", {"image": "../secret.raw", "size": "40M"}, "allow_paths"),
        ("image_resize", {"image": "disk.raw", "size": "4M", "shrink": True}, "confirm"),
        ("image_convert", {"image": "./disk.raw", "target": "there.qcow2", "replace": True}, "confirm"),
    ],
)
def test_the_policy_knows_what_images_are_touched(
    bench: Bench, disk: Path, name: str, arguments: dict[str, Any], rule: str
) -> None:
    place = bench.base_folder / "place"
    place.mkdir()
    secret = disk.rename(bench.base_folder / "secret.raw")
    (place / "disk.raw").write_bytes(secret.read_bytes())
    (place / "there.qcow2").touch()
    inside = Bench(bench.paths, bench.config, bench.bus, place)
    do(inside, "image_overlay", image=str(secret), target="over.qcow2")
    before = files(place)
    with pytest.raises(PolicyRefused) as caught:
        call(inside, name, arguments, allow_paths=[str(place)])
    assert caught.value.rule == f"policy.{rule}"
    assert files(place) == before


def test_a_backing_file_whose_name_may_lead_anywhere_is_refused(bench: Bench, disk: Path) -> None:
    over = bench.base_folder / "over.qcow2"
    name = f'json:{{"driver":"file","filename":"{disk}"}}'
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, over, "16M"], check=True)
    with pytest.raises(ImageRefused, match="is no path"):
        call(bench, "image_convert", {"image": "./over.qcow2", "target": "new.qcow2", "backing": True})
