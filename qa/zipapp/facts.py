"""What the start of the single file must know of it; `tools/zipapp/pack.py` writes this module anew into each file."""

VERSION = "0"
DIGEST = "0" * 16
MACHINE = "x86_64"
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
UNPACKED = 130_000_000
"""Bytes on the disk, for the Python that needs most, with what Python compiles."""
