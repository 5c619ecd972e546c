"""Paths of this host that users and agents write: what they mean, and what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from qa.errors import UsageError

SHOWN = 200
"""Letters of a path that an error quotes."""

LONGEST_NAME = 255
"""Bytes of a file's name, on all of Linux's file systems."""

_ODD = "it has a character that no name of a file has"


def read_path(text: str | Path) -> Path:
    """The path that ``text`` is: ``~`` is the home folder, ``~name`` that of another user.

    Raises:
        UsageError: it is none.
    """
    try:
        path = Path(text).expanduser()
        names = [os.fsencode(part) for part in path.parts]
    except RuntimeError:
        wrong = f"the home folder of {_shown(str(text).partition('/')[0])} is not known"
    except ValueError:
        wrong = _ODD
    else:
        if any(b"\0" in name for name in names):
            wrong = _ODD
        elif any(len(name) > LONGEST_NAME for name in names):
            wrong = f"a name in it is longer than {LONGEST_NAME} bytes"
        else:
            return path
    raise UsageError(f"{_shown(text)} is no path of this host: {wrong}", hint="write the path of a file or folder, from / on")


def place(folder: Path, text: str | Path) -> Path:
    """Where ``text`` is; a relative path begins in ``folder``.

    It has no ``..``, and links before one are followed at once: whatever appears on the way there, who judges it and who uses
    it mean the same.

    Raises:
        UsageError: it is no path.
    """
    path = folder / read_path(text)
    if ".." not in path.parts:
        return path
    return followed(path) if path.name == ".." else followed(path.parent) / path.name


def followed(path: Path) -> Path:
    """``path`` from the root on with all links followed, as far as it is there.

    Raises:
        UsageError: it cannot be told where that is.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a current folder that is gone
        raise _unknown(path, error) from error


def look(path: Path) -> os.stat_result | None:
    """What is at ``path``, with links followed; None where nothing is.

    Raises:
        UsageError: it cannot be told.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # names that are too long, folders that are not ours, links in a circle
        raise _unknown(path, error) from error


def is_dead_link(path: Path) -> bool:
    """Whether ``path`` is a link that leads to nothing."""
    try:
        path.readlink()
    except (OSError, ValueError):  # it is no link
        return False
    return look(path) is None


def is_there(path: Path) -> bool:
    """Whether there is something at ``path``. Raises as `look` does."""
    return look(path) is not None


def is_folder(path: Path) -> bool:
    """Whether a folder is at ``path``. Raises as `look` does."""
    found = look(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_file(path: Path) -> bool:
    """Whether a file is at ``path``. Raises as `look` does."""
    found = look(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def _unknown(path: Path, error: Exception) -> UsageError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UsageError(f"it cannot be told what {_shown(path)} is: {why}", hint="take another path")


def _shown(text: str | Path) -> str:
    """As it is written; odd characters, which would harm a terminal, as escapes."""
    written = repr(str(text))[1:-1]
    return written if len(written) <= SHOWN else f"{written[:SHOWN]}..."
