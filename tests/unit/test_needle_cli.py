"""``anima-qa needle`` and ``run --accept``: needles are made, checked and renewed."""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import sys
import threading
import time
import urllib.request
import weakref
import webbrowser
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from qa.cli import accept, needle_page
from qa.cli.root import root
from qa.errors import Interrupted, QaError, UsageError
from qa.report.folder import ResultsFolder
from qa.scenario.results import AreaResult, CandidateResult, FilmResult, RunResult, ScreenResult, StepResult
from qa.screen.needle import NeedleError, read_needle
from qa.screen.picture import frame_from_picture

if TYPE_CHECKING:
    from qa.scenario.batch import Ended


def noise(seed: int, width: int = 64, height: int = 48) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def save(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "shot.png", noise(1))
    return tmp_path


def call(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words], standalone_mode=False)


def status(result: Result) -> Any:
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.return_value


def new(*words: object) -> Any:
    return status(call("needle", "new", *words))


def test_a_needle_is_made_out_of_a_picture(here: Path) -> None:
    areas = ("--area", "1,2,30x20", "--area", "40,2,20x20:90%:colour", "--exclude", "5,5,4x3", "--click", "50,10")
    assert new("menu", "--from", "shot.png", *areas, "--tag", "start", "--tag", "grub", "--workaround", "bug 1") == 0
    needle = read_needle(here / "needles" / "menu.json")
    assert (needle.rgb == noise(1)).all()
    assert (needle.tags, needle.workaround) == (("start", "grub"), "bug 1")
    first, second, third = needle.areas
    assert (first.box, first.wanted, first.metric) == ((1, 2, 30, 20), 0.96, "openqa")
    assert (second.wanted, second.metric, second.click_point) == (0.9, "colour", needle.areas[1].click_point)
    assert (third.type, third.box) == ("exclude", (5, 5, 4, 3))
    assert json.loads((here / "needles" / "menu.json").read_text())["area"][1]["click_point"] == {"xpos": 10, "ypos": 8}
    assert sorted(one.name for one in (here / "needles").iterdir()) == ["menu.json", "menu.png"]
    assert ((here / "needles" / "menu.png").stat().st_mode & 0o777) == ((here / "shot.png").stat().st_mode & 0o777)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--from", "shot.png"], "no area says what must be seen"),
        (["x", "--area", "1,1,2x2"], "there is no picture to make it of"),
        (["x", "--from", "shot.png", "--image", "builtin"], "--from and --image are two pictures"),
        (["x", "--image", "builtin", "--resume", "empty"], "--image and --resume are two pictures"),
        (["x", "--from", "empty", "--step", "1", "--at", "1s"], "--step and --at are two moments"),
        (["x", "--from", "shot.png", "--step", "1"], "--step needs --from RESULTS"),
        (["x", "--image", "builtin", "--at", "1s"], "--at needs --from RESULTS"),
        (["x", "--from", "empty", "--accel", "tcg"], "--accel needs --image IMAGE, or --resume RESULTS"),
        (["x", "--from", "empty", "--on", "vm"], "--on needs --resume RESULTS, or --at"),
        (["x", "--from", "empty", "--at", "soon", "--area", "1,1,2x2"], "soon"),
        (["x", "--resume", "empty", "--area", "1,1,2x2"], "empty"),
        (["x", "--from", "shot.png", "--area", "1,1"], "'1,1' is not an area"),
        (["x", "--from", "shot.png", "--area", "1,1,2x2:101%"], "area[0].match"),
        (["x", "--from", "shot.png", "--area", "60,1,20x2"], "area[0] (60,1 20x2) is not inside its picture of 64x48"),
        (["x", "--from", "shot.png", "--area", "1,1,2x2", "--exclude", "1,1,2x2:90"], "'1,1,2x2:90' is not an area"),
        (["x", "--from", "shot.png", "--area", "1,1,2x2", "--click", "9,9"], "the click point 9,9 is in no area"),
        (["x", "--from", "shot.png", "--area", "1,1,9x9", "--click", "2,2", "--click", "3,3"], "has one already"),
        (["x", "--from", "nothing.png", "--area", "1,1,2x2"], "there is no picture nothing.png"),
        (["x", "--from", "empty", "--area", "1,1,2x2"], "there is no picture in empty"),
        (["../x", "--from", "shot.png", "--area", "1,1,2x2"], "'../x' is no name for a needle"),
        (["x", "--edit"], "there is no picture to make it of"),
    ],
)
def test_what_makes_no_needle_leaves_nothing_behind(here: Path, words: list[str], said: str) -> None:
    (here / "empty").mkdir()
    with pytest.raises(QaError) as caught:
        new(*words)
    assert said in caught.value.message
    assert not (here / "needles").exists()


