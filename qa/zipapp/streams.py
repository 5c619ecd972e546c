"""Standard streams that the caller closed."""

import os


def open_missing_streams() -> None:
    """Where the caller closed a standard stream (``>&-``), take one to nowhere: else the next file opened would get its place,
    and what is printed would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
