"""Needles in a script: what the report keeps of a look, and how a changed screen becomes the new picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from browser import Browser
from firefox import Firefox
from PIL import Image, ImageOps
from program import Ended, Program

SHIPPED = Path(__file__).parents[2] / "screenshots"
SCRIPT = """\
image: builtin
steps:
  - assert_screen: builtin-welcome
  - assert_screen: {needle: known, timeout: 0}
  - assert_screen: {needle: mine, timeout: 0}
"""


def judge_report(page: Browser | Firefox, run: Ended) -> None:
    """The report of a run that was made by the program, as a person would look at it."""
    page.open(run.folder / "report.html", "#step-1")
    assert page.complaints == []
    assert page.evaluate("document.querySelector('.outcome').textContent") == "failed"
    assert page.evaluate("document.querySelector('.headline h2').textContent").startswith("Step 3: assert_screen")
    assert page.evaluate("[...document.querySelectorAll('.strip .word')].map(one => one.textContent)") == [
        "passed",
        "workaround",
        "failed",
    ]
    console = "document.querySelector('#step-1 [aria-label=\"console at this moment\"]').textContent"
    assert "anima-qa built-in guest" in page.evaluate(console)
    page.press("j")
    assert page.until("document.querySelector('#step-3 details').open")
    page.click("#step-3 .stage")
    assert page.evaluate("document.querySelector('#step-3 .reveal input').value") == "50"


def test_a_screen_that_changed_is_told_and_accepted(program: Program) -> None:
    needles = program.cwd / "needles"
    needles.mkdir()
    for name in ("mine", "known"):
        shutil.copy(SHIPPED / "builtin-welcome.json", needles / f"{name}.json")
    with Image.open(SHIPPED / "builtin-welcome.png") as picture:
        ImageOps.invert(picture).save(needles / "mine.png")
    before = (needles / "mine.png").read_bytes()
    shutil.copy(SHIPPED / "builtin-welcome.png", needles / "known.png")
    known = json.loads((needles / "known.json").read_text())
    first_area = known["area"][0]
    clock = {"xpos": first_area["xpos"] + 8, "ypos": first_area["ypos"] + 8, "width": 16, "height": 16, "type": "exclude"}
    known |= {"area": [clock, *known["area"]], "properties": [{"name": "workaround", "value": "bug 1"}]}
    (needles / "known.json").write_text(json.dumps(known))

    refused = program.run("run", program.script(SCRIPT), "--accept")
    assert (refused.status, "--accept --yes takes all" in refused.stderr) == (2, True)

    first = program.run_script(SCRIPT, "--accept", "--yes")
    assert first.status == 1, first.text
    shipped, soft, failed = first.result["steps"]
    assert [step["outcome"] for step in (shipped, soft, failed)] == ["passed", "passed", "failed"]
    assert soft["detail"] == "needle known, a workaround for bug 1"
    areas = soft["screen"]["candidates"][0]["areas"]
    assert [(area["number"], area["kind"], area["similarity"]) for area in areas] == [
        (2, "match", 1.0), (3, "match", 1.0), (1, "exclude", None),
    ]  # fmt: skip
    assert f"16x16 at {clock['xpos']},{clock['ypos']}" in (first.folder / "report.html").read_text()
    (candidate,) = failed["screen"]["candidates"]
    assert (candidate["needle"], candidate["matched"]) == ("mine", False)
    assert [area["matched"] for area in candidate["areas"]] == [False, False]
    assert (first.folder / candidate["picture"]).read_bytes() == before
    assert (first.folder / failed["screen"]["frame"]).is_file()
    assert "mine was not seen" in first.stderr
    assert f"changed: {needles / 'mine.png'}" in first.stderr
    for browser in (Browser, Firefox):
        with browser() as page:
            judge_report(page, first)

    run = first.folder
    second = program.run_script(SCRIPT)
    assert second.status == 0, second.text

    area = ("--area", "0,0,300x200:100%:exact")
    for name, source in (("kept", ("--resume", run)), ("started", ("--image", "builtin", "--accel", "auto"))):
        made = program.run("needle", "new", name, *source, *area)
        assert made.status == 0, made.text
        seen = program.run("needle", "check", needles / "mine.json", "--screen", needles / f"{name}.png")
        assert seen.status == 0, seen.text
    at_step = program.run("needle", "new", "step", "--from", run, "--step", "3", *area)
    assert at_step.status == 0, at_step.text
    assert (needles / "step.png").read_bytes() == (needles / "mine.png").read_bytes()
    assert program.leftovers() == []
