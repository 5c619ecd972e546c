"""Measurements, printed as a table of ratios taken side by side in one run. ``python -m benchmarks --help``."""
