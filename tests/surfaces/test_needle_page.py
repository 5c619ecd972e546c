"""The page on which areas of needles are drawn, in a real browser: with the mouse, and with keys alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from PIL import Image

from qa.cli.needle_page import PageServer, page
from qa.screen.needle import Description
from qa.screen.picture import frame_from_picture

NEEDLE = {
    "area": [{"xpos": 40, "ypos": 30, "width": 200, "height": 90, "type": "match", "margin": 7}],
    "tags": ["start", "two words"],
    "properties": [{"name": "workaround", "value": "bug 1"}, "fragile"],
    "of another tool": [1],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(1280, 900) as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path, browser: Browser) -> Iterator[PageServer]:
    """The page of a needle, open in the browser."""
    Image.radial_gradient("L").resize((640, 480)).convert("RGB").save(tmp_path / "screen.png")
    frame = frame_from_picture(tmp_path / "screen.png")
    server = PageServer(page("menu", NEEDLE, frame), (tmp_path / "screen.png").read_bytes(), Description.model_validate)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    browser.complaints.clear()
    browser._load(server.address)
    yield server
    assert browser.complaints == []
    server.shutdown()
    serving.join(30)
    server.server_close()


def drag(browser: Browser, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From one place in the picture to another, in its pixels."""
    left, top = browser.evaluate("(r => [r.x, r.y])(document.getElementById('sheet').getBoundingClientRect())")
    for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
        browser._call("Input.dispatchMouseEvent", type=kind, x=left + x, y=top + y, button="left", buttons=1, clickCount=1)


def click(browser: Browser, at: tuple[int, int], *, modifiers: int) -> None:
    left, top = browser.evaluate("(r => [r.x, r.y])(document.getElementById('sheet').getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        browser._call(
            "Input.dispatchMouseEvent", type=kind, x=left + at[0], y=top + at[1], button="left", buttons=1, clickCount=1,
            modifiers=modifiers,
        )  # fmt: skip


def press(browser: Browser, key: str, **more: Any) -> None:
    code = {"ArrowRight": 39, "ArrowDown": 40, "Delete": 46, "Tab": 9}.get(key, ord(key.upper()[0]))
    for kind in ("keyDown", "keyUp"):
        browser._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)


def write(browser: Browser, place: int, text: str) -> None:
    """Type in place of what is in a field of the list."""
    browser.evaluate(f"(one => {{ one.focus(); one.select(); }})(document.querySelectorAll('#list input')[{place}])")
    for letter in text:
        press(browser, letter, text=letter)


def saved(browser: Browser, server: PageServer) -> dict[str, Any]:
    press(browser, "s", modifiers=2)
    assert browser.until("document.getElementById('said').textContent === 'saved; this page can be closed'")
    assert server.drawn is not None
    return server.drawn


def test_what_is_not_touched_stays_as_it_was(browser: Browser, server: PageServer) -> None:
    assert saved(browser, server) == {
        **NEEDLE, "properties": ["fragile", {"name": "workaround", "value": "bug 1"}],
    }  # fmt: skip


def test_areas_are_drawn_moved_and_resized_with_the_mouse(browser: Browser, server: PageServer) -> None:
    drag(browser, (300, 200), (420, 260))
    drag(browser, (350, 230), (340, 250))  # inside it: moves it
    drag(browser, (410, 280), (430, 300))  # its corner
    drag(browser, (100, 100), (0, 0))  # the first one, as far as the picture goes
    areas = saved(browser, server)["area"]
    assert areas == [
        {**NEEDLE["area"][0], "xpos": 0, "ypos": 0},  # type: ignore[dict-item]
        {"type": "match", "xpos": 290, "ypos": 220, "width": 140, "height": 80},
    ]


def test_an_area_inside_the_chosen_one_is_within_reach(browser: Browser, server: PageServer) -> None:
    drag(browser, (300, 200), (340, 230))
    drag(browser, (320, 215), (120, 75))  # onto the first one
    click(browser, (50, 40), modifiers=0)  # chooses the first one
    drag(browser, (120, 75), (130, 80))
    first, second = saved(browser, server)["area"]
    assert first == NEEDLE["area"][0]  # type: ignore[index]
    assert second == {"type": "match", "xpos": 110, "ypos": 65, "width": 40, "height": 30}


def test_a_click_with_shift_places_a_click_point_with_an_id(browser: Browser, server: PageServer) -> None:
    drag(browser, (300, 200), (420, 260))
    for at in ((60, 50), (330, 210), (50, 40)):  # the first one twice: it moves
        click(browser, at, modifiers=8)
    browser.evaluate("""(input => { input.value = "ok"; input.dispatchEvent(new Event("change")); })(
        document.querySelectorAll("#list fieldset")[1].querySelector(".row:last-of-type label:last-child input"))""")
    first, second = saved(browser, server)["area"]
    assert first == {**NEEDLE["area"][0], "click_point": {"xpos": 10, "ypos": 10, "id": "point1"}}  # type: ignore[dict-item]
    assert second["click_point"] == {"xpos": 30, "ypos": 10, "id": "ok"}


