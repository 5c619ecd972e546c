"""Commands and files inside the guest: channels, and how ready it is."""

from qa.guest.channel import Channel, CommandResult

__all__ = ["Channel", "CommandResult"]
