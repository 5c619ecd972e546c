"""Many machines: who owns them, and what dead owners left behind."""

from qa.fleet.owner import Owner, sweep

__all__ = ["Owner", "sweep"]
