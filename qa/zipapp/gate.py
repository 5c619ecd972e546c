# -*- coding: utf-8 -*-
"""The single file's first code: go on in a Python that it has extension modules for, or say which it needs.

Any Python may come here, so this is written for all of them: Python 2.7 and 3.0 to 3.10 must be able to read it.
"""

import os
import sys

from .facts import MACHINE, PYTHONS

STARTED = "_ANIMA_QA_STARTED"
"""Set for the Python that is started in place of this one, so that none is started for ever."""

CLEAN = "-IS"
"""Python's options for reading nothing of this host: not PYTHONPATH, not the user's modules, not site-packages, whose ``.pth``
files and ``sitecustomize`` run before any code of ours."""

NEEDED = ("asyncio", "ctypes", "email", "http", "multiprocessing", "xml", "_ctypes", "_ssl", "mmap", "pyexpat", "zlib")
"""Of Python's library: what a distribution keeps in another package, or a Python that was built by hand may lack."""

CHECK = (
    "import _imp, sys; from _frozen_importlib_external import PathFinder as finder; sys.exit("
    "sys.argv[1] not in _imp.extension_suffixes() or any("
    "name not in sys.builtin_module_names and finder.find_spec(name) is None for name in sys.argv[2:]))"
)


def suffix(version):
    """How extension modules end for a Python: this names the version, CPython, the architecture, and the C library at once."""
    return ".cpython-%d%d-%s-linux-gnu.so" % (version[0], version[1], MACHINE)


def suits():
    """Whether this Python is one that the file was made for."""
    version = tuple(sys.version_info[:2])
    if version not in PYTHONS:
        return False
    import _imp

    return suffix(version) in _imp.extension_suffixes() and not lacking()


def lacking():
    """The names in `NEEDED` that this Python does not have."""
    from _frozen_importlib_external import PathFinder

    return [name for name in NEEDED if name not in sys.builtin_module_names and PathFinder.find_spec(name) is None]


def is_clean():
    """Whether nothing that is installed on this host can have been imported before us."""
    return sys.flags.isolated and sys.flags.no_site


def another(environment):
    """The path of the newest Python in PATH that suits, or None."""
    import subprocess

    with open(os.devnull, "r+b") as nowhere:
        for version in sorted(PYTHONS, reverse=True):
            for folder in environment.get("PATH", os.defpath).split(os.pathsep):
                path = os.path.join(folder, "python%d.%d" % version)
                if not (os.path.isabs(path) and os.access(path, os.X_OK)):
                    continue
                command = [path, CLEAN + "c", CHECK, suffix(version)] + list(NEEDED)
                try:
                    status = subprocess.call(command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
                except OSError:
                    continue
                if status == 0:
                    return path
    return None


def refusal():
    """The two lines for a host that has no such Python."""
    names = ["%d.%d" % version for version in PYTHONS]
    wanted = ", ".join(names[:-1]) + " or " + names[-1]
    name = getattr(getattr(sys, "implementation", None), "name", "python")
    version = ".".join(str(number) for number in sys.version_info[:3])
    here = "%s %s at %s" % (name, version, sys.executable or "an unknown place")
    if tuple(sys.version_info[:2]) in PYTHONS and lacking():
        here += ", without its modules " + ", ".join(name.lstrip("_") for name in lacking())
    return (
        "error: anima-qa needs CPython %s on Linux with glibc, for %s; this is %s\n"
        "  -> install one of them (on Debian: apt-get install python3); a python3.11 or newer in PATH is found by itself\n"
    ) % (wanted, MACHINE, here)


def go_on(archive):
    """Continue here, or in another Python; ends with status 3 where there is none."""
    try:
        started = os.environ.pop(STARTED, None)
        if not suits():
            path = None if started else another(os.environ)
            if path is None:
                if sys.stderr:
                    sys.stderr.write(refusal())
                sys.exit(3)
            start(path, archive)
        elif not (started or is_clean()) and sys.executable:
            start(sys.executable, archive)
        else:
            from .start import main

            main(archive)
    except KeyboardInterrupt:
        sys.exit(130)


def start(python, archive):
    """Become another Python, with this command line."""
    os.environ[STARTED] = "1"
    os.execv(python, [python, CLEAN, archive] + sys.argv[1:])
