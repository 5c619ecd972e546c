"""The same steps in the last run of the script that passed: what it looked like when all was well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from qa.errors import QaError
from qa.report.content import flatten
from qa.report.folder import ResultsFolder, slug
from qa.scenario.results import RunResult

LOOKED_AT = 12
"""Earlier runs that are looked at, the newest first: each is a file to read, and a report is to be there at once."""


def links_to_last_good(folder: ResultsFolder, result: RunResult) -> dict[str, str]:
    """By index of each step that did not pass: where the same step is told in the report of the last run that passed."""
    if result.outcome == "passed":
        return {}
    for path in _earlier(folder.path, slug(result.name)):
        try:
            good = ResultsFolder(path).read_result()
        except QaError:
            continue
        same = (good.name, good.script) == (result.name, result.script)
        if same and good.outcome == "passed" and good.started <= result.started:
            steps = {flat.step.index: flat.step.name for flat in flatten(good.steps)}
            bad = (flat.step for flat in flatten(result.steps) if flat.failed)
            page = f"../{quote(path.name)}/report.html"
            return {step.index: f"{page}#step-{step.index}" for step in bad if steps.get(step.index) == step.name}
    return {}


def _earlier(path: Path, stem: str) -> Iterator[Path]:
    """The folders of runs of that name beside the one at ``path``, the newest first: their names end with the time."""
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{8}}-\d{{6}})(?:-(\d+))?")
    try:
        named = [(match, other) for other in path.resolve().parent.iterdir() if (match := pattern.fullmatch(other.name))]
    except OSError:
        return
    named.sort(key=lambda one: (one[0][1], int(one[0][2] or 1)), reverse=True)
    for _, other in named[: LOOKED_AT + 1]:
        if other.name != path.resolve().name and not other.is_symlink():
            yield other