def test_keys_alone_are_enough(browser: Browser, server: PageServer) -> None:
    press(browser, "n")
    for key, modifiers in (("ArrowRight", 0), ("ArrowDown", 8), ("ArrowRight", 1), ("ArrowDown", 9)):  # 1: Alt, 8: Shift
        press(browser, key, modifiers=modifiers)
    press(browser, "c")
    first, second = saved(browser, server)["area"]
    assert first == NEEDLE["area"][0]  # type: ignore[index]
    assert second == {"type": "match", "xpos": 221, "ypos": 210, "width": 201, "height": 90, "click_point": "center"}


def test_types_change_and_areas_go(browser: Browser, server: PageServer) -> None:
    browser.evaluate("document.querySelector('[data-number=\"0\"]').focus()")
    press(browser, "n")
    press(browser, "t")
    press(browser, "n")
    press(browser, "Delete")
    assert [area["type"] for area in saved(browser, server)["area"]] == ["match", "exclude"]


def test_fields_are_filled_in_one_after_the_other(browser: Browser, server: PageServer) -> None:
    write(browser, 0, "600")
    press(browser, "Tab")
    assert browser.evaluate("document.activeElement === document.querySelectorAll('#list input')[1]")
    assert browser.evaluate("document.querySelector('#list input').value") == "440"  # as far as the picture goes
    for letter in "77":
        press(browser, letter, text=letter)
    press(browser, "Tab")
    write(browser, 2, "60")
    area = saved(browser, server)["area"][0]  # with what is typed still
    assert (area["xpos"], area["ypos"], area["width"], area["height"]) == (440, 77, 60, 90)


def test_a_button_works_after_a_field_was_filled_in(browser: Browser, server: PageServer) -> None:
    press(browser, "n")
    write(browser, 0, "90")
    browser.click("#list fieldset:nth-of-type(2) button")
    (area,) = saved(browser, server)["area"]
    assert area == {**NEEDLE["area"][0], "xpos": 90}  # type: ignore[dict-item]


def test_a_place_that_is_cleared_comes_back(browser: Browser, server: PageServer) -> None:
    for place in (2, 5):  # the width, and the margin, which may be left out
        write(browser, place, "")
        press(browser, "Delete")
        press(browser, "Tab")
    assert browser.evaluate("document.querySelectorAll('#list input')[2].value") == "200"
    (area,) = saved(browser, server)["area"]
    assert area == {key: value for key, value in NEEDLE["area"][0].items() if key != "margin"}  # type: ignore[attr-defined]


def test_a_click_point_has_fields_of_its_own(browser: Browser, server: PageServer) -> None:
    click(browser, (60, 50), modifiers=8)
    write(browser, 8, "500")
    press(browser, "Tab")
    for letter in "9":
        press(browser, letter, text=letter)
    press(browser, "Tab")
    assert saved(browser, server)["area"][0]["click_point"] == {"xpos": 199, "ypos": 9, "id": "point1"}


def test_tags_may_have_spaces(browser: Browser, server: PageServer) -> None:
    browser.evaluate("document.getElementById('tags').value += ',another one , '")
    assert saved(browser, server)["tags"] == ["start", "two words", "another one"]


def test_an_excluded_area_keeps_only_its_place(browser: Browser, server: PageServer) -> None:
    press(browser, "n")
    for key in "ctc":  # with a click point it becomes excluded, and gets none then
        press(browser, key)
    browser.evaluate("document.querySelector('[data-number=\"0\"]').focus()")
    press(browser, "c")
    browser.evaluate("""(one => { one.value = "exclude"; one.dispatchEvent(new Event("change")); })(
        document.querySelector("#list select"))""")
    areas = browser.evaluate("areas")
    assert [sorted(area) for area in areas] == [["height", "type", "width", "xpos", "ypos"]] * 2
    assert {area["type"] for area in areas} == {"exclude"}


def test_what_cannot_be_saved_is_said(browser: Browser, server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from qa.errors import UsageError

    def refuse(_: Any) -> None:
        raise UsageError("area[0] is too good")

    monkeypatch.setattr(server, "save", refuse)
    browser.click("#save")
    assert browser.until("document.getElementById('said').textContent === 'area[0] is too good'")
    browser.complaints.clear()  # that the answer was no
    assert server.drawn is None
    monkeypatch.undo()
    assert saved(browser, server)["tags"] == NEEDLE["tags"]


def test_what_is_saved_is_not_saved_again(browser: Browser, server: PageServer) -> None:
    saved(browser, server)
    server.server_close()
    press(browser, "s", modifiers=2)
    assert (
        browser.evaluate("new Promise(resolve => setTimeout(() => resolve(document.getElementById('said').textContent), 300))")
        == "saved; this page can be closed"
    )


def test_each_field_has_a_name_and_the_page_is_whole(browser: Browser, server: PageServer, tmp_path: Path) -> None:
    nameless = "[...document.querySelectorAll('aside input, aside select')].filter(one => !one.closest('label')).length"
    assert browser.evaluate(nameless) == 0
    assert browser.evaluate("document.querySelector('.box').getAttribute('aria-label')") == "area 1, match, 200 by 90 at 40, 30"
    assert browser.evaluate("document.getElementById('screen').naturalWidth") == 640
    (tmp_path / "page.png").write_bytes(browser.picture())