def test_a_needle_is_not_replaced_by_accident(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,2x2")
    with pytest.raises(UsageError, match=r"there is a needle needles/menu\.json already"):
        new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    assert new("menu", "--from", "shot.png", "--area", "1,1,9x9", "--force") == 0
    assert read_needle(here / "needles" / "menu.json").areas[0].width == 9


def test_a_picture_without_a_needle_is_not_replaced_by_accident(here: Path) -> None:
    save(here / "needles" / "menu.png", noise(2))
    with pytest.raises(UsageError, match=r"there is a picture needles/menu\.png already"):
        new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(2)).all()
    assert new("menu", "--from", "shot.png", "--area", "1,1,9x9", "--force") == 0
    assert (read_needle(here / "needles" / "menu.json").rgb == noise(1)).all()


def test_what_would_change_nothing_on_the_page_is_refused(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    for words, said in (
        (("--tag", "b"), "--tag would"),
        (("--area", "2,2,3x3", "--workaround", ""), "--area and --workaround would"),
        (("--exclude", "2,2,3x3", "--click", "3,3"), "--exclude and --click would"),
    ):
        with pytest.raises(UsageError, match=f"{said} change nothing: there is a needle"):
            new("menu", "--edit", *words)


def test_a_tag_that_is_not_utf8_leaves_nothing_behind(here: Path) -> None:
    with pytest.raises(UsageError, match=r"a text of needles/menu\.json is not UTF-8"):
        new("menu", "--from", "shot.png", "--area", "1,1,9x9", "--tag", "caf\udce9")
    assert not (here / "needles").exists()


def results(folder: Path, *steps: StepResult, outcome: Any = "failed") -> Ended:
    run = ResultsFolder.create(folder, "run")
    when = "2026-01-01T00:00:00Z"
    result = RunResult(
        name="run", script="s", outcome=outcome, exit_status=1, started=when, duration_s=1, steps=list(steps)
    )  # fmt: skip
    run.write_result(result)
    return cast("Ended", SimpleNamespace(folder=run, result=result))


def step(index: str, frame: str, *candidates: CandidateResult, inside: Any = (), note: str = "", **more: Any) -> StepResult:
    screen = ScreenResult(wanted="needle menu", frame=frame, width=64, height=48, candidates=list(candidates), note=note)
    about = {"name": "look", "verb": "assert_screen", "outcome": "failed", "started_s": 0, "duration_s": 0}
    return StepResult(index=index, screen=screen, steps=list(inside), **{**about, **more})


def test_the_picture_is_that_of_the_last_look_of_a_run(here: Path) -> None:
    run = results(
        here / "results", step("1", "shots/a.png"), step("2", "shots/a.png", inside=[step("2.1", "shots/b.png")])
    ).folder
    for number, name in enumerate(("a", "b", "c")):
        save(run.shots / f"{name}.png", noise(number + 10))
    assert new("menu", "--from", run.path, "--area", "1,1,9x9") == 0
    assert (read_needle(here / "needles" / "menu.json").rgb == noise(11)).all()
    run.result_json.unlink()
    new("menu", "--from", run.path, "--area", "1,1,9x9", "--force")
    assert (read_needle(here / "needles" / "menu.json").rgb == noise(12)).all()


def test_the_picture_is_that_of_a_step(here: Path) -> None:
    inside = step("2.1", "shots/b.png")
    shot = step("3", "").model_copy(update={"screen": None, "evidence": ["evidence/x.txt", "shots/c.png"]})
    bare = step("4", "").model_copy(update={"screen": None})
    run = results(here / "results", step("1", "shots/a.png"), step("2", "shots/a.png", inside=[inside]), shot, bare).folder
    for number, name in enumerate(("a", "b", "c")):
        save(run.shots / f"{name}.png", noise(number + 10))
    for index, seed in (("1", 10), ("2.1", 11), ("3", 12)):
        assert new("menu", "--from", run.path, "--step", index, "--area", "1,1,9x9", "--force") == 0
        assert (read_needle(here / "needles" / "menu.json").rgb == noise(seed)).all()
    for index, said in (("4", "step 4 of .* has no picture"), ("9", "there is no step 9 in")):
        with pytest.raises(UsageError, match=said) as caught:
            new("other", "--from", run.path, "--step", index, "--area", "1,1,9x9")
        assert "steps with pictures: 1, 2, 2.1, 3" in (caught.value.hint or "")


def test_the_picture_is_that_of_a_film(here: Path) -> None:
    def film(machine: str) -> FilmResult:
        places = [(0.5, "a", 0, 0, 64, 48), (2.0, "b", 10, 20, 64, 48), (4.0, "c", 0, 0, 80, 60)]
        keys = ("at", "file", "x", "y", "width", "height")
        frames = [dict(zip(keys, (at, f"film/{name}.png", *more), strict=True)) for at, name, *more in places]
        return FilmResult.model_validate({"machine": machine, "seen": 3, "frames": frames})

    ended = results(here / "results", step("1", ""))
    run = ended.folder
    run.write_result(ended.result.model_copy(update={"films": [film("one")]}))
    for name, pixels in (("a", noise(1)), ("b", noise(2, 5, 4)), ("c", noise(3, 80, 60))):
        save(run.path / "film" / f"{name}.png", pixels)
    later = noise(1)
    later[20:24, 10:15] = noise(2, 5, 4)
    for at, expected in (("0", noise(1)), ("1s", noise(1)), ("3s", later), ("1m", noise(3, 80, 60))):
        assert new("menu", "--from", run.path, "--at", at, "--area", "1,1,9x9", "--force") == 0
        assert (read_needle(here / "needles" / "menu.json").rgb == expected).all()
    with pytest.raises(UsageError, match="there is no film of two in"):
        new("menu", "--from", run.path, "--at", "1s", "--on", "two", "--area", "1,1,9x9", "--force")
    run.write_result(ended.result.model_copy(update={"films": [film("one"), film("two")]}))
    with pytest.raises(UsageError, match="several machines have a film"):
        new("menu", "--from", run.path, "--at", "1s", "--area", "1,1,9x9", "--force")
    assert new("menu", "--from", run.path, "--at", "1s", "--on", "two", "--area", "1,1,9x9", "--force") == 0
    (run.path / "film" / "a.png").unlink()
    with pytest.raises(UsageError, match=r"a picture of the film is gone: .*a\.png"):
        new("menu", "--from", run.path, "--at", "1s", "--on", "two", "--area", "1,1,9x9", "--force")


def test_the_film_of_a_branch_is_taken_for_its_time(here: Path) -> None:
    def film(branch: str, seed: int, *times: float) -> FilmResult:
        frames = []
        for number, at in enumerate(times):
            file = f"film/{seed}-{number}.png"
            save(run.path / file, noise(seed + number))
            frames.append({"at": at, "file": file, "x": 0, "y": 0, "width": 64, "height": 48})
        return FilmResult.model_validate({"machine": "vm", "branch": branch, "seen": 2, "frames": frames})

    def ran(index: str, start: float, end: float, inside: Any = ()) -> StepResult:
        return step(index, "", machine="vm", started_s=start, duration_s=end - start, inside=inside, outcome="passed")

    branches = [ran("2.1", 6, 21, [ran("2.1.1", 6, 21)]), ran("2.2", 6, 30, [ran("2.2.1", 6, 30)])]
    ended = results(here / "results", ran("1", 0, 5), ran("2", 5, 30, branches), ran("3", 30, 40))
    run = ended.folder
    films = [film("", 20, 1, 4), film("2.1-upgrade", 30, 6, 20), film("2.2-reboot", 40, 25, 26)]

    def taken(at: str, *more: str, steps: int = 3) -> Any:
        run.write_result(ended.result.model_copy(update={"films": films, "steps": ended.result.steps[:steps]}))
        new("menu", "--from", run.path, "--at", at, "--area", "1,1,9x9", "--force", *more)
        return frame_from_picture(here / "needles" / "menu.png").rgb

    for at, seed in (("4.5s", 21), ("20.5s", 31), ("28s", 41)):  # nothing of the machine's own comes after the branches
        assert (taken(at, steps=2) == noise(seed)).all()
        assert (taken(at, "--on", "vm", steps=2) == noise(seed)).all()
    with pytest.raises(UsageError, match=r"no film shows 5\.5 s") as caught:
        taken("5.5s", steps=2)
    told = "vm (1.0 to 5.0 s), vm-2.1-upgrade (6.0 to 21.0 s), vm-2.2-reboot (25.0 to 30.0 s)"
    assert caught.value.hint == f"take another moment; there are: {told}"
    with pytest.raises(UsageError, match=r"several films show 20\.5 s") as caught:
        taken("20.5s")
    assert caught.value.hint == f"name one with --on; there are: {told.replace('5.0 s', '40.0 s', 1)}"
    for on, seed in (("vm", 21), ("vm-2.1-upgrade", 31)):
        assert (taken("20.5s", "--on", on) == noise(seed)).all()


def test_a_check_without_a_screen_tells_what_is_wrong(here: Path) -> None:
    new("good", "--from", "shot.png", "--area", "1,1,9x9")
    new("bad", "--from", "shot.png", "--area", "1,1,9x9")
    assert status(call("needle", "check", "needles/good.json")) == 0
    (here / "needles" / "bad.png").unlink()
    result = call("needle", "check", "needles")
    assert (status(result), "needles/bad.json: its picture bad.png is not there" in result.output) == (2, True)
    assert "needles/good.json: ok" in result.output
    records = json.loads(call("needle", "check", "needles", "--json").output)
    assert [(one["needle"], bool(one["problems"])) for one in records] == [("bad", True), ("good", False)]


def test_needles_are_run_against_a_saved_screen(here: Path) -> None:
    save(here / "moved.png", np.roll(noise(1), 9, axis=1))
    new("menu", "--from", "shot.png", "--area", "1,1,20x9", "--area", "30,20,15x10")
    new("other", "--from", save(here / "other.png", noise(2)), "--area", "1,1,20x9")
    paths = ("needles/menu.json", "needles/other.json")
    assert status(call("needle", "check", paths[0], "--screen", "moved.png")) == 0
    result = call("needle", "check", *paths[::-1], "--screen", "moved.png", "--json")
    assert status(result) == 1
    other, menu = json.loads(result.output)
    assert menu == {
        "needle": "menu", "matched": True, "error": 0.0,
        "areas": [
            {"x": 10, "y": 1, "w": 20, "h": 9, "similarity": 1.0, "matched": True},
            {"x": 39, "y": 20, "w": 15, "h": 10, "similarity": 1.0, "matched": True},
        ],
    }  # fmt: skip
    assert (other["needle"], other["matched"], other["areas"][0]["matched"]) == ("other", False, False)
    assert other["error"] == pytest.approx((1 - other["areas"][0]["similarity"]) ** 2)
    told = call("needle", "check", *paths, "--screen", "moved.png").output
    assert "menu: matches" in told
    assert "ok  20x9 at 10,1, from 1,1: 100 % alike, 96 % wanted (openqa)" in told
    assert "--search-ratio 1 looks everywhere" in told


def test_a_screen_of_sixteen_bits_with_transparency_is_compared(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,20x9:100%:exact")
    deep = np.full((48, 64, 4), 0x1234, ">u2")
    deep[..., :3] = noise(1).astype(np.uint16) * 256 + 99
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 64, 48, 16, 6, 0, 0, 0)
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    ]
    (here / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    result = call("needle", "check", "needles/menu.json", "--screen", "deep.png")
    assert (status(result), "100 % alike" in result.output) == (0, True)


def test_excluded_areas_are_no_part_of_the_list(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,20x9", "--exclude", "3,3,4x4")
    check = ("needle", "check", "needles/menu.json", "--screen", "shot.png")
    (menu,) = json.loads(call(*check, "--json").output)
    assert [area["x"] for area in menu["areas"]] == [1]
    assert "      4x4 at 3,3: left out" in call(*check).output.splitlines()


def test_what_differs_in_one_pixel_is_not_told_as_alike(here: Path) -> None:
    new("menu", "--from", save(here / "wide.png", noise(1, 800, 600)), "--area", "0,0,800x600:100%:exact")
    changed = noise(1, 800, 600)
    changed[300, 300, 0] ^= 1
    save(here / "seen.png", changed)
    result = call("needle", "check", "needles/menu.json", "--screen", "seen.png")
    assert status(result) == 1
    assert "no  800x600 at 0,0: 99.9 % alike, 100 % wanted (exact)" in result.output


def test_a_text_that_cannot_be_read_is_told_with_its_needle(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_frame(_: Any, **__: Any) -> Any:
        return SimpleNamespace(text="", note="no tesseract", hint="install it", failed=True)

    monkeypatch.setattr("qa.screen.text.read_frame", read_frame)
    new("menu", "--from", "shot.png", "--area", "1,1,20x9")
    new("text", "--from", "shot.png", "--area", "1,1,20x9")
    path = here / "needles" / "text.json"
    data = json.loads(path.read_text())
    text = {"xpos": 9, "ypos": 9, "width": 9, "height": 9, "type": "ocr", "refstr": "OK"}
    path.write_text(json.dumps({**data, "area": [*data["area"], text]}))
    check = ("needle", "check", "needles", "--screen", "shot.png")
    result = call(*check, "--json")
    menu, unread = json.loads(result.output)
    assert (status(result), menu["matched"], unread["matched"], unread["problems"]) == (3, True, False, ["no tesseract"])
    assert (unread["error"], [area["similarity"] for area in unread["areas"]]) == (0.0, [1.0, None])
    assert "  no tesseract -> install it" in call(*check).output.splitlines()


def test_of_many_needles_that_are_compared_few_are_in_memory_at_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[weakref.ref[Any]] = []
    most = 0

    def reading(path: Path) -> Any:
        nonlocal most
        needle = read_needle(path)
        seen.append(weakref.ref(needle))
        most = max(most, sum(one() is not None for one in seen))
        return needle

    for number in range(6):
        new(f"menu-{number}", "--from", "shot.png", "--area", "1,1,20x9")
    monkeypatch.setattr("qa.screen.needle.read_needle", reading)
    assert status(call("needle", "check", "needles", "--screen", "shot.png")) == 0
    assert len(seen) == 6
    assert most <= 3  # one that is read, the one before it, and what a thread has not let go yet


def test_a_search_ratio_looks_further(here: Path) -> None:
    save(here / "wide.png", np.zeros((48, 400, 3), np.uint8) + np.pad(noise(1), ((0, 0), (300, 36), (0, 0))))
    new("menu", "--from", "shot.png", "--area", "1,1,20x9")
    check = ("needle", "check", "needles/menu.json", "--screen", "wide.png")
    assert [status(call(*check, *more)) for more in ((), ("--search-ratio", "0.02"), ("--search-ratio", "1"))] == [1, 1, 0]
    with pytest.raises(UsageError, match="--search-ratio needs --screen"):
        status(call(*check[:3], "--search-ratio", "1"))


def test_a_broken_needle_or_screen_is_bad_input(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,20x9")
    result = call("needle", "check", "needles/menu.json", "needles/none.json", "--screen", "shot.png", "--json")
    assert status(result) == 2
    menu, none = json.loads(result.output)
    assert (menu["matched"], none["matched"], none["problems"]) == (True, False, ["there is no needle needles/none.json"])
    (here / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"broken\.png is not a PNG picture"):
        status(call("needle", "check", "needles/menu.json", "--screen", "broken.png"))
    with pytest.raises(UsageError, match="no needle was given"):
        status(call("needle", "check"))


class Person(threading.Thread):
    """Somebody in front of the page: sends what it is told to once the page is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *requests: tuple[str, str, Any]) -> None:
        super().__init__(daemon=True)
        self.requests, self.answers = requests, list[tuple[int, bytes]]()
        self.server: Any = None
        serve = needle_page.PageServer.serve_forever

        def serving(server: Any, *words: Any) -> None:
            self.server = server
            self.start()
            serve(server, *words)

        monkeypatch.setattr(needle_page.PageServer, "serve_forever", serving)

    def run(self) -> None:
        for method, path, body in self.requests:
            connection = http.client.HTTPConnection(self.server.host, timeout=30)
            headers = {"Host": "evil.example"} if method == "EVIL" else {}
            where = path.replace("PAGE/", self.server.path)
            sent = None if body is None else json.dumps(body)
            connection.request("GET" if method == "EVIL" else method, where, sent, headers)
            answer = connection.getresponse()
            self.answers.append((answer.status, answer.read()))


DRAWN = {
    "area": [{"xpos": 3, "ypos": 4, "width": 10, "height": 8, "type": "match", "match": 99}],
    "tags": ["drawn"],
    "properties": [],
}


def test_areas_are_drawn_on_a_page_that_ends_with_saving(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = {**DRAWN, "area": [{**DRAWN["area"][0], "xpos": 60}]}  # type: ignore[dict-item]
    person = Person(
        monkeypatch,
        ("GET", "PAGE/", None), ("GET", "PAGE/screen.png", None), ("GET", "/", None), ("EVIL", "PAGE/", None),
        ("GET", "PAGE/../needles", None), ("POST", "PAGE/save", outside), ("POST", "PAGE/save", []), ("POST", "/save", DRAWN),
        ("POST", "PAGE/save", DRAWN),
    )  # fmt: skip
    result = call("needle", "new", "menu", "--from", "shot.png", "--tag", "</script>", "--edit")
    assert status(result) == 0
    person.join(30)
    assert [code for code, _ in person.answers] == [200, 200, 404, 404, 404, 422, 422, 404, 200]
    page = person.answers[0][1].decode()
    assert page.count("</script>") == 1
    assert re.search(r'const needle = \{"name": "menu", "width": 64, "height": 48', page)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert b"is not inside its picture" in person.answers[5][1]
    assert (np.asarray(Image.open(here / "needles" / "menu.png")) == noise(1)).all()
    assert json.loads((here / "needles" / "menu.json").read_text()) == DRAWN
    assert re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", result.stderr)


def test_a_needle_that_is_there_is_edited_and_keeps_its_picture(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    path = here / "needles" / "menu.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "of another tool": 1}))
    before = (here / "needles" / "menu.png").stat()
    person = Person(monkeypatch, ("GET", "PAGE/", None), ("POST", "PAGE/save", DRAWN))
    assert new("menu", "--edit") == 0
    person.join(30)
    assert '"of another tool": 1' in person.answers[0][1].decode()
    assert json.loads(path.read_text()) == DRAWN
    assert (here / "needles" / "menu.png").stat() == before


def test_what_cannot_be_written_is_told_on_the_page_which_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "full").write_text("no folder")
    person = Person(monkeypatch, ("POST", "PAGE/save", DRAWN))
    once = person.run

    def run() -> None:
        once()
        (here / "full").unlink()
        once()

    monkeypatch.setattr(person, "run", run)
    assert new("menu", "--from", "shot.png", "--dir", "full/needles", "--edit") == 0
    person.join(30)
    (refused, why), (accepted, _) = person.answers
    assert (refused, accepted) == (422, 200)
    assert b"cannot write full/needles/menu.png: Not a directory" in why
    assert json.loads((here / "full" / "needles" / "menu.json").read_text()) == DRAWN


@pytest.mark.parametrize("begun", [False, True])
def test_giving_up_does_not_cut_off_what_is_being_written(here: Path, monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    holding = threading.Event()

    def save_slowly(server: Any) -> None:
        with server.saving:
            holding.set()
            time.sleep(0.2)
            server.save(DRAWN)
            server.drawn = DRAWN

    def serve(server: Any) -> None:
        if begun:
            threading.Thread(target=save_slowly, args=(server,), daemon=True).start()
            assert holding.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(needle_page.PageServer, "serve_forever", serve)
    if begun:
        assert new("menu", "--from", "shot.png", "--edit") == 0
        assert json.loads((here / "needles" / "menu.json").read_text()) == DRAWN
    else:
        with pytest.raises(Interrupted, match="nothing was saved"):
            new("menu", "--from", "shot.png", "--edit")
        assert not (here / "needles").exists()


class Shown(webbrowser.BaseBrowser):
    """A browser that ends when the page has been saved in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.pages: list[bytes] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Look at the page, and save."""
        save = urllib.request.Request(f"{url}save", json.dumps(DRAWN).encode())
        self.pages += [urllib.request.urlopen(one, timeout=9).read() for one in (url, save)]
        return True


def test_a_browser_that_is_waited_for_shows_the_page(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Shown("firefox")
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    monkeypatch.setattr(webbrowser, "open", browser.open)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    frame = frame_from_picture(here / "shot.png")
    drawn: list[Any] = []
    needle_page.draw("menu", {"area": []}, frame, drawn.append)
    assert drawn == [DRAWN]
    assert browser.pages[0].startswith(b"<!doctype html>")


@pytest.mark.parametrize("name", ["w3m", "/usr/bin/lynx", "elinks"])
def test_a_browser_that_shows_text_only_is_not_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    kind = webbrowser.Elinks if name == "elinks" else webbrowser.GenericBrowser
    monkeypatch.setattr(kind, "open", lambda _, url, *__: opened.append(url))
    monkeypatch.setattr(webbrowser, "get", lambda: kind(name))
    needle_page._open("http://127.0.0.1/")
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("wslview"))
    monkeypatch.setattr(webbrowser.GenericBrowser, "open", lambda _, url, *__: opened.append(url))
    needle_page._open("http://127.0.0.1/seen")
    assert opened == ["http://127.0.0.1/seen"]


def test_a_browser_that_goes_away_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    ended = threading.Event()

    class Server(needle_page.PageServer):
        def shutdown_request(self, request: Any) -> None:
            super().shutdown_request(request)
            ended.set()

    server = Server(b"", bytes(32 << 20), lambda _: None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_connection(("127.0.0.1", server.server_address[1])) as browser:
        browser.sendall(f"GET {server.path}screen.png HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        browser.recv(100)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # cut off, not ended
    assert ended.wait(30)
    server.shutdown()
    server.server_close()
    assert capfd.readouterr().err == ""
    try:
        raise LookupError("ours")
    except LookupError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert "LookupError: ours" in capfd.readouterr().err


def candidate(here: Path, run: str, *, matched: bool = False) -> CandidateResult:
    box = {"x": 1, "y": 1, "width": 9, "height": 9, "from_x": 1, "from_y": 1}
    area = AreaResult(kind="match", **box, similarity=0.5, wanted=0.96, matched=matched, metric="openqa")
    source, picture = str(here / "needles" / "menu.png"), f"needles/{run}.png"
    return CandidateResult(needle="menu", source=source, picture=picture, matched=matched, error=0.25, areas=[area])


def failed(here: Path, seen: Any, *, matched: bool = False, **more: Any) -> Ended:
    ended = results(here / "results", step("1", "shots/seen.png", candidate(here, "menu", matched=matched), **more))
    save(ended.folder.path / "shots" / "seen.png", seen)
    return ended


def test_a_changed_screen_is_accepted_as_the_new_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    json_before = (here / "needles" / "menu.json").read_bytes()
    accept.offer([failed(here, noise(7))], yes=True)
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(7)).all()
    assert (here / "needles" / "menu.json").read_bytes() == json_before
    said = capsys.readouterr().err
    assert "run, step 1 (look): menu was not seen" in said
    assert "area 9x9 at 1,1: 50 % alike, 96 % wanted" in said
    assert "1 needle changed" in said


def test_no_picture_is_offered_for_a_text_that_differs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    seen = candidate(here, "menu", matched=True)
    text = seen.areas[0].model_copy(update={"kind": "text", "matched": False, "text": "Goodbye"})
    read = seen.model_copy(update={"matched": False, "areas": [seen.areas[0], text]})
    ended = results(here / "results", step("1", "shots/seen.png", read))
    save(ended.folder.path / "shots" / "seen.png", noise(7))
    accept.offer([ended], yes=True)
    said = capsys.readouterr().err
    assert "area 9x9 at 1,1: 50 % alike, 96 % wanted, read 'Goodbye'" in said
    assert f"not changed: only its text differs, which no picture changes -> change refstr in {here}/needles/menu.json" in said
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(1)).all()
    accept.offer([ended, failed(here, noise(8))], yes=True)  # the other screen is one to take
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(8)).all()


@pytest.mark.parametrize(("answer", "changed"), [(True, True), (False, False)])
def test_the_person_is_asked(here: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, changed: bool) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    asked = []
    monkeypatch.setattr("click.confirm", lambda text, **more: (asked.append((text, more["default"])), answer)[1])
    accept.offer([failed(here, noise(7)), failed(here, noise(8))], yes=False)  # two runs of one script: one question
    assert asked == [("take the screen as the new menu.png?", False)]
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(7 if changed else 1)).all()


def test_what_may_fail_is_not_accepted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    probe = failed(here, noise(7), allowed_failure=True)
    inside = results(here / "results", step("1", "", inside=probe.result.steps, allowed_failure=True))
    accept.offer([probe, inside], yes=True)
    assert "no step has looked for a needle in vain" in capsys.readouterr().err
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(1)).all()


def test_a_screen_that_shows_nothing_is_taken_only_by_a_person_who_was_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    black = failed(here, noise(7) * 0, note="all black")
    accept.offer([black], yes=True)
    assert "not changed: the screen is no picture to compare with: all black" in capsys.readouterr().err
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(1)).all()
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    accept.offer([black], yes=False)
    assert "seen.png (all black)" in capsys.readouterr().err
    assert not frame_from_picture(here / "needles" / "menu.png").rgb.any()


def test_another_size_of_the_screen_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    accept.offer([failed(here, noise(7, 80, 60))], yes=True)
    said = capsys.readouterr().err
    assert "it has 80x60 pixels; the needle was made at 64x48" in said
    assert "1 needle changed" in said


def test_what_passed_or_does_not_fit_is_not_accepted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    accept.offer([failed(here, noise(7), matched=True), failed(here, noise(8), outcome="passed")], yes=True)
    assert "no step has looked for a needle in vain" in capsys.readouterr().err
    accept.offer([failed(here, noise(7, 9, 9))], yes=True)
    assert "not changed: " in capsys.readouterr().err
    assert (frame_from_picture(here / "needles" / "menu.png").rgb == noise(1)).all()


def test_accept_needs_a_terminal_or_an_explicit_yes() -> None:
    with pytest.raises(UsageError, match="no terminal to ask at"):
        accept.check_options(True, False)
    with pytest.raises(UsageError, match="--yes needs --accept"):
        accept.check_options(False, True)
    accept.check_options(True, True)
    accept.check_options(False, False)


def test_a_needle_cannot_be_read_half_written(here: Path) -> None:
    new("menu", "--from", "shot.png", "--area", "1,1,9x9")
    (here / "needles" / "menu.png").unlink()
    with pytest.raises(NeedleError):
        new("menu", "--edit")
