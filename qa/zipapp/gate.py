# -*- coding: utf-8 -*-
"""The single file's first code: go on in a Python that it has extension modules for, or say which it needs.

Any Python may come here, so this is written for all of them: Python 2.7 and 3.0 to 3.10 must be able to read it.
"""

import os
import sys

from .facts import MACHINE, PYTHONS

TRIED = "_ANIMA_QA_ANOTHER_PYTHON"
CHECK = "import _imp, sys; sys.exit(sys.argv[1] not in _imp.extension_suffixes())"


def suffix(version):
    """How extension modules end for a Python: this names the version, CPython, the architecture, and the C library at once."""
    return ".cpython-%d%d-%s-linux-gnu.so" % (version[0], version[1], MACHINE)


def suits():
    """Whether this Python is one that the file was made for."""
    version = tuple(sys.version_info[:2])
    if version not in PYTHONS:
        return False
    import _imp

    return suffix(version) in _imp.extension_suffixes()


def another(environment):
    """The path of the newest Python in PATH that suits, or None."""
    import subprocess

    with open(os.devnull, "r+b") as nowhere:
        for version in sorted(PYTHONS, reverse=True):
            for folder in environment.get("PATH", os.defpath).split(os.pathsep):
                path = os.path.join(folder, "python%d.%d" % version)
                if not (os.path.isabs(path) and os.access(path, os.X_OK)):
                    continue
                command = [path, "-sEc", CHECK, suffix(version)]
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
    return (
        "error: anima-qa needs CPython %s on Linux with glibc, for %s; this is %s\n"
        "  -> install one of them (on Debian: apt-get install python3); a python3.11 or newer in PATH is found by itself\n"
    ) % (wanted, MACHINE, here)


def go_on(archive):
    """Continue here, or in another Python; ends with status 3 where there is none."""
    tried = os.environ.pop(TRIED, None)
    if suits():
        from .start import main

        main(archive)
        return
    path = None if tried else another(os.environ)
    if path is None:
        sys.stderr.write(refusal())
        sys.exit(3)
    os.environ[TRIED] = "1"
    os.execv(path, [path, "-sE", archive] + sys.argv[1:])
