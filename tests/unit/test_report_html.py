"""The page, as far as it can be judged without a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from PIL import Image

from qa.report.folder import ResultsFolder
from qa.report.good_run import links_to_last_good
from qa.report.html import render_html
from qa.report.pictures import MAX_PICTURES, make_album
from qa.scenario.batch import folder_name

VOID = {"meta", "link", "img", "input", "rect"}


class Page(HTMLParser):
    """Elements, texts, and whether all of it is closed in the right order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def html(folder: ResultsFolder) -> str:
    return render_html(folder, folder.read_result())


@pytest.mark.parametrize("sample", samples.ALL)
def test_the_page_is_one_well_formed_file_that_loads_nothing(tmp_path: Path, sample: samples.Sample) -> None:
    text = html(sample(tmp_path))
    page = Page(text)
    assert {one["src"].partition(":")[0] for one in page.all("img") if "src" in one} <= {"data"}
    assert [one for one in page.all("link") if one["rel"] != "icon"] == []
    assert all(one["href"].startswith(("#", "./")) for one in page.all("a"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {one["href"][1:] for one in page.all("a") if one["href"].startswith("#")}
    assert targets <= set(ids)
    assert "style" not in {name for _, attributes in page.elements for name in attributes}


def test_the_policy_allows_exactly_the_pages_own_script_and_style(tmp_path: Path) -> None:
    text = html(samples.hostile(tmp_path))
    policy = next(one["content"] for one in Page(text).all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    for tag in ("script", "style"):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(contents) == 1
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_hostile_output_is_text_of_a_bounded_size(tmp_path: Path) -> None:
    text = html(samples.hostile(tmp_path))
    page = Page(text)
    assert len(text) < 300_000
    assert len(page.all("script")) == 1
    assert not [one for one in page.all("img") if "onerror" in one]
    assert "</script><script>document.title='owned'" in page.text
    assert not re.search("[\x00\x1b\u202e]", text)
    assert "bytes left out here" in page.text
    assert "root:" not in text
    assert "evidence is missing: ../../../../../../etc/passwd" in page.text


def test_the_first_failure_comes_before_everything_else(tmp_path: Path) -> None:
    text = Page(html(samples.failed_command(tmp_path))).text
    positions = [text.index(part) for part in ("Step 3: the page is there", "exit code 22, expected 0", "returned error: 404")]
    positions += [text.index("nginx: 404 /hello"), text.index("Accelerator"), text.index("Screens"), text.index("only failures")]
    assert positions == sorted(positions)


def test_the_step_that_ended_the_run_is_the_first_failure(tmp_path: Path) -> None:
    steps = [
        samples.step("1", "a check", 0, 1, outcome="failed", detail="exit code 1, expected 0"),
        samples.step("2", "another", 1, 1, outcome="error", detail="the guest's kernel panicked"),
    ]
    folder = samples.folder(tmp_path, samples.run("x", "error", 4, steps, reason="the guest's kernel panicked"))
    text = Page(html(folder)).text
    assert text.index("Step 2: another") < text.index("a check")
    assert "1 more failed" in text


def test_a_run_that_ended_outside_a_step_shows_its_last_frame_and_console(tmp_path: Path) -> None:
    page = Page(html(samples.timed_out(tmp_path)))
    assert "The run ended outside a step" in page.text
    assert "grub rescue>" in page.text
    assert [one["href"] for one in page.all("a") if one.get("class") == "shot"] == ["./shots/last-frame.png"]


def test_consoles_keep_their_colours_and_lose_their_escapes(tmp_path: Path) -> None:
    text = html(samples.panic(tmp_path))
    assert re.search(r'<span class="c1">\[   14\.000001\] Kernel panic', text)


def test_a_big_console_has_its_head_and_its_tail(tmp_path: Path) -> None:
    steps = [samples.step("1", "boot", 0, 1)]
    console = b"the very first line\r\n" + b"something between\r\n" * 500_000 + b"the very last line\r\n"
    text = html(samples.folder(tmp_path, samples.run("x", "passed", 0, steps), console))
    assert "the very first line" in text
    assert "the very last line" in text
    assert "the file has all of them" in text
    assert len(text) < 600_000


def test_every_step_machine_and_stage_is_there(tmp_path: Path) -> None:
    folder = samples.nested(tmp_path)
    page = Page(html(folder))
    anchors = [one["id"] for one in page.all("li") if one.get("id", "").startswith("step-")]
    assert anchors == ["step-1", "step-2", "step-2.1", "step-2.2", "step-2.2.1", "step-2.2.2"]
    for part in (
        "Machine server",
        "Machine client",
        "boot loader",
        "57 events",
        "console-client.log",
        "4 steps, 1 failed, 1 failed as allowed",
    ):
        assert part in page.text


def noise(path: Path, size: tuple[int, int] = (400, 300)) -> None:
    Image.effect_noise(size, 100).save(path)


def test_pictures_stay_within_their_budget_and_those_of_failures_longest(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path, "x")
    names = [f"shots/{number}.png" for number in range(20)]
    for name in names:
        noise(folder.path / name)
    whole = make_album(folder, names, [])
    assert whole.note == ""
    assert all(picture.full.startswith("data:image/png") for picture in whole.pictures.values())
    tight = make_album(folder, names, names[-1:], budget=400_000)
    assert sum(len(one.full) + len(one.thumb) for one in tight.pictures.values()) <= 400_000
    assert tight.pictures[names[-1]].full.startswith("data:image/png")
    assert "were made smaller" in tight.note
    assert "were left out" in make_album(folder, names, [], budget=100_000).note


def test_of_very_many_pictures_those_of_failures_stay(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path, "x")
    names = [f"shots/{number}.png" for number in range(2 * MAX_PICTURES)]
    for name in names:
        noise(folder.path / name, (8, 8))
    album = make_album(folder, names, [names[5]])
    kept = [name for name, picture in album.pictures.items() if picture.full]
    assert len(kept) == MAX_PICTURES
    assert names[5] in kept
    assert f"{MAX_PICTURES} were left out" in album.note


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"<svg onload=alert(1)>", b"P6 1 1 255 abc"])
def test_a_file_that_is_no_picture_is_only_linked(tmp_path: Path, content: bytes) -> None:
    step = samples.step("1", "screenshot", 0, 1, evidence=["shots/1.png"])
    folder = samples.folder(tmp_path, samples.run("x", "passed", 0, [step]))
    (folder.shots / "1.png").write_bytes(content)
    page = Page(html(folder))
    assert "shots/1.png is not shown here" in page.text
    assert [one for one in page.all("img") if one.get("src")] == []


def test_a_black_screen_is_named_as_such(tmp_path: Path) -> None:
    step = samples.step("1", "screenshot", 0, 1, evidence=["shots/1.png", "shots/2.png"])
    folder = samples.folder(tmp_path, samples.run("x", "passed", 0, [step]))
    Image.new("RGB", (64, 48), "black").save(folder.shots / "1.png")
    Image.new("RGB", (64, 48), "#000001").save(folder.shots / "2.png")
    assert Page(html(folder)).text.count("all black") == 1


def test_a_failed_step_leads_to_itself_in_the_last_good_run(tmp_path: Path) -> None:
    def ended(day: int, outcome: str, name: str = "page", **more: Any) -> ResultsFolder:
        steps = [samples.step("1", "boot", 0, 1), samples.step("2", name, 1, 1, outcome=outcome), samples.step("3", "end", 2, 1)]
        made = ResultsFolder.create(tmp_path, "my page", now=datetime(2025, 11, day, 10, 41))  # noqa: DTZ001  # as in names
        more = {"script": "page.yaml", "started": f"2025-11-{day}T10:41:00+00:00", **more}
        made.write_result(samples.run("my page", outcome, int(outcome != "passed"), steps, machines=[], **more))
        return made

    ended(10, "passed")
    good = ended(11, "passed")
    ended(12, "failed")
    ended(13, "passed", script="other.yaml")
    (ended(14, "passed").result_json).write_text("broken")
    late = ended(16, "passed")
    bad = ended(15, "failed")
    links = [one["href"] for one in Page(html(bad)).all("a") if one["href"].startswith("../")]
    assert links == [f"../{good.path.name}/report.html#step-2"] * 2
    assert (good.path.parent / links[0][3:]).parent.is_dir()
    assert "last good run" not in html(good)
    assert "last good run" not in html(ended(17, "failed", "another step"))
    assert f"../{late.path.name}/report.html#step-2" in html(ended(18, "failed"))


LONG = "the desktop logs in and shows its menu (image=fedora-workstation-41.qcow2, memory=4096M)"


def one_run(out: Path, name: str, minute: int, outcome: str, more: str = "", script: str = "page.yaml") -> ResultsFolder:
    """A run of ``name``, whose folder is called as a command calls it; ``more`` tells it from others of the command."""
    now = datetime(2025, 11, 20, 10, minute)  # noqa: DTZ001  # as in names
    made = ResultsFolder.create(out, folder_name(name + more), now=now)
    steps = [samples.step("1", "look", 0, 1, outcome=outcome)]
    status, started = int(outcome != "passed"), f"2025-11-20T10:{minute}:00+00:00"
    made.write_result(samples.run(name, outcome, status, steps, machines=[], script=script, started=started))
    return made


@pytest.mark.parametrize("name", ["page", "debian-13", "日本", "x" * 60, LONG])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("", ""),
        ("", ", round 3"),
        (", round 12", ", round 3"),
        (", round 2", ""),
        (" (2)", " (2)"),
        (" (2), round 1", " (2), round 9"),
    ],
)
def test_the_last_good_run_is_found_whatever_its_folder_is_called(tmp_path: Path, name: str, good: str, bad: str) -> None:
    found = one_run(tmp_path, name, 10, "passed", good)
    one_run(tmp_path, f"{name} too", 11, "passed")
    failed = one_run(tmp_path, name, 12, "failed", bad)
    assert links_to_last_good(failed, failed.read_result()) == {"1": f"../{found.path.name}/report.html#step-1"}


def test_a_good_round_is_found_behind_many_that_failed_and_none_that_began_later(tmp_path: Path) -> None:
    found = one_run(tmp_path, "page", 10, "passed")
    rounds = [one_run(tmp_path, "page", 10 + number, "failed", f", round {number}") for number in range(1, 31)]
    for number in range(31, 49):
        one_run(tmp_path, "page", 10 + number, "passed", f", round {number}")
    expected = {"1": f"../{found.path.name}/report.html#step-1"}
    assert [links_to_last_good(one, one.read_result()) for one in (rounds[0], rounds[-1])] == [expected] * 2
