"""The same steps in the last run of the script that passed: what it looked like when all was well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from qa.errors import QaError
from qa.report.content import flatten
from qa.report.folder import ResultsFolder, slug
from qa.scenario.batch import folder_name
from qa.scenario.results import RunResult

LOOKED_AT = 12
"""Earlier runs that passed and are looked at, the newest first: each is a file to read, and a report is to be there at once."""

BEGUN = 500
"""Earlier runs of which the beginning is read, to find out whether they passed: a command may have made many rounds."""

BEGINNING = 4096
FOLDER = re.compile(r"(.+?)-(\d{8}-\d{6})(?:-(\d+))?")
NUMBERS = re.compile(r"(?:(?:^|-)(\d+))?(?:(?:^|-)round-(\d+))?$")


def links_to_last_good(folder: ResultsFolder, result: RunResult) -> dict[str, str]:
    """By index of each step that did not pass: where the same step is told in the report of the last run that passed.

    With ``--repeat`` that may be an earlier round, and one of another number.
    """
    if result.outcome == "passed":
        return {}
    passed = (path for path in islice(_earlier(folder.path.resolve(), result.name), BEGUN) if _may_have_passed(path))
    for path in islice(passed, LOOKED_AT):
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


def _earlier(path: Path, name: str) -> Iterator[Path]:
    """The folders of runs of that name beside the one at ``path``, none newer, the newest first: their names tell the time."""
    own, start = FOLDER.fullmatch(path.name), slug(name[:20], "")
    try:
        found = [(match, other) for other in path.parent.iterdir() if (match := FOLDER.fullmatch(other.name))]
    except OSError:
        return
    found = [one for one in found if one[0][1].startswith(start) and (own is None or one[0][2] <= own[2])]
    found.sort(key=lambda one: (one[0][2], int(one[0][3] or 1), one[1].name), reverse=True)
    for match, other in found:
        if other.name != path.name and _is_of(match[1], name) and not other.is_symlink():
            yield other


def _is_of(stem: str, name: str) -> bool:
    """Whether a folder that begins with ``stem`` is of a run of ``name``: of a round, or of a script that shares its name."""
    match = NUMBERS.search(stem)
    again, turn = match.groups() if match else (None, None)
    again, turn = f" ({again})" if again else "", f", round {turn}" if turn else ""
    return any(slug(folder_name(name + suffix)) == stem for suffix in ("", again, turn, again + turn))


def _may_have_passed(path: Path) -> bool:
    """Whether the beginning of the result at ``path`` leaves open that the run passed."""
    try:
        with ResultsFolder(path).result_json.open("rb") as file:
            start = file.read(BEGINNING)
    except OSError:
        return False
    return b'\n  "outcome": "' not in start or b'\n  "outcome": "passed"' in start
