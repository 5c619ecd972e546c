from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

import pytest
from overview_samples import ended, matrix, overview, repeated, step
from report_samples import command
from rich.console import Console

from qa.errors import HostError
from qa.report import overview as module
from qa.report.overview import Overview, common_name
from qa.report.overview_files import render_overview, write_overview
from qa.report.overview_table import make_table
from qa.report.overview_text import print_overview
from qa.report.overview_view import make_overview_page
from qa.report.text import middle
from qa.scenario.results import StepResult

NOW = datetime(2025, 11, 20, 10, 42)  # noqa: DTZ001  # local time, as it stands in names


def printed(one: Overview) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    print_overview(one, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_runs_of_a_script_are_brought_together_in_the_order_of_its_combinations(tmp_path: Path) -> None:
    runs = matrix(tmp_path)
    one = overview(tmp_path, [runs[3], ended(tmp_path, [step("1", "a")], title="other"), runs[0], runs[1], runs[2]])
    page, other = one.scripts
    assert (page.title, page.axes, page.rounds) == ("page", ["image", "cpus"], 1)
    assert [run.name for run in page.runs] == [runs[index].name for index in (3, 0, 1, 2)]
    assert [run.name for run in other.runs] == ["other"]
    assert all((tmp_path / run.folder).is_dir() for run in one.runs)


def test_steps_stand_beside_each_other_under_what_their_names_have_in_common(tmp_path: Path) -> None:
    (script,) = overview(tmp_path, matrix(tmp_path)).scripts
    assert [(one.index, one.name, one.ran, one.failed) for one in script.steps] == [
        ("1", "wait_for_unit: nginx", 4, 0),
        ("2", "the page is there", 4, 0),
        ("2.1", "succeed: curl -fsS …", 4, 0),
        ("3", "succeed: test $(nproc) = …", 4, 1),
        ("4", "it may fail", 4, 0),
        ("5", "screenshot", 3, 0),
    ]
    cell = script.steps[3].runs["page (image=debian, cpus=2)"]
    assert (cell.outcome, cell.detail) == ("failed", "exit code 1, expected 0")


def test_steps_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    steps = [step(str(number), "a") for number in range(1, 12)]
    steps[9] = step("10", "a", steps=[step("10.2", "a"), step("10.10", "a")])
    (script,) = overview(tmp_path, [ended(tmp_path, steps)]).scripts
    assert [one.index for one in script.steps] == [*map(str, range(1, 11)), "10.2", "10.10", "11"]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["same", "same"], "same"),
        (["a b c", "a x c"], "a … c"),
        (["a a", "a"], "a …"),
        (["x", "y"], "…"),
        (["curl one two", "curl one"], "curl one …"),
        (["1 and 1", "1 and 2", "1 and 3"], "1 and …"),
    ],
)
def test_names_that_differ_are_told_by_what_is_the_same(names: list[str], common: str) -> None:
    assert common_name(names) == common


def test_a_step_is_flaky_where_rounds_of_one_combination_differ(tmp_path: Path) -> None:
    (script,) = overview(tmp_path, repeated(tmp_path)).scripts
    assert [(one.ran, one.failed, one.flaky) for one in script.steps] == [(10, 0, False), (10, 3, True), (7, 0, False)]
    always = [
        ended(tmp_path, [step("1", "a", "failed" if cpus == "2" else "passed")], {"cpus": cpus}, round=number, rounds=2)
        for number in (1, 2)
        for cpus in ("1", "2")
    ]
    (script,) = overview(tmp_path, always).scripts
    assert [(one.ran, one.failed, one.flaky) for one in script.steps] == [(4, 2, False)]
    assert [[run.round for run in runs] for runs in script.combinations] == [[1, 2], [1, 2]]


def test_of_very_many_steps_those_are_told_that_failed_and_then_the_outer_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CELLS", 6)
    inner = [step("1.1", "a"), step("1.2", "bad", "failed"), step("1.3", "a")]
    steps = [step("1", "repeat", steps=inner), step("2", "a"), step("3", "a")]
    (script,) = overview(tmp_path, [ended(tmp_path, steps, round=number) for number in (1, 2)]).scripts
    assert [one.index for one in script.steps] == ["1", "1.2", "2"]
    assert script.left_out == 3


