"""``report.html``: one file that opens anywhere, from disk, with no network, whatever the guest printed.

The page works without scripts (CI servers often forbid them); the script adds keys, the filter and enlarged pictures. A
content security policy allows exactly our style and our script, by their digests, and pictures inside the page.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from qa.report.folder import ResultsFolder
from qa.report.view import make_page
from qa.scenario.results import RunResult


def render_html(folder: ResultsFolder, result: RunResult) -> str:
    """The page for ``result``; pictures, consoles and evidence are read out of ``folder``."""
    styles, scripts = ("report.css", "screen.css"), ("report.js", "screen.js", "film.js")
    return render_page("report.html.j2", styles, scripts, make_page(folder, result))


def render_page(template: str, styles: Sequence[str], scripts: Sequence[str], page: object) -> str:
    """The page that ``template`` makes of ``page``, with its styles and its scripts inside; all are names of files."""
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, code = ("".join(_template(name) for name in names) for names in (styles, scripts))
    return environment.get_template(template).render(
        page=page,
        # Both are ours and hold no guest output: they must reach the page as they are, or their digests would not fit.
        style=Markup(style),  # noqa: S704
        script=Markup(code),  # noqa: S704
        style_digest=_digest(style),
        script_digest=_digest(code),
    )


def _template(name: str) -> str:
    return files("qa.report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
