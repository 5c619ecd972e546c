"""What is kept of a failed step: the last frame, the console's tail, and what the error brought along."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from qa.report.folder import ResultsFolder
from qa.scenario.expectations import shorten
from qa.scenario.machines import ScriptMachine

EVIDENCE_LIMIT_S = 5.0
"""For a picture of the last frame: it takes a tenth of a second of a live QEMU; a dead one must not hang the report."""
CONSOLE_LINES = 200


async def collect(
    folder: ResultsFolder, index: str, machine: ScriptMachine | None, texts: Mapping[str, str], *, has_frame: bool = False
) -> list[str]:
    """Keep evidence for step ``index``; the files, relative to the folder. What cannot be had is left out.

    Args:
        machine: the step's machine, where there is one.
        texts: title to text.
        has_frame: the frame that the step failed at is kept already.
    """
    kept: list[str] = []
    if machine is not None:
        kept += [] if has_frame else await _last_frame(folder, index, machine)
        if tail := _console(machine):  # longer than what an error brings along of it
            texts = {"console": tail, **{title: text for title, text in texts.items() if not title.startswith("console")}}
    seen: set[str] = set()
    for title, text in texts.items():
        content = text.strip("\n")
        if content and content not in seen:
            seen.add(content)
            kept += _write(folder, index, title, content)
    return kept


async def _last_frame(folder: ResultsFolder, index: str, machine: ScriptMachine) -> list[str]:
    try:
        async with asyncio.timeout(EVIDENCE_LIMIT_S):
            path = await machine.screenshot(f"step-{index}-failed")
        return [folder.relative(path)]
    except Exception:  # the guest may be dead, and that is what the report is about
        return []


def _console(machine: ScriptMachine) -> str:
    try:
        return machine.console_tail(CONSOLE_LINES)
    except Exception:
        return ""


def _write(folder: ResultsFolder, index: str, title: str, text: str) -> list[str]:
    path = folder.evidence_path(index, title)
    try:
        folder.write(path, shorten(text) + "\n")
        return [folder.relative(path)]
    except Exception:  # a full disk must not hide why the step failed
        return []