def test_the_terminal_shows_a_line_for_each_combination(tmp_path: Path) -> None:
    assert printed(overview(tmp_path, matrix(tmp_path, ["builtin", "/srv/images/debian.qcow2"]))) == [
        "",
        "page: 4 runs, 1 failed",
        "  image         cpus  outcome  time   steps",
        "  builtin       1     PASSED   9.3 s  ...a.",
        "  builtin       2     PASSED   9.3 s  ...a.",
        "  debian.qcow2  1     PASSED   9.3 s  ...a.",
        "  debian.qcow2  2     FAILED   9.3 s  ..Fa-",
        "",
        "  . passed, F failed, E broken off, T timed out, S stopped, - not run, a failed as allowed",
    ]


def test_the_terminal_tells_how_often_each_step_failed(tmp_path: Path) -> None:
    assert printed(overview(tmp_path, repeated(tmp_path, 3, [{"cpus": "1"}, {"cpus": "2"}]))) == [
        "",
        "flaky: 6 runs, 2 failed",
        "  cpus  outcome        time   steps",
        "  1     1 of 3 failed  9.3 s  .T.",
        "  2     1 of 3 failed  9.3 s  .T.",
        "  how often steps failed:",
        "        2 of 6  flaky  step 2  the service answers; 1 with cpus=1; 1 with cpus=2",
        "",
        "  . passed, F failed, E broken off, T timed out, S stopped, - not run, a failed as allowed",
    ]


def test_rounds_without_a_failure_say_so(tmp_path: Path) -> None:
    assert printed(overview(tmp_path, repeated(tmp_path, 2)))[-1] == "  no step failed in 2 rounds"


def test_a_script_that_ran_once_has_nothing_beside_it(tmp_path: Path) -> None:
    one = overview(tmp_path, [ended(tmp_path, [step("1", "a")], title=title) for title in ("a", "b")])
    assert printed(one) == []
    assert make_overview_page(one).tables == []


def test_a_table_has_a_column_for_each_combination_under_the_values_of_its_axes(tmp_path: Path) -> None:
    table = make_table(overview(tmp_path, matrix(tmp_path)).scripts[0])
    heads = [(axis, [(head.text, head.span) for head in heads]) for axis, heads in table.heads]
    assert heads == [("image", [("builtin", 2), ("debian", 2)]), ("cpus", [("1", 1), ("2", 1), ("1", 1), ("2", 1)])]
    assert [(row.index, [cell.word for cell in row.cells]) for row in table.rows][3:] == [
        ("3", ["ok", "ok", "ok", "failed"]),
        ("4", ["allowed"] * 4),
        ("5", ["ok", "ok", "ok", "–"]),
    ]
    assert (table.rows[3].cells[3].tone, table.rows[3].cells[3].title) == ("bad", "exit code 1, expected 0")


def test_rounds_get_columns_of_their_own_while_they_are_few(tmp_path: Path) -> None:
    table = make_table(overview(tmp_path, repeated(tmp_path, 3)).scripts[0])
    assert [(axis, [head.text for head in heads]) for axis, heads in table.heads] == [("round", ["1", "2", "3"])]
    assert [(row.count, row.flaky, [cell.word for cell in row.cells]) for row in table.rows] == [
        ("", False, ["ok", "ok", "ok"]),
        ("1 of 3", True, ["ok", "ok", "timeout"]),
        ("", False, ["ok", "ok", "–"]),
    ]


def test_many_rounds_share_the_column_of_their_combination(tmp_path: Path) -> None:
    table = make_table(overview(tmp_path, repeated(tmp_path, 15, [{"cpus": "1"}, {"cpus": "2"}])).scripts[0])
    assert [axis for axis, _ in table.heads] == ["cpus"]
    assert [one.word for one in table.outcomes] == ["5 of 15 failed", "5 of 15 failed"]
    cell = table.rows[1].cells[0]
    assert (cell.word, cell.tone, cell.small) == ("5 of 15", "late", "failed")
    assert re.search(r"round-3-[\d-]+/report\.html#step-2$", cell.href)  # where it failed first


def test_rounds_that_skipped_a_step_neither_stand_for_the_others_nor_count_in_its_mean_time(tmp_path: Path) -> None:
    runs = []
    for number in range(1, 31):
        last = step("2", "the end", "skipped", duration_s=0.0) if number == 1 else step("2", "the end", duration_s=2.0)
        never = step("3", "never run", "skipped", duration_s=0.0)
        first = step("1", "boot", "failed" if number == 1 else "passed")
        runs.append(ended(tmp_path, [first, last, never], title="flaky", round=number, outcome=first.outcome, rounds=30))
    cells = [row.cells[0] for row in make_table(overview(tmp_path, runs).scripts[0]).rows]
    assert [(cell.word, cell.small) for cell in cells] == [("1 of 30", "failed"), ("ok", "2.0 s"), ("–", "")]
    assert re.search(r"round-2-[\d-]+/report\.html#step-2$", cells[1].href)


