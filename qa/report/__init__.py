"""Reports: result.json into JUnit XML, one HTML file, and the terminal."""

from __future__ import annotations

from qa.report.eventlog import EventLog
from qa.report.failures import print_failures, print_summary
from qa.report.folder import ResultsFolder
from qa.report.terminal import TerminalReport
from qa.report.write import render, write_reports

__all__ = ["EventLog", "ResultsFolder", "TerminalReport", "print_failures", "print_summary", "render", "write_reports"]
