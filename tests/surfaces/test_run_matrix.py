"""Matrices, rounds and several runs at once, with real machines."""

from __future__ import annotations

import json
import re
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from program import Ended, Program

SCRIPT = """
name: words
image: builtin
machine: {memory: 256M}
matrix: {cpus: [1, 2], word: [good, bad], exclude: [{cpus: 2, word: bad}]}
steps:
  - succeed: test $(nproc) = ${cpus}
  - name: the word is good
    succeed: test ${word} = good
"""


@pytest.fixture(scope="module")
def ran(module_program: Program) -> Ended:
    return module_program.run_script(SCRIPT, "--repeat", "2", "--jobs", "2")


@pytest.fixture(scope="module")
def page(ran: Ended) -> Path:
    found = re.search(r"^side by side: (\S+)$", ran.stdout, re.MULTILINE)
    assert found, ran.text
    return ran.cwd / found[1]


def test_each_combination_runs_as_often_as_was_asked(ran: Ended) -> None:
    assert ran.status == 1, ran.text
    runs = re.findall(r"^(PASSED|FAILED) (words \(.*\), round \d): 2 steps", ran.stdout, re.MULTILINE)
    words = [("PASSED", "cpus=1, word=good"), ("FAILED", "cpus=1, word=bad"), ("PASSED", "cpus=2, word=good")]
    assert sorted(runs) == sorted((outcome, f"words ({label}), round {number}") for number in (1, 2) for outcome, label in words)


def test_the_terminal_counts_failures(ran: Ended) -> None:
    assert re.search(r"^  1     bad   2 of 2 failed +[\d.]+ m?s +\.F$", ran.stdout, re.MULTILINE)
    assert "2 of 6         step 2  the word is good; 2 with cpus=1, word=bad" in ran.stdout


def test_the_overview_leads_to_every_report(ran: Ended, page: Path) -> None:
    links = set(re.findall(r'href="\./([^"#]+/report\.html)', page.read_text()))
    assert len(links) == 6
    assert all((page.parent / link).is_file() for link in links)
    (script,) = json.loads(page.with_suffix(".json").read_text())["scripts"]
    assert [(one["ran"], one["failed"], one["flaky"]) for one in script["steps"]] == [(6, 0, False), (6, 2, False)]
    assert ET.parse(page.with_suffix(".xml")).getroot().get("failures") == "2"


def test_the_example_runs(ran: Ended, module_program: Program) -> None:
    example = Path(__file__).parents[2] / "examples" / "matrix.yaml"
    ended = module_program.run("run", example, "--var", "cpus=1", "--var", "memory=256M")
    assert ended.status == 0, ended.text
    assert ended.stdout.startswith("PASSED hardware (cpus=1, memory=256M, greeting=the smallest): 3 steps")


def test_nothing_is_left_of_them(ran: Ended, module_program: Program) -> None:
    assert module_program.leftovers() == []


def test_a_matrix_that_is_interrupted_says_what_did_not_begin(program: Program) -> None:
    script = program.script("name: s\nimage: builtin\nmatrix: {n: [1, 2, 3]}\nsteps: [succeed: sleep 100]\n")
    with program.start("run", script, "--jobs", "1") as running:
        running.wait_for("ready")
        running.signal(signal.SIGINT)
        ended = running.end()
    assert ended.status == 130
    assert ended.text.count("STOPPED s (n=1)") >= 1
    (overview,) = (program.cwd / "results").glob("overview-*.html")
    assert "2 of 3 runs did not begin" in overview.read_text()
    assert program.leftovers() == []


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_matrix_is_told_and_nothing_runs(program: Program, command: str) -> None:
    script = program.script("image: builtin\nmatrix: {cpus: [1, 99], memory: 1G}\nsteps: [succeed: 'true']\n")
    ended = program.run(command, script)
    assert ended.status == 2
    assert "script.yaml:2:20: 'cpus' must be at most 64" in ended.text
    assert "script.yaml:2:33: 'memory' must be a list of values" in ended.text
    assert not (program.cwd / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "many"], "should be auto or a number"),
        (["--repeat", "0"], "0"),
        (["--until-fail"], "--until-fail needs --repeat"),
    ],
)
def test_a_wrong_number_of_runs(program: Program, arguments: list[str], said: str) -> None:
    ended = program.run_script("image: builtin\nsteps: [succeed: 'true']\n", *arguments)
    assert ended.status == 2
    assert said in ended.stderr
