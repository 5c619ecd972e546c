"""A run's reports, written out of its result."""

from __future__ import annotations

from qa.report.folder import ResultsFolder
from qa.scenario.results import RunResult


def write_reports(folder: ResultsFolder, result: RunResult) -> None:
    """Write ``result.json``, ``junit.xml`` and ``report.html``, in this order: the source comes first.

    Raises:
        NoSpace: the file system is full.
        HostError: a file cannot be written.
    """
    folder.write_result(result)
    render(folder)


def render(folder: ResultsFolder) -> RunResult:
    """Write ``junit.xml`` and ``report.html`` of a folder anew, out of its ``result.json`` alone; returns the result.

    Raises:
        UsageError: the folder has no readable ``result.json``.
        NoSpace: the file system is full.
        HostError: a file cannot be written.
    """
    # Pillow, jinja2 and the XML writer are needed once, at the end: a run does not wait for their import at its start.
    from qa.report.html import render_html  # noqa: PLC0415
    from qa.report.junit import render_junit  # noqa: PLC0415

    result = folder.read_result()
    folder.write(folder.junit_xml, render_junit(folder, result))
    folder.write(folder.report_html, render_html(folder, result))
    return result
