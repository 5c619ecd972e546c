from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from scenario_world import World, read_steps

from qa.errors import CheckFailed
from qa.report.folder import ResultsFolder
from qa.scenario.results import RunResult
from qa.screen.frames import Frame
from qa.screen.sight import AreaMatch, Candidate, Sight


class NotSeen(CheckFailed):
    result: Sight


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ResultsFolder.create(tmp_path / "results", "test"))


def sight(*candidates: Candidate) -> Sight:
    return Sight(Frame(4, 2, b"P6\n4 2\n255\n" + bytes(range(24))), "needle door", candidates)


def candidate(tmp_path: Path, name: str, similarity: float, workaround: str | None = None) -> Candidate:
    picture = tmp_path / "needles" / f"{name}.png"
    picture.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 2), "blue").save(picture)
    matched = similarity >= 0.96
    area = AreaMatch("match", 1, 0, 2, 2, 0, 0, similarity, 0.96, matched)
    return Candidate(name, picture, matched, (1 - similarity) ** 2, (area,), workaround)


async def run(world: World, tmp_path: Path) -> RunResult:
    return await world.run(read_steps(tmp_path, "- look: door"))


async def test_a_needle_that_was_seen_is_kept_with_its_frame(world: World, tmp_path: Path) -> None:
    world.answers["door"] = sight(candidate(tmp_path, "open", 0.9999979), candidate(tmp_path, "shut", 0.5))
    (step,) = (await run(world, tmp_path)).steps
    assert (step.outcome, step.detail, step.evidence) == ("passed", "needle open", [])
    assert step.screen
    assert [one.needle for one in step.screen.candidates] == ["open"]
    assert step.screen.candidates[0].areas[0].similarity == 0.9999979
    with Image.open(world.folder.path / step.screen.frame) as seen:
        assert seen.size == (step.screen.width, step.screen.height) == (4, 2)
        assert seen.tobytes() == bytes(range(24))
    assert (world.folder.path / step.screen.candidates[0].picture).read_bytes() == (tmp_path / "needles/open.png").read_bytes()


async def test_a_workaround_passes_and_says_so(world: World, tmp_path: Path) -> None:
    world.answers["door"] = sight(candidate(tmp_path, "ajar", 1.0, "the hinge, 12"))
    (step,) = (await run(world, tmp_path)).steps
    assert (step.outcome, step.detail) == ("passed", "needle ajar, a workaround for the hinge, 12")


async def test_a_needle_that_was_not_seen_leaves_its_frame_once_and_the_candidates(world: World, tmp_path: Path) -> None:
    error = NotSeen("the door was not on the screen", evidence={"screen": "door: 50 % alike"})
    error.result = sight(*(candidate(tmp_path, f"door{number}", 0.5) for number in range(7)))
    world.answers["door"] = error
    (step,) = (await run(world, tmp_path)).steps
    assert step.outcome == "failed"
    assert step.screen
    assert [one.needle for one in step.screen.candidates] == [f"door{number}" for number in range(5)]
    assert not [name for name in step.evidence if name.endswith(".png")]
    assert len(list(world.folder.shots.iterdir())) == 1


async def test_a_needle_that_is_gone_and_a_full_disk_do_not_hide_why_a_step_failed(world: World, tmp_path: Path) -> None:
    gone = candidate(tmp_path, "door", 0.5)
    gone.picture.unlink()
    error = NotSeen("the door was not on the screen")
    error.result = sight(gone)
    world.answers["door"] = error
    (step,) = (await run(world, tmp_path)).steps
    assert step.screen
    assert (step.detail, step.screen.candidates[0].picture) == ("the door was not on the screen", "")
    world.folder.shots.rename(world.folder.path / "elsewhere")
    (step,) = (await run(world, tmp_path)).steps
    assert (step.detail, step.screen) == ("the door was not on the screen", None)
