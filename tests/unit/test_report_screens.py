"""Screens, needles and films in the page, as far as they can be judged without a browser."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from PIL import Image, ImageChops, ImageStat
from test_report_html import Page, html

from qa.report.alike import told_alike
from qa.report.comparison import screen_text, summary_of
from qa.report.content import flatten
from qa.report.film_view import make_films
from qa.report.folder import ResultsFolder
from qa.report.pictures import Album
from qa.report.screen_view import screen_view
from qa.report.text import line_text
from qa.report.view import make_page
from qa.scenario.results import CandidateResult, FilmResult, ScreenResult, StepResult
from qa.screen.telling import percent, worst


def candidate(*areas: Any, **more: Any) -> CandidateResult:
    fields = {"needle": "x", "source": "x.png", "picture": "", "matched": False, "error": 0.1}
    return CandidateResult(**{**fields, "areas": list(areas), **more})


@pytest.mark.parametrize(
    ("similarity", "told"),
    [(1.0, "100 %"), (0.9599, "95.9 %"), (0.96, "96 %"), (0.29, "29 %"), (0.0, "0 %"), (0.9999979, "99.9 %")],
)
def test_what_does_not_match_never_looks_as_if_it_did(similarity: float, told: str) -> None:
    assert percent(similarity) == told


def test_a_needle_is_summed_up() -> None:
    good, bad, out = samples.area(0, 0, 9, 9, 0.99), samples.area(0, 0, 9, 9, 0.5), samples.area(0, 0, 9, 9, None, kind="exclude")
    assert summary_of(candidate(good, bad, out)) == "1 of 2 areas differs, the worst is 50 % alike"
    assert summary_of(candidate(bad, bad)) == "2 of 2 areas differ, the worst is 50 % alike"
    assert summary_of(candidate(bad)) == "its area is 50 % alike, 96 % wanted"
    assert summary_of(candidate(good, good)) == "all 2 areas match, the worst is 99 % alike"
    assert summary_of(candidate(good)) == "its area is 99 % alike"
    assert summary_of(candidate(out)) == "it has no area that is compared"
    assert summary_of(candidate()) == "it has no area that is compared"


def test_what_was_not_read_is_neither_the_worst_nor_alike() -> None:
    bad, unread = samples.area(0, 0, 9, 9, 0.5, number=3), samples.area(0, 20, 9, 9, None, kind="text", matched=False, number=1)
    assert summary_of(candidate(unread, bad)) == "its area is 50 % alike, 96 % wanted"
    assert summary_of(candidate(unread)) == "its text was not read"
    screen = ScreenResult(wanted="x", frame="", width=50, height=50, candidates=[candidate(unread, bad)])
    assert screen_text(screen).splitlines()[1:] == [
        "1 9x9 at 0,20: not read",
        "3 9x9 at 0,0: 50 % alike, differs, 96 % wanted",
    ]
    (view,) = screen_view(screen, "a", album()).candidates
    assert [(one.number, one.word, one.percent, one.box.tone) for one in view.areas] == [
        (3, "differs", "50 %", "bad"), (1, "not read", "", "quiet"),
    ]  # fmt: skip
    assert (view.alike, view.start) == ("50 %", 9)


def test_a_tile_that_differs_is_told_and_drawn() -> None:
    tile = {"x": 32, "y": 8, "width": 16, "height": 16, "similarity": 0.25, "wanted": 0.8}
    bad = samples.area(20, 0, 90, 90, 0.99, from_x=10, matched=False, worst_tile=tile)
    assert summary_of(candidate(bad)) == "its area is 99 % alike, 96 % wanted; its worst tile 25 %, 80 % wanted"
    assert summary_of(candidate(bad, bad)) == "2 of 2 areas differ, the worst is 25 % alike"
    other = samples.area(0, 0, 9, 9, 0.5)
    assert worst([other, bad]) is bad
    screen = ScreenResult(wanted="x", frame="", width=200, height=100, candidates=[candidate(bad)])
    (view,) = screen_view(screen, "a", album()).candidates
    assert (view.alike, view.areas[0].tile) == ("25 %", "its worst tile 25 %, 80 % wanted")
    shown, drawn = view.boxes  # an area that differs is shown where it should have been, and its tile with it
    assert (shown.x, drawn.x, drawn.y, drawn.label) == (10, 22, 8, "25 %")


def test_failures_are_grouped_by_what_they_complained_of(tmp_path: Path) -> None:
    def failing(number: int, code: int, stderr: str) -> StepResult:
        output = samples.command("check", code, f"checking {number}\n", stderr)
        detail = f"exit code {code}, expected 0"
        return samples.step(str(number), f"check {number}", 0, 1, outcome="failed", detail=detail, command=output)

    steps = [failing(1, 1, "No space left on device\n")]
    steps += [failing(number, 1, f"trying\n\x1b[31m10.0.2.{number}: refused\x1b[0m\n\n") for number in range(2, 9)]
    steps += [failing(9, 2, "10.0.2.9: refused\n"), failing(10, 1, "no space left on /dev/vda1\n"), failing(11, 1, "")]
    steps += [failing(12, 1, "No space left on device\n")]
    page = make_page(folder := samples.folder(tmp_path, samples.run("x", "failed", 1, steps)), folder.read_result())
    assert [([step.index for step in way.steps], way.steps[0].said, way.same) for way in page.others] == [
        (["12"], "No space left on device", True),
        (["2", "3", "4", "5", "6", "7", "8"], "10.0.2.2: refused", False),
        (["9"], "10.0.2.9: refused", False),
        (["10"], "no space left on /dev/vda1", False),
        (["11"], "checking 11", False),
    ]
    text = Page(html(folder)).text
    assert "11 more failed, in 5 ways" in text
    assert "11 more failed, 1 of them in the same way" in text


def told(page: Any, index: str) -> list[str]:
    texts = next(step for step in page.steps if step.index == index).texts
    return [line_text(line) for text in texts if text.title == "console at this moment" for line in text.head]


def test_a_look_has_the_console_beside_it_as_it_was_at_that_moment(tmp_path: Path) -> None:
    log = b"".join(b"[%5d] line\r\n" % number for number in range(3000)) + b"login: root\r\n\xff\x1b[31mwelcome\x1b[0m\r\n"
    welcome, prompt = len(log), log.index(b"root")
    moments = [(1.0, 14 * 100), (2.0, prompt), (5.0, welcome)]
    two = [samples.machine(console_moments=moments), samples.machine(branch="4-left", console="fork.log", console_moments=[])]
    made = samples.folder(tmp_path, samples.run("x", "passed", 0, [], machines=two), log)
    seen = {"screen": samples.looked(made, "x", samples.desktop())}
    steps = [
        samples.step("1", "early", 0.0, 0.5, **seen),
        samples.step("2", "at the prompt", 1.0, 1.5, **seen),
        samples.step("3", "behind it", 6.0, 1.0, **seen),
        samples.step("4", "branches", 7.0, 1.0, steps=[samples.step("4.1", "in a branch", 7.0, 1.0, **seen)]),
        samples.step("5", "no look", 8.0, 1.0),
    ]
    (made.path / "fork.log").write_bytes(b"of the fork\r\n")
    films = [samples.boot_film(made, samples.desktop())]
    page = make_page(made, samples.run("x", "passed", 0, steps, machines=two, films=films))
    assert told(page, "1") == []  # nothing had been printed
    assert told(page, "2") == [f"[{number:5}] line" for number in range(2993, 3000)] + ["login:"]
    assert told(page, "3")[-3:] == ["[ 2999] line", "login: root", "\ufffdwelcome"]
    assert told(page, "4.1") == []  # when its console said what is not known, and the other's is none of its
    assert told(page, "5") == []
    (film,) = page.films
    by_time = {frame.at: film.consoles[frame.console] for frame in film.frames}
    assert by_time["400 ms"] == ""
    assert by_time["1.0 s"].endswith("[   99] line")
    assert by_time["2.0 s"].endswith("login:")
    assert by_time["8.0 s"].endswith("\ufffdwelcome")
    assert len(film.consoles) == 4


def test_failures_in_the_same_way_are_counted(tmp_path: Path) -> None:
    assert "39 more failed, all in the same way" in Page(html(samples.forty_needles(tmp_path))).text
    seen = ScreenResult(wanted="x", frame="", width=9, height=9, candidates=[candidate(needle="menu"), candidate(needle="x")])
    menu = samples.step("1", "x", 0, 1, outcome="timeout", detail="not within 30 s", screen=seen)
    also = samples.step("2", "x", 0, 1, outcome="failed", detail="not there", screen=seen)
    other = samples.step("3", "x", 0, 1, outcome="failed", detail="exit code 1")
    assert told_alike(menu, [also, other]) == "2 more failed, 1 of them in the same way"
    assert told_alike(menu, [other]) == "1 more failed in other ways"
    assert told_alike(other, [other]) == "1 more failed, all in the same way"
    assert told_alike(menu, []) == ""


def test_the_worst_area_is_the_one_that_lacks_most_of_what_is_wanted_of_it(tmp_path: Path) -> None:
    lax, strict = samples.area(0, 0, 10, 10, 0.4, wanted=0.5), samples.area(100, 0, 10, 10, 0.6, wanted=0.99)
    screen = ScreenResult(wanted="x", frame="", width=210, height=100, candidates=[candidate(lax, strict)])
    view = screen_view(screen, "a", album())
    assert view.candidates[0].alike == "60 %"
    assert view.candidates[0].start == 50  # 105 of 210 pixels


def album() -> Album:
    return Album({})


def test_what_differs_comes_first_and_has_its_close_ups_at_both_places(tmp_path: Path) -> None:
    page = make_page(folder := samples.needle_differs(tmp_path), folder.read_result())
    screen = page.steps[2].screen
    assert screen
    best = screen.candidates[0]
    assert [area.number for area in best.areas] == [2, 1, 3, 4]
    assert (best.dx, best.dy) == (3, 0)
    assert best.areas[0].close == "681 438 144 64"
    assert best.areas[0].expected == "678 438 144 64"
    assert [area.close for area in best.areas[1:]] == ["", "", ""]
    assert best.areas[0].moved == "moved by 3,0"


def test_what_is_like_an_area_by_chance_elsewhere_does_not_move_the_needle() -> None:
    gone = samples.area(8, 112, 400, 32, 0.72, from_x=0, from_y=160)
    view = screen_view(ScreenResult(wanted="x", frame="", width=800, height=600, candidates=[candidate(gone)]), "a", album())
    best = view.candidates[0]
    assert (best.dx, best.dy) == (0, 0)
    assert (best.areas[0].box.x, best.areas[0].box.y) == (0, 160)
    assert best.areas[0].close == best.areas[0].expected
    assert best.areas[0].moved == "most alike at 8,112"


def test_a_picture_that_is_drawn_often_is_in_the_page_once(tmp_path: Path) -> None:
    text = html(samples.forty_needles(tmp_path))
    page = Page(text)
    sheets = page.all("image")
    assert len(sheets) == 2 + 2 + 40  # two needles, the frames of steps that passed, and of those that failed
    used = {one["href"][1:] for one in page.all("use")}
    assert used == {one["id"] for one in sheets}


def test_the_last_frame_is_not_shown_beside_the_same_picture(tmp_path: Path) -> None:
    folder = samples.needle_differs(tmp_path)
    assert make_page(folder, folder.read_result()).steps[2].shots == []
    Image.new("RGB", (9, 9), "red").save(folder.shots / "step-3-failed.png")
    assert [shot.name for shot in make_page(folder, folder.read_result()).steps[2].shots] == ["shots/step-3-failed.png"]


def test_missing_pictures_are_told_and_the_figures_stay(tmp_path: Path) -> None:
    folder = samples.needle_differs(tmp_path)
    (folder.path / "needles" / "login-window.png").unlink()
    (folder.path / "shots" / "step-3-seen.png").write_bytes(b"no picture")
    text = Page(html(folder)).text
    assert "The needle's picture is not shown here." in text
    assert "shots/step-3-seen.png is not shown here" in text
    assert "73.1 %" in text


def test_a_hostile_needle_is_text(tmp_path: Path) -> None:
    folder = samples.needle_differs(tmp_path)
    result = folder.read_result()
    screen = result.steps[2].screen
    assert screen
    evil = '"><script>alert(1)</script>'
    screen.candidates[0].needle = screen.candidates[0].areas[0].text = screen.note = screen.wanted = evil
    screen.candidates[0].workaround, screen.candidates[0].picture = evil, "../../../../etc/passwd"
    result.films[0].machine = result.films[0].frames[3].note = evil
    folder.write_result(result)
    page = Page(html(folder))
    assert len(page.all("script")) == 1
    assert "root:" not in page.text


def film_page(folder: ResultsFolder, budget: int = 8 << 20) -> Any:
    result = folder.read_result()
    flats = list(flatten(result.steps))
    return make_films(folder, result, flats, {flat.step.index: ("passed", "good") for flat in flats}, {}, budget=budget)


def test_each_step_has_its_moment_in_the_film_of_its_machine(tmp_path: Path) -> None:
    films = film_page(samples.restless(tmp_path))
    assert films.moments == {"1": (1, 0), "2": (2, 10)}
    assert [view.title for view in films.views] == ["db", "web"]
    assert films.views[1].marks == [100.0]
    assert films.views[1].frames[3].step == "2 wait_for_still_screen"


def test_another_size_of_the_screen_is_named_when_it_comes(tmp_path: Path) -> None:
    frames = film_page(samples.needle_differs(tmp_path)).views[0].frames
    assert [frame.note for frame in frames[:3]] == ["", "the screen is 1280x800 now", ""]


def test_a_film_of_a_branch_shows_the_steps_of_that_branch(tmp_path: Path) -> None:
    steps = [samples.step(index, "x", number * 1.0, 1.0) for number, index in enumerate(("1", "2.1.1", "2.2.1", "2.11.1"))]
    folder = samples.folder(tmp_path, samples.run("x", "passed", 0, steps))
    pictures = [(0.0, samples.desktop()), (9.0, samples.desktop("Stop"))]
    film = samples.filmed(folder, pictures, branch="2.1-upgrade")
    folder.write_result(samples.run("x", "passed", 0, steps, films=[film]))
    assert set(film_page(folder).moments) == {"2.1.1"}


def test_a_film_that_is_too_large_is_shown_smaller_with_fewer_pictures(tmp_path: Path) -> None:
    folder = samples.restless(tmp_path)
    whole = film_page(folder)
    size = sum(len(frame.url) for view in whole.views for frame in view.frames)
    films = film_page(folder, size // 4)
    assert all(frame.url.startswith("data:image/jpeg") for frame in films.views[1].frames)
    assert all((frame.x, frame.y, frame.width, frame.height) == (0, 0, 1280, 800) for frame in films.views[1].frames)
    assert len(films.views[1].frames) < len(whole.views[1].frames)
    assert films.moments["2"] == (2, len(films.views[1].frames) - 1)
    assert "shown smaller" in films.views[1].note
    last = base64.b64decode(films.views[1].frames[-1].url.partition(",")[2])
    with Image.open(io.BytesIO(last)) as small:
        expected = samples.desktop(user="x" * 11).resize(small.size)
        assert ImageStat.Stat(ImageChops.difference(small.convert("RGB"), expected)).mean[0] < 4


@pytest.mark.parametrize("broken", ["missing", "no picture", "outside", "huge"])
def test_a_film_that_cannot_be_read_is_left_out(tmp_path: Path, broken: str) -> None:
    folder = samples.restless(tmp_path)
    result = folder.read_result()
    frame = result.films[0].frames[1]
    if broken == "missing":
        (folder.path / frame.file).unlink()
    elif broken == "no picture":
        (folder.path / frame.file).write_bytes(b"x")
    elif broken == "outside":
        frame.file = "../../../../../etc/passwd"
    else:
        frame.width = 1 << 20
        frame.height = 1 << 20
    folder.write_result(result)
    films = film_page(folder)
    assert [view.title for view in films.views] == ["web"]
    assert films.moments == {"2": (1, 10)}
    assert "Film" in Page(html(folder)).text


def test_a_run_without_films_has_no_place_for_them(tmp_path: Path) -> None:
    text = html(samples.passed(tmp_path))
    assert not re.search(r'<section id="film"', text)
    assert FilmResult(machine="x", seen=0, file="", frames=[]).frames == []


def test_the_label_of_each_area_is_inside_the_picture(tmp_path: Path) -> None:
    folder = samples.folder(tmp_path, samples.run("x", "failed", 1, []))
    areas = [samples.area(0, 0, 1280, 800, 0.5), samples.area(0, 0, 100, 780, 0.5)]
    areas += [samples.area(0, 0, 100, 50, 0.5), samples.area(0, 700, 100, 100, 0.5)]
    candidate = samples.needle(folder, "whole-screen", samples.desktop(), areas)
    seen = samples.looked(folder, "step-1", samples.desktop("Cancel"), candidates=[candidate])
    folder.write_result(samples.run("x", "failed", 1, [samples.step("1", "look", 0, 1, outcome="failed", screen=seen)]))
    labels = Page(html(folder)).all("text")
    letter = float(labels[0]["font-size"])
    heights = sorted({float(one["y"]) for one in labels})
    assert heights == pytest.approx([letter, 50 + letter, 700 - letter * 0.35])  # inside, below and above


def test_what_was_read_is_told_for_areas_of_text() -> None:
    text = samples.area(0, 0, 9, 9, 0.5, kind="text", text="annna")
    screen = ScreenResult(wanted="x", frame="", width=9, height=9, note="all black", candidates=[candidate(text)])
    assert screen_text(screen).splitlines() == [
        "all black",
        "x: its area is 50 % alike, 96 % wanted",
        "1 9x9 at 0,0: 50 % alike, differs, 96 % wanted, reads 'annna'",
    ]
