"""The files of an overview, beside the results folders of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from qa.report.folder import ResultsFolder
from qa.report.html import render_page
from qa.report.junit import render_suites
from qa.report.overview import Overview
from qa.report.overview_view import make_overview_page
from qa.scenario.batch import Ended


def write_overview(out: Path, overview: Overview, ended: Sequence[Ended], now: datetime) -> Path:
    """Write ``OUT/overview-YYYYmmdd-HHMMSS`` as ``.json``, ``.xml`` (JUnit, all runs in one) and ``.html``; the last one's path.

    Args:
        now: the time in the files' names, local time.

    Raises:
        NoSpace: the file system is full.
        HostError: a file cannot be written.
    """
    page = _unused(out, f"overview-{now:%Y%m%d-%H%M%S}")
    folder = ResultsFolder(out)
    folder.write(page.with_suffix(".json"), overview.model_dump_json(by_alias=True, indent=2) + "\n")
    suites = [(one.folder, one.result.model_copy(update={"name": one.name})) for one in ended]
    folder.write(page.with_suffix(".xml"), render_suites(suites, overview.duration_s))
    folder.write(page, render_overview(overview))
    return page


def render_overview(overview: Overview) -> str:
    """The page of ``overview``: one file, like that of a run."""
    return render_page("overview.html.j2", ["report.css", "overview.css"], ["overview.js"], make_overview_page(overview))


def _unused(out: Path, stem: str) -> Path:
    number = 1
    while (path := out / f"{stem}{f'-{number}' if number > 1 else ''}.html").exists() or path.with_suffix(".json").exists():
        number += 1
    return path
