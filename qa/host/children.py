"""Whether the kernel lets us look into the memory of our own child processes, which is how running machines are frozen."""

from __future__ import annotations

import os
import subprocess

HINT = "the kernel's setting kernel.yama.ptrace_scope must be 0 or 1, and a container must not take it away"


def cannot_reach_children() -> str | None:
    """Why their memory cannot be read and written, in a few words; None where it can. Tried with a child of ours."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        try:
            os.close(os.open(f"/proc/{child.pid}/mem", os.O_RDWR | os.O_CLOEXEC))
            os.close(os.open(f"/proc/{child.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            return error.strerror or str(error)
    return None
