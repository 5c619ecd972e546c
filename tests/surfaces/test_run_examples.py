"""The examples as the README runs them: both at once, with their results as JSON."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from firefox import Firefox
from program import Ended, Program

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("hello", "debian")


@pytest.fixture(scope="module")
def both(module_program: Program) -> Ended:
    scripts = [EXAMPLES / f"{name}.yaml" for name in NAMES]
    return module_program.run("run", *scripts, "--jobs", "2", "--json")


@pytest.fixture(scope="module")
def runs(both: Ended) -> dict[str, dict[str, Any]]:
    """By name, what stdout says: it is JSON, and nothing else."""
    return {run["name"]: run for run in json.loads(both.stdout)["runs"]}


def test_both_pass(both: Ended, runs: dict[str, dict[str, Any]]) -> None:
    assert both.status == 0, both.stderr
    assert {name: run["outcome"] for name, run in runs.items()} == dict.fromkeys(NAMES, "passed")


def test_progress_goes_to_stderr_in_plain_lines(both: Ended) -> None:
    assert "\x1b" not in both.stderr
    for name in NAMES:
        assert re.search(rf"PASSED +{name}|PASSED {name}", both.stderr)


@pytest.mark.parametrize("name", NAMES)
def test_the_results_folder_is_complete(both: Ended, runs: dict[str, dict[str, Any]], name: str) -> None:
    run = runs[name]
    folder = both.cwd / run.pop("folder")
    assert json.loads((folder / "result.json").read_text()) == run
    assert ET.parse(folder / "junit.xml").getroot().get("failures") == "0"
    assert "<html" in (folder / "report.html").read_text()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("RunStarted", "RunFinished")
    assert len(list((folder / "shots").glob("*.png"))) == 1
    assert b"BdsDxe" in (folder / "console.log").read_bytes()
    assert (folder / "qemu.log").read_text().startswith("/")
    assert not list(folder.rglob(".*"))


def test_there_is_a_film_of_what_was_typed(both: Ended) -> None:
    hello = next(run for run in json.loads(both.stdout)["runs"] if run["name"] == "hello")
    (film,) = hello["films"]
    folder = both.cwd / hello["folder"]
    assert film["file"] == "film-machine.mp4"
    assert (folder / film["file"]).stat().st_size > 1000
    times = [frame["at"] for frame in film["frames"]]
    assert times == sorted(times)
    assert 2 <= len(times) <= film["seen"]
    assert times[-1] <= hello["duration_s"]
    assert all((folder / frame["file"]).is_file() for frame in film["frames"])
    for browser in (Browser, Firefox):
        with browser() as page:
            page.open(folder / "report.html", "#film")
            assert page.until("document.querySelector('.film-view').dataset.shown !== undefined")
            assert page.complaints == []


def test_nothing_is_left(both: Ended, module_program: Program) -> None:
    assert module_program.leftovers() == []
