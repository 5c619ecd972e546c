"""The single file's start in a Python that suits: shut out what lies around, unpack if need be, and call the program.

Nothing may be imported here before `shut_out` but what Python has built in.
"""

import os
import sys


def main(archive: str) -> None:
    """Run the program that is in ``archive``."""
    from .streams import open_missing_streams

    open_missing_streams()  # first of all: the lock that is held from here on must not become stdout
    archive = os.path.abspath(archive)
    shut_out(archive)
    sys.path[0] = _modules(archive)
    from qa.cli import main as program

    program()


def _modules(archive: str) -> str:
    from .place import CannotStart, unpacked

    try:
        return unpacked(archive, dict(os.environ), os.path.expanduser("~"))
    except CannotStart as error:
        if sys.stderr:
            sys.stderr.write(f"{error}\n")
        sys.exit(3)


def shut_out(archive: str) -> None:
    """Let modules come from ``archive`` and from Python's own library only: what is installed on this host is not what the
    program was tested with. That nothing of it is imported already is the work of `gate`.
    """
    sys.path[:] = [archive, *(place for place in sys.path if _is_pythons_own(place))]


def _is_pythons_own(place: str) -> bool:
    major, minor = sys.version_info[:2]
    names = {f"python{major}.{minor}", f"python{major}{minor}.zip", "lib-dynload"}
    folders = (sys.base_prefix, sys.base_exec_prefix)
    return os.path.basename(place) in names and any(place.startswith(f"{folder.rstrip('/')}/") for folder in folders)
