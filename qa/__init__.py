"""Boot any UEFI disk image, drive it like a person and like a program, and hand over a report."""

__version__ = "0.1.0.dev0"
