"""Steps that fail and guests that die: what a person reads on the terminal and finds in the results folder."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from program import Ended, Program

NASTY = r"\033]0;owned\007\033[2J\033[31mred\rover\n\342\200\256bidi\000nul\n<script>alert(1)</script>"
MANY = 300
HARD = f"""
name: hard
image: builtin
steps:
  - repeat: {{count: {MANY}, steps: [succeed: "true"]}}
  - name: 50 MB
    execute: {{command: "head -c 50000000 /dev/zero | tr '\\\\0' a; echo end of it", timeout: 120s}}
    expect: {{exit_code: 0, stdout: end of it}}
  - name: 1 MB of command
    execute: {{command: "echo {"x" * 1_000_00} | wc -c"}}
    expect: {{stdout: ^100001$}}
  - name: guest that attacks
    execute: printf '{NASTY}'
  - name: the list is there
    succeed: |
      printf '{NASTY}' > /dev/console
      echo what it did
      printf '{NASTY}' >&2; ls /nowhere; exit 7
  - name: never
    succeed: "true"
"""


@pytest.fixture(scope="module")
def hard(module_program: Program) -> Ended:
    return module_program.run_script(HARD, "-v")


@pytest.fixture(scope="module")
def panicked(module_program: Program) -> Ended:
    return module_program.run_script("""
name: panicking
image: builtin
steps:
  - name: before
    succeed: echo 1 > /proc/sys/kernel/sysrq
  - name: panics
    succeed: echo c > /proc/sysrq-trigger; sleep 600
  - name: after
    succeed: "true"
""")


def test_a_failed_step_is_the_runs_exit_status(hard: Ended) -> None:
    assert hard.status == 1
    assert hard.result["exit_status"] == 1
    assert [step["outcome"] for step in hard.result["steps"]] == ["passed"] * 4 + ["failed", "skipped"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"FAILED +hard: step 5 \(the list is there\)",
        r"script\.yaml:\d+:\d+",
        r"exit code +7",
        r"stderr +\|[^|]*\n(.*\n){0,4}.*ls: /nowhere: No such file or directory",
        r"stdout +\| what it did",
        r"console +\| BdsDxe",
        r"last frame +results/hard-.*\.png",
        r"report +results/hard-.*/report\.html",
    ],
)
def test_the_terminal_alone_tells_the_cause(hard: Ended, pattern: str) -> None:
    assert re.search(pattern, hard.text), hard.text[-5000:]


def test_the_guest_cannot_write_to_the_terminal_as_it_likes(hard: Ended) -> None:
    assert "bidi" in hard.text
    for character in "\x1b\x07\r\x00\u202e":
        assert character not in hard.text, repr(character)


def test_the_reports_are_sound_whatever_the_guest_prints(hard: Ended) -> None:
    ET.parse(hard.folder / "junit.xml")
    page = (hard.folder / "report.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


def test_much_output_is_shortened_in_the_result_and_told(hard: Ended) -> None:
    command = hard.result["steps"][1]["command"]
    assert command["truncated"]
    assert len(command["stdout"]) < 100_000
    assert command["stdout"].rstrip().endswith("end of it")
    assert (hard.folder / "result.json").stat().st_size < 2_000_000
    assert (hard.folder / "events.jsonl").stat().st_size < 150_000_000


def test_many_steps_are_all_in_the_result(hard: Ended) -> None:
    assert len(hard.result["steps"][0]["steps"]) == MANY


def test_a_panic_is_status_4_and_nothing_runs_after_it(panicked: Ended) -> None:
    assert panicked.status == 4
    assert [step["outcome"] for step in panicked.result["steps"]] == ["passed", "error", "skipped"]
    assert "the guest's kernel panicked: sysrq triggered crash" in panicked.stderr


def test_a_panic_ends_the_step_within_a_second(panicked: Ended) -> None:
    told = next(event for event in panicked.events if event.get("name") == "GUEST_PANICKED")
    ended = next(event for event in panicked.events if event["event"] == "StepFinished" and event["name"] == "panics")
    assert ended["at"] - told["at"] < 1  # the console may tell it first


def test_the_evidence_of_a_panic_is_the_console_and_the_last_frame(panicked: Ended) -> None:
    evidence = panicked.result["steps"][1]["evidence"]
    (console,) = [path for path in evidence if path.endswith("console.txt")]
    (frame,) = [path for path in evidence if path.endswith(".png")]
    assert "Kernel panic - not syncing: sysrq triggered crash" in (panicked.folder / console).read_text()
    assert (panicked.folder / frame).read_bytes().startswith(b"\x89PNG")
    assert (
        frame.rpartition("/")[2] in (panicked.folder / "report.html").read_text()
        or "data:image" in (panicked.folder / "report.html").read_text()
    )
