"""Building an image fails with the reason, and leaves nothing half done. The recipes here are scripts of a line or two."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qa.errors import HostError, ImageError, ImageNotFound, NoSpace, ToolMissing
from qa.events import Bus, Event, Notice, Progress
from qa.images.recipes import build, recipes
from qa.images.store import Store
from qa.paths import Paths

MakeRecipe = Callable[..., Path]


@pytest.fixture
def make_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRecipe:
    """Writes a recipe called ``tiny`` whose script is the text given."""

    def make(script: str, tools: str = "[]", extra: str = "") -> Path:
        folder = tmp_path / "data" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        about = f"description: a test\ntools: {tools}\ncloud_init: false\nshell: true\nmemory_mib: 64\ntime_limit_s: 20\n{extra}"
        (folder / "recipe.yaml").write_text(about)
        (folder / "build.sh").write_text(script)
        monkeypatch.setattr("qa.images.recipes.data_folder", lambda _: tmp_path / "data")
        return folder

    return make


async def run(paths: Paths, listener: Callable[[Event], None] = lambda _: None) -> None:
    bus = Bus()
    bus.subscribe(listener)
    await build("tiny", paths=paths, bus=bus)


def leftovers(paths: Paths) -> list[str]:
    return [file.name for file in (paths.images / ".tmp").iterdir()] + [folder.name for folder in Store.of(paths).folders()]


def test_the_real_recipes_are_sound() -> None:
    assert {"builtin", "debian", "desktop"} <= set(recipes())
    assert recipes()["builtin"].description.shell
    assert not recipes()["builtin"].description.root


def test_every_file_of_a_recipe_and_the_suite_count_for_its_key(make_recipe: MakeRecipe) -> None:
    folder = make_recipe("true")
    keys = {recipes()["tiny"].key(), recipes()["tiny"].key("trixie")}
    (folder / "more").write_text("x")
    keys.add(recipes()["tiny"].key())
    (folder / "more").rename(folder / "other")
    keys.add(recipes()["tiny"].key())
    assert len(keys) == 4


async def test_a_recipe_with_a_base_is_built_by_its_script_and_is_another_image_when_that_changes(
    home: Paths, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    about = make_recipe(f'cat "$RECIPE/what" > {tmp_path}/said; exit 1')
    other = about.with_name("other")
    other.mkdir()
    (other / "recipe.yaml").write_text((about / "recipe.yaml").read_text() + "base: tiny\n")
    (other / "what").write_text("of the other")
    with pytest.raises(ImageError):
        await build("other", paths=home, bus=Bus())
    assert (tmp_path / "said").read_text() == "of the other"
    keys = {recipes()["other"].key()}
    (about / "build.sh").write_text("exit 2")
    keys.add(recipes()["other"].key())
    (other / "what").write_text("changed")
    keys.add(recipes()["other"].key())
    assert len(keys) == 3


async def test_an_unknown_recipe_names_those_that_there_are(home: Paths) -> None:
    with pytest.raises(ImageNotFound) as failure:
        await build("bultin", paths=home, bus=Bus())
    assert "builtin" in str(failure.value.hint)


async def test_missing_programs_are_named_together(home: Paths, make_recipe: MakeRecipe) -> None:
    make_recipe("true", tools="[no-such-tool, sh, nor-this-one]")
    with pytest.raises(ToolMissing, match="no-such-tool, nor-this-one") as failure:
        await run(home)
    assert "install" in str(failure.value.hint)


async def test_a_recipe_for_root_is_not_tried_by_others(
    home: Paths, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_recipe("true", extra="root: true\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="needs root"):
        await run(home)


async def test_a_failure_says_what_the_script_said_and_shows_its_log(home: Paths, make_recipe: MakeRecipe) -> None:
    make_recipe("echo before; echo 'build.sh: the mirror is down' >&2; exit 4")
    with pytest.raises(ImageError, match="the mirror is down") as failure:
        await run(home)
    assert "before" in failure.value.evidence["log, last lines"]
    assert leftovers(home) == []


async def test_a_full_disk_is_told_as_such(home: Paths, make_recipe: MakeRecipe) -> None:
    make_recipe("echo x > /dev/full")
    with pytest.raises(NoSpace):
        await run(home)


async def test_a_script_that_makes_no_image_is_a_failure(home: Paths, make_recipe: MakeRecipe) -> None:
    make_recipe("true")
    with pytest.raises(ImageNotFound):
        await run(home)
    assert leftovers(home) == []


async def test_progress_is_told(home: Paths, make_recipe: MakeRecipe) -> None:
    make_recipe("echo 'progress: 1/2 half way'; exit 1")
    seen: list[Event] = []
    with pytest.raises(ImageError):
        await run(home, seen.append)
    assert any(isinstance(event, Progress) and (event.done, event.total) == (1, 2) for event in seen)
    assert any(isinstance(event, Notice) and "half way" in event.message for event in seen)


async def test_interrupting_ends_all_processes_of_the_build(home: Paths, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    make_recipe(f"sleep 600 & echo $$ $! > {pids}; echo 'progress: 1/2 on'; wait")
    started = asyncio.Event()
    task = asyncio.create_task(run(home, lambda event: started.set() if isinstance(event, Progress) else None))
    await asyncio.wait_for(started.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    alive = [pid for pid in pids.read_text().split() if is_alive(pid)]
    assert alive == []
    assert leftovers(home) == []


async def test_the_time_limit_ends_a_build(home: Paths, make_recipe: MakeRecipe) -> None:
    folder = make_recipe("echo begun; sleep 600")
    about = (folder / "recipe.yaml").read_text().replace("time_limit_s: 20", "time_limit_s: 0.2")
    (folder / "recipe.yaml").write_text(about)
    with pytest.raises(ImageError, match=r"more than 0\.2 s"):
        await run(home)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_scripts_parse() -> None:
    for recipe in recipes().values():
        assert os.spawnlp(os.P_WAIT, "bash", "bash", "-n", str(recipe.script_folder / "build.sh")) == 0
