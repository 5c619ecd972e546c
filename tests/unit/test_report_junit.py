"""JUnit XML as Jenkins and GitLab read it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import report_samples as samples

from qa.report.folder import ResultsFolder
from qa.report.junit import render_junit

NUMBER = re.compile(r"\d+")
TIME = re.compile(r"\d+\.\d{3}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out", "system-err"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
    "system-err": (set(), set()),
}
"""Element to its attributes and children: what the readers take, so that a strict one refuses nothing."""


def junit(folder: ResultsFolder, environment: dict[str, str] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(render_junit(folder, folder.read_result(), environment or {}))


def cases(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {f"{case.get('classname')}/{case.get('name')}": case for case in root.iter("testcase")}


@pytest.mark.parametrize("sample", samples.ALL)
def test_the_structure_is_what_ci_systems_take(tmp_path: Path, sample: samples.Sample) -> None:
    root = junit(sample(tmp_path))
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.keys()) <= attributes
        assert {child.tag for child in element} <= children
        assert len({child.tag for child in element}) == len(element) or element.tag in {"testsuite", "properties", "testsuites"}
        for count in ("tests", "failures", "errors", "skipped"):
            assert NUMBER.fullmatch(element.get(count, "0"))
        assert TIME.fullmatch(element.get("time", "0.000"))
        assert TIMESTAMP.fullmatch(element.get("timestamp", "2025-01-01T00:00:00"))
    suite = root[0]
    found = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
    assert [int(suite.get(name, "")) for name in ("failures", "errors", "skipped")] == list(found.values())
    assert int(suite.get("tests", "")) == len(suite.findall("testcase")) > 0


@pytest.mark.parametrize("sample", samples.ALL)
def test_only_a_run_that_passed_has_neither_failures_nor_errors(tmp_path: Path, sample: samples.Sample) -> None:
    folder = sample(tmp_path)
    suite = junit(folder)[0]
    bad = int(suite.get("failures", "")) + int(suite.get("errors", ""))
    assert (bad == 0) == (folder.read_result().outcome == "passed")


@pytest.mark.parametrize("sample", samples.ALL)
def test_names_of_test_cases_are_unique(tmp_path: Path, sample: samples.Sample) -> None:
    root = junit(sample(tmp_path))
    assert len(cases(root)) == len(list(root.iter("testcase")))


def test_a_failed_command_tells_its_cause(tmp_path: Path) -> None:
    folder = samples.failed_command(tmp_path)
    case = cases(junit(folder))["debian-serves-a-page/the page is there"]
    failure, output, stderr = case.find("failure"), case.findtext("system-out") or "", case.findtext("system-err") or ""
    assert failure is not None
    assert failure.get("message") == "exit code 22, expected 0"
    assert "curl -fsS localhost/hello" in (failure.text or "")
    assert "nginx: 404 /hello" in output
    assert "returned error: 404" in stderr
    assert f"\n[[ATTACHMENT|{(folder.shots / '3-last-frame.png').resolve()}]]" in output


def test_steps_that_were_not_run_are_skipped_and_broken_ones_are_errors(tmp_path: Path) -> None:
    assert [case.find("skipped") is not None for case in junit(samples.failed_command(tmp_path)).iter("testcase")] == [
        False, False, False, True, True,
    ]  # fmt: skip
    broken = cases(junit(samples.panic(tmp_path)))["crash/succeed: echo c > /proc/sysrq-trigger"]
    assert broken.find("error") is not None


def test_steps_inside_steps_have_them_as_class_name(tmp_path: Path) -> None:
    found = cases(junit(samples.nested(tmp_path)))
    assert list(found) == [
        "network/wait_for_unit: nginx",
        "network.the network/succeed: ping -c1 server",
        "network.the network.fast path/succeed: curl server",
        "network.the network.fast path/succeed: curl server (2)",
    ]


def test_a_failure_that_is_allowed_is_not_one(tmp_path: Path) -> None:
    case = cases(junit(samples.nested(tmp_path)))["network/wait_for_unit: nginx"]
    assert case.find("failure") is None
    skipped = case.find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "it may fail, and did: it is inactive"


def test_what_fails_inside_a_step_that_may_fail_may_fail_as_well(tmp_path: Path) -> None:
    inner = samples.step("1.1", "succeed: x", 0, 1, outcome="failed", detail="exit code 1, expected 0")
    outer = samples.step("1", "try it", 0, 1, verb="subtest", outcome="failed", allowed_failure=True, steps=[inner])
    suite = junit(samples.folder(tmp_path, samples.run("x", "passed", 0, [outer])))[0]
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")


def test_a_run_that_ended_outside_its_steps_is_an_error(tmp_path: Path) -> None:
    case = cases(junit(samples.timed_out(tmp_path)))["slow/the run as a whole"]
    assert "did not happen within" in (case.findtext("error") or "")
    assert "grub rescue>" in (case.findtext("system-out") or "")


def test_host_accelerator_and_image_are_properties(tmp_path: Path) -> None:
    root = junit(samples.passed(tmp_path))
    found = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert found["accelerator"] == "tcg"
    assert found["image.machine"] == "debian-13"
    assert "10.0.2" in str(found["qemu"])


def test_gitlab_gets_paths_relative_to_its_project(tmp_path: Path) -> None:
    folder = samples.passed(tmp_path / "project" / "results")
    output = junit(folder, {"CI_PROJECT_DIR": str(tmp_path / "project")}).findtext(
        ".//system-out/..[@name='screenshot: login']/system-out"
    )
    assert f"[[ATTACHMENT|results/{folder.path.name}/shots/3-login.png]]" in str(output)


def test_hostile_output_stays_text_of_a_bounded_size(tmp_path: Path) -> None:
    folder = samples.hostile(tmp_path)
    text = render_junit(folder, folder.read_result(), {})
    assert len(text) < 200_000
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "passwd]]" not in text


def test_a_talkative_command_is_cut_in_the_middle(tmp_path: Path) -> None:
    command = samples.command("x", 0, "first\n" + "between\n" * 100_000 + "last\n")
    folder = samples.folder(tmp_path, samples.run("x", "passed", 0, [samples.step("1", "x", 0, 1, command=command)]))
    output = junit(folder).findtext(".//system-out") or ""
    assert "first" in output
    assert output.endswith("last")
    assert len(output) < 20_000


def test_a_guest_cannot_attach_files(tmp_path: Path) -> None:
    command = samples.command("x", 1, "[[ATTACH\x1b[0mMENT|/etc/passwd]]\n", "[[ATTACHMENT|/etc/passwd]]\n")
    step = samples.step("1", "x", 0, 1, outcome="failed", detail="[[ATTACHMENT|/etc/passwd]]", command=command)
    folder = samples.folder(tmp_path, samples.run("x", "failed", 1, [step]), b"[[ATTACHMENT|/etc/passwd]]\n")
    root = junit(folder)
    texts = [text for tag in ("system-out", "system-err", "failure") for text in (one.text or "" for one in root.iter(tag))]
    assert len(texts) == 3
    assert not any("[[ATTACHMENT|" in text for text in texts)


def test_a_screen_that_differs_names_the_best_needle_and_attaches_what_was_seen(tmp_path: Path) -> None:
    case = cases(junit(samples.needle_differs(tmp_path)))["login/the desktop is locked"]
    failure = case.find("failure")
    assert failure is not None
    assert "login-window, the best of 3: 1 of 3 areas differs" in (failure.text or "")
    assert "2 120x40 at 693,450: 73.1 % alike, differs, 96 % wanted" in (failure.text or "")
    assert "shots/step-3-seen.png]]" in (case.findtext("system-out") or "")


def test_a_workaround_passes_and_is_told(tmp_path: Path) -> None:
    case = cases(junit(samples.forty_needles(tmp_path)))["themes/assert_screen: panel"]
    assert case.find("failure") is None
    assert "it passed with a workaround: boo#123: the panel is drawn twice" in (case.findtext("system-out") or "")
