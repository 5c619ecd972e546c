"""report.html in a real browser: what a person sees, clicks and presses."""

from __future__ import annotations

import importlib.util
import io
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from browser import Browser
from firefox import Firefox
from PIL import Image

from qa.report import ResultsFolder, render


def load_samples() -> ModuleType:
    """The samples of the unit tests: the same folders are judged there without a browser."""
    path = Path(__file__).parent.parent / "unit" / "report_samples.py"
    spec = importlib.util.spec_from_file_location("report_samples_for_browser", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Either = Browser | Firefox
samples: Any = load_samples()
VISIBLE = "[...document.querySelectorAll('.steps > li')].filter(row => row.offsetParent).map(row => row.id)"
FOCUSED = "document.activeElement.closest('li')?.id"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("results")
    pages = {}
    for sample in samples.ALL:
        folder: ResultsFolder = sample(out)
        render(folder)
        pages[sample.__name__] = folder.report_html
    return pages


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.resize(1280, 900)
    chromium.prefer(prefers_color_scheme="light")
    chromium.allow_scripts(True)
    return chromium


@pytest.fixture(params=["chromium", "firefox"])
def either(request: pytest.FixtureRequest) -> Either:
    """For what must work in both, each with its own engine."""
    browser: Either = request.getfixturevalue("browser" if request.param == "chromium" else "firefox")
    browser.resize(1280, 900)
    browser.prefer(prefers_color_scheme="light")
    return browser


def brightness(browser: Either) -> float:
    picture = Image.open(io.BytesIO(browser.picture())).convert("L")
    return sum(value * count for value, count in enumerate(picture.histogram())) / (picture.width * picture.height)


def in_view(browser: Either, selector: str) -> bool:
    top, bottom = browser.evaluate(
        f"(({{top, bottom}}) => [top, bottom])(document.querySelector({selector!r}).getBoundingClientRect())"
    )
    return bool(top >= 0 and bottom <= browser.evaluate("innerHeight"))


@pytest.mark.parametrize("name", [sample.__name__ for sample in samples.ALL])
def test_the_page_loads_nothing_and_complains_of_nothing(browser: Browser, reports: dict[str, Path], name: str) -> None:
    browser.open(reports[name])
    assert [url for url in browser.requests if not url.startswith("data:")] == [reports[name].as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.classList.contains('scripted')")


@pytest.mark.parametrize("name", [sample.__name__ for sample in samples.ALL])
def test_firefox_complains_of_nothing_either(firefox: Firefox, reports: dict[str, Path], name: str) -> None:
    firefox.open(reports[name])
    assert firefox.evaluate("location.protocol") == "file:"
    assert firefox.evaluate("performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length") == 0
    assert firefox.complaints == []
    assert firefox.evaluate("document.documentElement.classList.contains('scripted')")


def test_the_first_screen_of_forty_failures_tells_the_cause(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_failures"])
    for part in (".headline .detail", ".headline .output:last-child pre", ".headline img", ".headline nav h3"):
        assert in_view(browser, part)
    assert browser.evaluate("document.querySelector('.headline nav h3').textContent") == "39 more failed"


@pytest.mark.parametrize("name", [sample.__name__ for sample in samples.ALL])
@pytest.mark.parametrize("width", [320, 700, 1280])
def test_nothing_is_wider_than_the_window(browser: Browser, reports: dict[str, Path], name: str, width: int) -> None:
    browser.resize(width, 900)
    browser.open(reports[name])
    browser.evaluate("document.querySelectorAll('details').forEach(step => { step.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_f_shows_only_the_failures_and_all_steps_again(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["nested"])
    assert len(either.evaluate(VISIBLE)) == 6
    either.press("f")
    assert either.evaluate(VISIBLE) == ["step-2", "step-2.2", "step-2.2.2"]
    assert either.evaluate("document.getElementById('only-failures').checked")
    either.press("f")
    assert len(either.evaluate(VISIBLE)) == 6


def test_the_filter_can_be_clicked(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_failures"])
    browser.click("#only-failures")
    assert len(browser.evaluate(VISIBLE)) == 40


def test_arrows_move_between_steps_and_enter_opens(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["failed_command"])
    either.press("ArrowDown")
    either.press("ArrowDown")
    either.press("ArrowDown")
    assert either.evaluate(FOCUSED) == "step-3"
    either.press("Enter")
    assert either.evaluate("document.getElementById('step-3').querySelector('details').open")
    assert in_view(either, "#step-3 summary")
    either.press("ArrowUp")
    assert either.evaluate(FOCUSED) == "step-2"


def test_arrows_go_over_steps_that_the_filter_hides(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_failures"])
    browser.press("f")
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    assert browser.evaluate(FOCUSED) == "step-4"


def test_a_click_enlarges_a_screenshot_and_escape_closes_it(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["failed_command"])
    before = either.evaluate("document.querySelector('.headline img').getBoundingClientRect().width")
    either.click(".headline a.shot")
    assert either.evaluate("document.getElementById('enlarged').open")
    assert either.evaluate("document.getElementById('picture').getBoundingClientRect().width") > 1.5 * before
    assert either.evaluate("document.getElementById('caption').textContent") == "last frame (1 of 3)"
    either.press("ArrowRight")
    assert either.evaluate("document.getElementById('caption').textContent") == "1 boot (2 of 3)"
    either.press("Escape")
    assert either.until("!document.getElementById('enlarged').open")


def test_the_list_of_failures_and_the_strip_lead_to_their_steps(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_failures"])
    browser.click(".others a[href='#step-6']")
    assert browser.until("document.getElementById('step-6').querySelector('details').open")
    browser.click(".strip a[href='#step-5']")
    assert browser.until(f"{FOCUSED} === 'step-5'")
    browser.press("f")
    browser.evaluate("void (location.hash = '#step-3')")
    assert browser.until(f"{FOCUSED} === 'step-3'")
    assert not browser.evaluate("document.getElementById('only-failures').checked")


STRIP = "[...document.querySelectorAll('.strip a')].filter(one => one.offsetParent).map(one => one.hash)"


def test_the_strip_is_walked_with_arrows_and_has_only_failures_where_that_is_wanted(
    either: Either, reports: dict[str, Path]
) -> None:
    either.open(reports["forty_needles"])
    assert len(either.evaluate(STRIP)) == 81
    either.press("f")
    assert either.evaluate(STRIP)[:3] == ["#step-2", "#step-4", "#step-6"]
    either.evaluate("document.querySelector('.strip .failure a').focus()")
    for _ in range(20):
        either.press("ArrowRight")
    either.press("ArrowLeft")
    assert either.evaluate("document.activeElement.hash") == "#step-40"
    assert in_view(either, ".strip a[href='#step-40']")
    either.press("Enter")
    assert either.until(f"{FOCUSED} === 'step-40' && document.querySelector('#step-40 details').open")


def test_left_and_right_enter_the_strip_at_its_ends(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["forty_needles"])
    either.press("ArrowRight")
    assert either.evaluate("document.activeElement.closest('.strip') && document.activeElement.hash") == "#step-1"
    assert in_view(either, ".strip a")
    either.press("ArrowRight")
    assert either.evaluate("document.activeElement.hash") == "#step-2"
    either.evaluate("document.activeElement.blur()")
    either.press("ArrowLeft")
    assert either.evaluate("document.activeElement.hash") == "#step-81"


def test_a_command_is_copied(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["forty_failures"])
    either.click(".headline .copy")
    assert either.until("document.querySelector('.headline .copy').textContent !== 'copy'")
    assert either.evaluate("getSelection().toString()") == "/usr/lib/checks/check-2 --strict"


def test_j_and_k_go_from_failure_to_failure_and_close_what_they_opened(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["forty_needles"])
    opened = "[...document.querySelectorAll('.steps details[open]')].map(one => one.parentElement.id)"
    for key in "jjjk":
        either.press(key)
    assert either.evaluate(FOCUSED) == "step-4"
    assert either.evaluate(opened) == ["step-4"]
    assert either.evaluate("document.getElementById('which-failure').textContent") == "failure 2 of 40"
    assert in_view(either, "#step-4 .stage")
    either.click("#next-failure")
    assert either.evaluate(opened) == ["step-6"]
    either.evaluate("document.querySelector('#step-80 summary').focus()")
    assert either.evaluate("document.getElementById('next-failure').disabled")
    either.press("j")
    assert either.evaluate(FOCUSED) == "step-80"


def test_a_workaround_is_told_in_words(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_needles"])
    assert "passed" in browser.evaluate("document.querySelector('#step-1 summary').textContent")
    assert "workaround: boo#123" in browser.evaluate("document.querySelector('#step-1 summary').textContent")
    assert browser.evaluate("document.querySelector('.strip a').textContent").endswith("workaround")


def shown(browser: Either, selector: str) -> tuple[int, int, int]:
    """The colour in the middle of an element, as it is seen."""
    x, y = browser.evaluate(
        f"(box => [box.x + box.width / 2, box.y + box.height / 2])(document.querySelector({selector!r}).getBoundingClientRect())"
    )
    return Image.open(io.BytesIO(browser.picture())).convert("RGB").getpixel((round(x), round(y)))  # type: ignore[return-value]


RANGE = ".headline .candidate:not([hidden]) input[type=range]"


def test_the_slider_shows_what_was_expected_over_what_was_seen(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    in_middle_of_title_bar = ".headline .box.good rect"
    assert either.evaluate(f"document.querySelector('{RANGE}').value") == "59"  # through the area that differs
    either.evaluate(f"document.querySelector('{RANGE}').focus()")
    width = "Number(document.querySelector('.headline .expected').getAttribute('width'))"
    either.press("ArrowRight")
    assert either.evaluate(width) == pytest.approx(1280 * 0.60)
    assert shown(either, in_middle_of_title_bar) == (59, 68, 80)  # in both pictures, though the window has moved
    button = ".headline .candidate:not([hidden]) .box.bad rect"
    for _ in range(12):
        either.press("ArrowLeft")
    assert shown(either, button)[0] > 150  # red: Cancel
    either.evaluate(
        f"(range => {{ range.value = 100; range.dispatchEvent(new Event('input')); }})(document.querySelector('{RANGE}'))"
    )
    red, _, blue = shown(either, button)
    assert blue > red  # blue: Log in


def test_the_slider_follows_the_mouse_on_the_picture(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    either.click(".headline .box.good rect")
    assert either.evaluate(f"Number(document.querySelector('{RANGE}').value)") == 50


def test_the_difference_leaves_only_what_is_not_alike(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    either.click(".headline .difference")
    assert shown(either, ".headline .box.good rect") == (0, 0, 0)
    assert sum(shown(either, ".headline .box.bad rect")) > 100
    assert either.evaluate(f"document.querySelector('{RANGE}').disabled")


def test_candidates_are_switched_by_keys(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    seen = "[...document.querySelectorAll('.headline .candidate')].filter(one => one.offsetParent).map(one => one.id)"
    assert either.evaluate(seen) == ["screen-first-1"]
    either.evaluate("document.querySelector('.headline .candidates input').focus()")
    either.press("ArrowDown")
    assert either.evaluate(seen) == ["screen-first-2"]
    assert either.evaluate(FOCUSED) is None  # the arrow chose a needle, and did not go to a step


def test_a_comparison_is_enlarged_and_put_back(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    before = either.evaluate("document.querySelector('.stage').getBoundingClientRect().width")
    either.click(".headline .enlarge")
    assert either.evaluate("document.getElementById('stage').open")
    assert either.evaluate("document.querySelector('#stage .stage').getBoundingClientRect().width") > 1.15 * before
    either.press("Escape")
    assert either.until("document.querySelector('.headline .compare') !== null")
    assert either.evaluate("document.activeElement.className") == "enlarge"


def test_without_scripts_all_candidates_are_there(browser: Browser, reports: dict[str, Path]) -> None:
    browser.allow_scripts(False)
    browser.open(reports["needle_differs"])
    assert browser.evaluate("[...document.querySelectorAll('.headline .stage')].filter(one => one.checkVisibility()).length") == 3


def film_pixel(browser: Either, x: int, y: int) -> list[int]:
    script = f"[...document.querySelector('.film-view:not([hidden]) canvas').getContext('2d').getImageData({x}, {y}, 1, 1).data]"
    return list(browser.evaluate(script))[:3]


SHOWN = "document.querySelector('.film-view:not([hidden])').dataset.shown"


def test_the_film_begins_at_the_failure_and_is_scrubbed_by_keys(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    assert either.until(f"{SHOWN} === '27'")
    assert "3 the desktop is locked" in either.evaluate("document.querySelector('.moment').textContent")
    cancel = film_pixel(either, 700, 455)
    either.evaluate("document.querySelector('.scrub input').focus()")
    either.press("ArrowLeft")
    either.press("ArrowLeft")
    assert either.until(f"{SHOWN} === '25'")
    login = film_pixel(either, 700, 455)
    assert (cancel[0] > cancel[2], login[0] < login[2]) == (True, True)  # a red button, and a blue one before
    assert "picture 26 of 28" in either.evaluate("document.querySelector('.scrub input').getAttribute('aria-valuetext')")
    scrub_to(either, 0)
    assert either.evaluate("document.querySelector('canvas').width") == 640  # the screen was smaller then
    either.click(".after")
    assert either.until(f"{SHOWN} === '1'")
    assert either.evaluate("document.querySelector('canvas').width") == 1280


def scrub_to(browser: Either, number: int) -> None:
    script = f"range => {{ range.value = {number}; range.dispatchEvent(new Event('input')); }}"
    browser.evaluate(f"({script})(document.querySelector('.scrub input'))")
    assert browser.until(f"{SHOWN} === '{number}'")


def console_lines(browser: Either) -> list[int]:
    """The lines of the filmed console on which something stands."""
    script = """[...Array(24).keys()].filter(line => document.querySelector('canvas').getContext('2d')
        .getImageData(12, 8 + 22 * line, 300, 22).data.some((value, place) => place % 4 < 3 && value > 100))"""
    return list(browser.evaluate(script))


def test_each_picture_of_the_film_is_whole_wherever_one_comes_from(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    for number in (12, 13, 5, 27, 20):
        scrub_to(either, number)
        if number < 25:
            assert console_lines(either) == list(range(number))


def test_the_console_is_beside_the_film_as_it_was_at_each_picture(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"])
    then = "document.querySelector('.film-view:not([hidden]) .then').textContent"
    last = ["unit-4.service - Some Service 4.", "[    0.500] systemd[1]: Started"]
    for number, ending in ((0, ""), (5, last[1]), (27, "Some Service 119.")):
        scrub_to(either, number)
        assert either.evaluate(then).endswith(ending)
        assert bool(either.evaluate(then)) == bool(ending)
    scrub_to(either, 5)
    assert either.evaluate(then).splitlines()[-2].endswith(last[0])


def test_a_step_leads_to_the_film_of_its_machine_at_its_end(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["restless"])
    assert browser.evaluate("document.getElementById('film-choice').value") == "2"  # of the machine that failed
    browser.evaluate("document.querySelector('#step-1 details').open = true")
    browser.click("#step-1 .to-film")
    assert browser.until(f"{SHOWN} === '0'")
    assert browser.evaluate("document.querySelector('.film-view:not([hidden])').id") == "film-1"
    assert browser.evaluate("document.activeElement.matches('#film-1 .scrub input')")
    assert film_pixel(browser, 300, 200) == [0, 0, 0]


def test_a_film_plays_and_ends(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["restless"])
    either.evaluate("void (document.getElementById('film-choice').value = 1)")
    either.evaluate("document.getElementById('film-choice').dispatchEvent(new Event('change'))")
    either.click("#film-1 .play")
    assert either.until(f"{SHOWN} === '2'")
    assert either.until("document.querySelector('#film-1 .play').textContent === 'play'")


def test_a_link_to_a_step_opens_it(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_failures"], "#step-40")
    assert browser.evaluate("document.getElementById('step-40').querySelector('details').open")
    assert in_view(browser, "#step-40 summary")


SETTLED = "new Promise(resolve => requestAnimationFrame(() => setTimeout(() => resolve(true), 300)))"
"""The page has been drawn, and what waited for that has been done."""


def test_arrows_go_on_from_the_step_that_a_link_led_to(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"], "#step-3")
    assert either.evaluate(SETTLED)
    assert either.evaluate(FOCUSED) == "step-3"
    either.press("ArrowDown")
    assert either.evaluate(FOCUSED) == "step-4"


def test_a_link_that_cannot_be_decoded_leads_nowhere_and_the_page_works(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["needle_differs"], "#%")
    assert either.evaluate(SETTLED)
    assert either.complaints == []
    assert either.evaluate(SHOWN) == "27"  # the scripts behind it have run


def test_consoles_are_read_from_their_end(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["passed"])
    below = "(pre => pre.scrollHeight - pre.clientHeight - pre.scrollTop)(document.querySelector('.console pre'))"
    assert browser.evaluate(below) < 2
    assert browser.evaluate("document.querySelector('.console pre').scrollTop") > 100


def test_a_guest_cannot_run_scripts_in_the_page(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["hostile"])
    either.evaluate("document.querySelectorAll('details').forEach(step => { step.open = true; })")
    assert either.evaluate("document.title") == "failed: hostile"
    assert either.evaluate("document.scripts.length") == 1


def test_the_policy_stops_what_would_get_through(either: Either, reports: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    smuggled = "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x.png'></main>"
    page.write_text(reports["passed"].read_text().replace("</main>", smuggled))
    either.open(page)
    assert either.evaluate("document.title") == "passed: hello"
    assert len(either.complaints) >= 2
    assert all(re.search("Content.Security.Policy", complaint) for complaint in either.complaints)


def test_without_scripts_everything_can_still_be_read(browser: Browser, reports: dict[str, Path]) -> None:
    browser.allow_scripts(False)
    browser.open(reports["failed_command"])
    assert not browser.evaluate("document.documentElement.classList.contains('scripted')")
    assert browser.evaluate("getComputedStyle(document.querySelector('.filter')).display") == "none"
    browser.click("#step-3 summary")
    assert browser.evaluate("document.getElementById('step-3').querySelector('details').open")


def test_dark_where_the_user_prefers_it(either: Either, reports: dict[str, Path]) -> None:
    either.open(reports["passed"])
    assert brightness(either) > 200
    either.prefer(prefers_color_scheme="dark")
    assert brightness(either) < 60


COLOURS = """
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = node => { for (; node; node = node.parentElement) {
    const colour = rgb(getComputedStyle(node).backgroundColor); if (colour.length === 3 || colour[3] > 0) { return colour; } }
    return [255, 255, 255]; };
  const apart = (a, b) => (([high, low]) => (high + 0.05) / (low + 0.05))([light(a), light(b)].sort((x, y) => y - x));
"""
CONTRAST = (
    "(() => {"
    + COLOURS
    + """
  document.querySelectorAll('details').forEach(step => { step.open = true; });
  return [...document.querySelectorAll('body *')].filter(node => node.offsetParent !== null && !node.closest('svg')
      && [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())).map(node =>
    [apart(rgb(getComputedStyle(node).color), behind(node)), node.tagName + '.' + node.className]
  ).filter(([ratio]) => ratio < 4.5).map(([ratio, name]) => `${name} ${ratio.toFixed(2)}`);
})()"""
)
RING = (
    "(() => {"
    + COLOURS
    + """
  const node = document.activeElement, style = getComputedStyle(node);
  return [node.tagName, style.outlineStyle, parseFloat(style.outlineWidth),
    apart(rgb(style.outlineColor), behind(node.parentElement))];
})()"""
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["passed", "failed_command", "panic", "timed_out", "nested", "forty_failures", "needle_differs", "restless"]
)
def test_all_texts_have_contrast_enough(browser: Browser, reports: dict[str, Path], name: str, scheme: str) -> None:
    browser.prefer(prefers_color_scheme=scheme)
    browser.open(reports[name])
    assert browser.evaluate(CONTRAST) == []


NAMED = {"button", "checkbox", "combobox", "dialog", "DisclosureTriangle", "heading", "image", "link", "navigation", "radio"}
NAMED |= {"region", "slider"}


@pytest.mark.parametrize("name", [sample.__name__ for sample in samples.ALL])
def test_a_screen_reader_is_told_all(browser: Browser, reports: dict[str, Path], name: str) -> None:
    browser.open(reports[name])
    browser.evaluate("document.querySelectorAll('details').forEach(step => { step.open = true; })")
    nodes = browser.accessible()
    assert [node for node in nodes if node["role"] in NAMED and not node["name"]] == []
    levels = [node["level"] for node in nodes if node["role"] == "heading"]
    assert levels[:1] == [1]
    assert [(above, level) for above, level in itertools.pairwise(levels) if level > above + 1 or level == 1] == []


def test_a_screen_reader_is_told_the_outcome_in_words(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["forty_needles"])
    nodes = browser.accessible()
    steps = [node["name"] for node in nodes if node["role"] == "DisclosureTriangle" and "assert_screen" in node["name"]]
    assert [sum(word in name for name in steps) for word in ("failed", "passed", "workaround")] == [40, 41, 1]
    links = [node["name"] for node in nodes if node["role"] == "link" and node["name"].startswith("Screen at")]
    assert [sum(word in name for name in links) for word in ("failed", "passed", "workaround")] == [40, 40, 1]
    stages = [node["name"] for node in nodes if node["role"] in ("image", "img") and "needle" in node["name"]]
    assert "1 of 2 areas differs, the worst is 31 % alike" in stages[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_sees_where_the_focus_is(either: Either, reports: dict[str, Path], scheme: str) -> None:
    """The ring of each place that Tab reaches differs from what is behind it by 3:1, as WCAG has it."""
    either.prefer(prefers_color_scheme=scheme)
    either.open(reports["needle_differs"])
    reached = []
    while not reached or reached[-1] != "BODY":  # behind the last place comes the page again
        either.press("Tab")
        tag, style, width, ratio = either.evaluate(RING)
        reached.append(tag)
        assert tag == "BODY" or (style, width >= 1, ratio >= 3) == ("solid", True, True), tag
    assert set(reached) == {"A", "INPUT", "BUTTON", "PRE", "SUMMARY", "BODY"}
