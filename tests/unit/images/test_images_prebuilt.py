"""An image that travels with the program goes into the cache, and nothing is built; a damaged or outdated one is not used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from qa.errors import HostError, ImageError, ToolMissing
from qa.events import Bus
from qa.images.metadata import Metadata, write_metadata
from qa.images.recipes import build, recipes
from qa.images.store import Store
from qa.paths import Paths

CONTENT = b"an image"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's data, with a recipe that cannot be built here, and its image."""
    recipe = tmp_path / "data/images/tiny"
    recipe.mkdir(parents=True)
    about = "description: a test\ntools: [no-such-tool]\ncloud_init: false\nshell: true\nmemory_mib: 64\ntime_limit_s: 20\n"
    (recipe / "recipe.yaml").write_text(about)
    for module in ("recipes", "prebuilt"):
        monkeypatch.setattr(f"qa.images.{module}.data_folder", lambda name: tmp_path / "data" / name)
    folder = tmp_path / "data/prebuilt/tiny"
    folder.mkdir(parents=True)
    (folder / "image.qcow2").write_bytes(CONTENT)
    record(folder, recipes()["tiny"].key())
    return tmp_path / "data"


def record(folder: Path, key: str) -> None:
    metadata = Metadata(
        name="tiny", origin="built", source="tiny", key=key, file="image.qcow2", format="qcow2", virtual_size=1 << 20,
        file_size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(),
    )  # fmt: skip
    write_metadata(folder, metadata)


async def test_it_is_copied_into_the_cache_with_its_record(data: Path, home: Paths) -> None:
    entry = await build("tiny", paths=home, bus=Bus())
    assert entry.path.read_bytes() == CONTENT
    assert entry.path.is_relative_to(home.images)
    assert entry.metadata.key == recipes()["tiny"].key()


async def test_the_copy_outlives_the_program_that_brought_it(data: Path, home: Paths) -> None:
    first = await build("tiny", paths=home, bus=Bus())
    (data / "prebuilt/tiny/metadata.json").unlink()
    assert (await build("tiny", paths=home, bus=Bus())).path == first.path


async def test_one_of_another_recipe_is_not_used(data: Path, home: Paths) -> None:
    record(data / "prebuilt/tiny", "0" * 64)
    with pytest.raises(ToolMissing, match="no-such-tool"):
        await build("tiny", paths=home, bus=Bus())


async def test_who_asks_for_a_build_gets_one(data: Path, home: Paths) -> None:
    with pytest.raises(ToolMissing, match="no-such-tool"):
        await build("tiny", paths=home, bus=Bus(), force=True)


async def test_a_damaged_one_is_refused_and_leaves_nothing(data: Path, home: Paths) -> None:
    (data / "prebuilt/tiny/image.qcow2").write_bytes(b"an imagE")
    with pytest.raises(ImageError, match="that came with the program is damaged"):
        await build("tiny", paths=home, bus=Bus())
    assert Store.of(home).folders() == []
    assert list((home.images / ".tmp").iterdir()) == []


async def test_a_cache_that_cannot_be_written_to_is_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    paths = Paths.from_environment({"ANIMA_QA_HOME": str(tmp_path / "file")})
    with pytest.raises(HostError, match="the image cache cannot be written to") as caught:
        await build("tiny", paths=paths, bus=Bus())
    assert caught.value.hint == "set ANIMA_QA_HOME to a folder that is yours"
