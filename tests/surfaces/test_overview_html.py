"""The overview of several runs in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from firefox import Firefox
from overview_samples import ended, matrix, overview, repeated, step

from qa.report.overview_files import render_overview

IMAGES = ["builtin", "https://images.example.org/debian/13/debian-13-genericcloud-amd64.qcow2#sha256=0", "/srv/a name/x.qcow2"]
CELL = "document.activeElement.closest('td')?.cellIndex"
ROW = "document.activeElement.closest('tr')?.querySelector('.index')?.textContent"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("results")
    dead = ended(out, [], title="dead " + "and with a very long name " * 8, outcome="error", reason="the guest panicked")
    kinds = {
        "small": matrix(out),
        "large": matrix(out, [*IMAGES, "debian", "fedora-42"], ["1", "2", "4", "8"]),
        "rounds": repeated(out),
        "shared": repeated(out, 30, [{"cpus": "1"}, {"cpus": "2"}]),
        "several": [*matrix(out), dead],
        "passed": [ended(out, [step("1", "a")], {"n": n}) for n in "12"],
    }
    files = {}
    for name, runs in kinds.items():
        files[name] = out / f"{name}.html"
        files[name].write_text(render_overview(overview(out, runs)))
    return files


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.resize(1280, 900)
    chromium.allow_scripts(True)
    return chromium


NAMES = ["small", "large", "rounds", "shared", "several", "passed"]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_loads_nothing_and_complains_of_nothing(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    assert [url for url in browser.requests if not url.startswith("data:")] == [pages[name].as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.classList.contains('scripted')")


@pytest.mark.parametrize("name", NAMES)
def test_firefox_complains_of_nothing_either(firefox: Firefox, pages: dict[str, Path], name: str) -> None:
    firefox.open(pages[name])
    assert firefox.complaints == []
    assert firefox.evaluate("document.documentElement.classList.contains('scripted')")


@pytest.mark.parametrize("name", NAMES)
def test_a_screen_reader_is_told_all(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    nodes = browser.accessible()
    named = {"checkbox", "columnheader", "heading", "link", "region", "rowheader"}
    assert [node for node in nodes if node["role"] in named and not node["name"]] == []
    assert {node["level"] for node in nodes if node["role"] == "heading"} == {1, 2}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [320, 700, 1280])
def test_only_the_tables_may_be_wider_than_the_window(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    browser.resize(width, 900)
    browser.open(pages[name])
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_the_names_of_steps_stay_where_they_are_when_a_wide_table_is_moved(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["large"])
    assert browser.evaluate("(wide => wide.scrollWidth > wide.clientWidth)(document.querySelector('.wide'))")
    left = "document.querySelector('.grid tbody [scope=row]').getBoundingClientRect().left"
    before = browser.evaluate(left)
    browser.evaluate("document.querySelector('.wide').scrollLeft = 300")
    assert browser.evaluate(left) == before


def test_f_shows_only_failures(browser: Browser, pages: dict[str, Path]) -> None:
    shown = (
        "[...document.querySelectorAll('.grid tbody tr')].filter(row => row.offsetParent)"
        ".map(row => row.querySelector('.index').textContent)"
    )
    runs = "[...document.querySelectorAll('.runs tr')].filter(row => row.offsetParent).length"
    browser.open(pages["small"])
    browser.press("f")
    assert (browser.evaluate(shown), browser.evaluate(runs)) == (["3"], 1)
    browser.press("f")
    assert (browser.evaluate(shown), browser.evaluate(runs)) == (["1", "2", "2.1", "3", "4", "5"], 4)


def test_the_arrow_keys_go_from_cell_to_cell(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["small"])
    browser.press("ArrowDown")
    assert (browser.evaluate(ROW), browser.evaluate(CELL)) == (None, 1)  # the whole run
    browser.press("ArrowDown")
    browser.press("ArrowRight")
    assert (browser.evaluate(ROW), browser.evaluate(CELL)) == ("1", 2)
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowUp"):
        browser.press(key)
    assert (browser.evaluate(ROW), browser.evaluate(CELL)) == (None, 1)


def test_a_cell_leads_to_its_step_in_the_report(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["small"])
    href = browser.evaluate("document.querySelector('.grid tbody td.bad a').href")
    assert "/page-image-debian-cpus-2-" in href
    assert href.endswith("/report.html#step-3")


def test_failures_are_told_without_scripts_as_well(browser: Browser, pages: dict[str, Path]) -> None:
    browser.allow_scripts(False)
    browser.open(pages["several"])
    browser.allow_scripts(True)
    text = browser.evaluate("document.querySelector('.causes').textContent")
    assert "exit code 1, expected 0" in text
    assert "the guest panicked" in text


def test_a_page_without_failures_has_no_filter_and_no_causes(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["passed"])
    assert browser.evaluate("document.querySelectorAll('.causes, #only-failures').length") == 0
    assert browser.evaluate("document.title") == "passed: hello"