def test_what_failed_is_told_first_each_cause_once(tmp_path: Path) -> None:
    inner = [step("1.1", "inner", "failed", "no"), step("1.2", "other")]
    group = step("1", "group", "failed", "step 1.1 did not pass", steps=inner)
    late = step("1", "group", "timeout", "too late", steps=[step("1.1", "inner"), step("1.2", "other")])
    runs = [
        ended(tmp_path, [group], {"n": "1"}, outcome="failed"),
        ended(tmp_path, [late], {"n": "2"}, outcome="timeout"),
        ended(tmp_path, [], {"n": "3"}, outcome="error", reason="the guest panicked"),
        ended(tmp_path, [group], {"n": "4"}, outcome="failed"),
    ]
    page = make_overview_page(overview(tmp_path, runs, planned=6))
    assert [(one.title, one.detail, one.count, [label for label, _ in one.runs]) for one in page.causes] == [
        ("hello: step 1.1 inner", "no", "2 of 4 runs", ["n=1", "n=4"]),
        ("hello: step 1 group", "too late", "1 of 4 runs", ["n=2"]),
        ("hello: outside the steps", "the guest panicked", "1 of 4 runs", ["n=3"]),
    ]
    assert (page.word, page.note) == ("4 failed", "2 of 6 runs did not begin")


def test_what_failed_in_the_same_way_in_many_scripts_is_told_once_and_first(tmp_path: Path) -> None:
    def refused(number: int) -> StepResult:
        output = command("curl x", 7, "", f"trying\ncurl: (7) Failed to connect to 10.0.2.{number} port 80\n")
        return step(str(number), f"fetch {number}", "failed", "exit code 7, expected 0", command=output)

    full = step("1", "unpack", "failed", "exit code 7, expected 0", command=command("tar", 7, "", "No space left on device\n"))
    runs = [ended(tmp_path, [full], title="full", outcome="failed")]
    runs += [ended(tmp_path, [refused(number)], title=f"net-{number}", outcome="failed") for number in range(1, 13)]
    runs += [ended(tmp_path, [], title=f"dead-{number}", outcome="error", reason="the guest panicked") for number in (1, 2)]
    page = make_overview_page(overview(tmp_path, runs))
    assert [(one.title, one.detail, one.said, one.count, len(one.runs), one.more_runs) for one in page.causes] == [
        ("curl: (7) Failed to connect to 10.0.2.1 port 80", "exit code 7, expected 0", "", "12 of 15 runs", 8, 4),
        ("the guest panicked", "", "", "2 of 15 runs", 2, 0),
        ("full: step 1 unpack", "exit code 7, expected 0", "No space left on device", "", 0, 0),
    ]
    assert [label for label, _ in page.causes[0].runs][:2] == ["net-1, step 1", "net-2, step 2"]
    assert page.causes[0].runs[1][1].endswith("/report.html#step-2")
    assert [label for label, _ in page.causes[1].runs] == ["dead-1", "dead-2"]


def test_the_files_are_beside_the_results_and_say_the_same(tmp_path: Path) -> None:
    runs = matrix(tmp_path)
    one = overview(tmp_path, runs)
    page = write_overview(tmp_path, one, runs, NOW)
    assert page == tmp_path / "overview-20251120-104200.html"
    assert Overview.model_validate_json(page.with_suffix(".json").read_bytes()) == one
    assert json.loads(page.with_suffix(".json").read_text())["schema"] == 1
    suites = ET.parse(page.with_suffix(".xml")).getroot()
    assert [suite.get("name") for suite in suites] == [run.name for run in runs]
    assert (suites.get("tests"), suites.get("failures")) == (str(4 * 5), "1")
    hrefs = re.findall(r'href="\./([^"#]+)/report\.html', page.read_text())
    assert {run.folder for run in one.runs} == set(hrefs)
    assert write_overview(tmp_path, one, runs, NOW).name == "overview-20251120-104200-2.html"
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    runs = repeated(tmp_path, 2)
    with pytest.raises(HostError, match="cannot write to"):
        write_overview(tmp_path / "gone", overview(tmp_path, runs), runs, NOW)


def test_nothing_from_a_guest_or_a_script_becomes_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    runs = [
        ended(tmp_path, [step("1", evil, "failed", evil)], {"a": value}, title=evil, outcome="failed", reason=evil)
        for value in ("1", evil)
    ]
    page = render_overview(overview(tmp_path, runs))
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_long_names_keep_their_ends() -> None:
    assert middle("a" * 50 + "-end", 12) == "aaaaa…aa-end"
    assert middle("short", 12) == "short"
