"""The serial console: the raw log, a terminal, and dialogues."""

from qa.console.dialogue import Found, TextWatch
from qa.console.serial import SerialConsole
from qa.console.terminal import Terminal

__all__ = ["Found", "SerialConsole", "Terminal", "TextWatch"]
