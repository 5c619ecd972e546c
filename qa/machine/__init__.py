"""``Machine``: the vocabulary of scripts, put together out of the floors below."""

from qa.machine.machine import Machine
from qa.machine.setup import MachineSetup

__all__ = ["Machine", "MachineSetup"]
