"""``junit.xml``: the form of results that CI systems read.

One ``testsuite`` for the run, one ``testcase`` for each step that holds no others; the steps around it make its class name.
Names carry no numbers, so that a test keeps its history when a step is put in front of it. A run that ended outside
a step gets a test case of its own: a CI system must never see "no tests, nothing failed" for a run that did not work.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as XML  # noqa: N814  # only written with, never read with

from qa.report.comparison import screen_text, workaround
from qa.report.content import FlatStep, causes, console_tail, flatten, own_texts
from qa.report.folder import ResultsFolder
from qa.report.text import clip, one_line, plain
from qa.scenario.results import RunResult, StepResult

MAX_OUTPUT = 16 << 10
"""Characters of one output in the file: CI servers keep test results in memory, the folder has everything."""

CONSOLE_LINES = 40


def render_junit(folder: ResultsFolder, result: RunResult, environment: Mapping[str, str] = os.environ) -> str:
    """The XML for ``result``; attachments are the evidence in ``folder``.

    Args:
        folder: the run's folder.
        result: what is in its ``result.json``.
        environment: ``CI_PROJECT_DIR`` makes the paths of attachments relative to it, which GitLab wants; Jenkins wants
            absolute ones.
    """
    return render_suites([(folder, result)], result.duration_s, environment)


def render_suites(
    runs: Iterable[tuple[ResultsFolder, RunResult]], duration_s: float, environment: Mapping[str, str] = os.environ
) -> str:
    """As `render_junit`, for several runs in one file that took ``duration_s`` together."""
    suites = [_suite(folder, result, environment) for folder, result in runs]
    totals = {name: str(sum(int(suite.get(name, "0")) for suite in suites)) for name in ("tests", "failures", "errors")}
    root = XML.Element("testsuites", {"name": "anima-qa", "time": _seconds(duration_s), **totals})
    root.extend(suites)
    XML.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + XML.tostring(root, encoding="unicode") + "\n"


def _suite(folder: ResultsFolder, result: RunResult, environment: Mapping[str, str]) -> XML.Element:
    suite = _Suite(folder, result, environment)
    for flat in flatten(result.steps):
        if not flat.step.steps or flat.is_cause:
            suite.add_step(flat)
    if result.outcome != "passed" and not causes(result):
        suite.add_run()
    return suite.finish()


class _Suite:
    """The suite as it grows."""

    def __init__(self, folder: ResultsFolder, result: RunResult, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._result = result
        self._environment = environment
        self._names: dict[tuple[str, str], int] = {}
        self._element = XML.Element(
            "testsuite", name=_text(result.name), time=_seconds(result.duration_s), timestamp=_timestamp(result.started)
        )
        _add_properties(self._element, result)

    def add_step(self, flat: FlatStep) -> None:
        """A test case for a step."""
        step = flat.step
        case = self._add_case((self._result.name, *flat.parents), step.name, step.duration_s)
        if step.outcome == "skipped":
            XML.SubElement(case, "skipped", message=_text(step.detail))
        elif flat.failed:
            tag = "failure" if step.outcome in ("failed", "timeout") else "error"
            failure = XML.SubElement(case, tag, type=step.outcome, message=_text(step.detail or step.outcome))
            failure.text = _long(_explain(step) + self._texts(step))
        elif step.outcome != "passed":
            XML.SubElement(case, "skipped", message=_text(f"it may fail, and did: {step.detail}"))
        sections = [f"step {step.index} ({step.verb}) at {step.place}" if step.place else f"step {step.index} ({step.verb})"]
        if soft := workaround(step):
            sections.append(f"it passed with a workaround: {soft}")
        if step.command and step.command.stdout:
            sections.append(step.command.stdout)
        if flat.failed:
            sections += self._console(step)
        seen = [step.screen.frame] if step.screen and flat.failed else []
        self._add_output(case, sections, [*seen, *step.evidence])
        if step.command and step.command.stderr:
            XML.SubElement(case, "system-err").text = _long(step.command.stderr)

    def add_run(self) -> None:
        """A test case for what went wrong outside the steps."""
        result = self._result
        case = self._add_case((result.name,), "the run as a whole", result.duration_s)
        error = XML.SubElement(case, "error", type=result.outcome, message=_text(result.reason or result.outcome))
        error.text = _long("\n".join(filter(None, (result.reason, result.hint))) + self._texts(None))
        self._add_output(case, self._console(None), result.evidence)

    def finish(self) -> XML.Element:
        """The suite, counted."""
        cases = self._element.findall("testcase")
        counts = {"tests": len(cases)}
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            counts[attribute] = sum(case.find(tag) is not None for case in cases)
        for attribute, count in counts.items():
            self._element.set(attribute, str(count))
        return self._element

    def _add_case(self, path: tuple[str, ...], name: str, duration_s: float) -> XML.Element:
        # A dot separates packages for Jenkins; one inside a name would make a package of half the name.
        classname = ".".join(_text(part).replace(".", "_") for part in path)
        name = _text(name)
        repeated = self._names[classname, name] = self._names.get((classname, name), 0) + 1
        shown = name if repeated == 1 else f"{name} ({repeated})"
        return XML.SubElement(self._element, "testcase", classname=classname, name=shown, time=_seconds(duration_s))

    def _texts(self, step: StepResult | None) -> str:
        return "".join(f"\n{title}:\n{content.text.rstrip()}" for title, content in own_texts(self._folder, self._result, step))

    def _console(self, step: StepResult | None) -> list[str]:
        tail = console_tail(self._folder, self._result, step, CONSOLE_LINES)
        return [f"console, last lines:\n{tail}"] if tail else []

    def _add_output(self, case: XML.Element, sections: list[str], evidence: list[str]) -> None:
        lines = [_long(section) for section in sections]
        lines += [f"[[ATTACHMENT|{where}]]" for name in evidence if (where := self._attachment(name))]
        if lines:
            XML.SubElement(case, "system-out").text = "\n".join(lines)

    def _attachment(self, name: str) -> str:
        path = self._folder.find(name)
        if path is None:
            return ""
        project = self._environment.get("CI_PROJECT_DIR", "")
        if project and path.is_relative_to(base := Path(project).resolve()):
            return _text(path.relative_to(base).as_posix())
        return _text(str(path))


def _add_properties(suite: XML.Element, result: RunResult) -> None:
    host = result.host
    values = {
        "outcome": result.outcome,
        "exit_status": str(result.exit_status),
        "script": result.script,
        "anima_qa": host.anima_qa,
        "qemu": host.qemu,
        "accelerator": host.accel,
        "accelerator_reason": host.accel_reason,
        "firmware": host.firmware,
        "system": host.system,
        **{f"image.{machine.name}": machine.image for machine in result.machines},
        **{f"variable.{name}": value for name, value in result.variables.items()},
    }
    properties = XML.SubElement(suite, "properties")
    for name, value in values.items():
        if value:
            XML.SubElement(properties, "property", name=_text(name), value=_text(value))


def _explain(step: StepResult) -> str:
    lines = [step.detail, step.hint, f"at {step.place}" if step.place else ""]
    if step.screen and (compared := screen_text(step.screen)):
        lines.append(f"screen:\n{compared}")
    if step.command:
        code = "none, it was ended" if step.command.exit_code is None else str(step.command.exit_code)
        lines += [f"command: {step.command.command}", f"exit code: {code}"]
        lines += [f"stderr:\n{step.command.stderr}"] if step.command.stderr else []
    return "\n".join(filter(None, lines))


def _text(text: str) -> str:
    return one_line(text, limit=1000)


def _long(text: str) -> str:
    """``text`` as plain lines, clipped, and without the mark that makes CI systems publish files."""
    return plain(clip(text, MAX_OUTPUT // 4, MAX_OUTPUT * 3 // 4).text).replace("[[ATTACHMENT|", "[ [ATTACHMENT|")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _timestamp(started: str) -> str:
    """UTC without a zone: the only form that every reader takes."""
    try:
        return f"{datetime.fromisoformat(started).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    except ValueError:
        return "1970-01-01T00:00:00"
