"""A program of 250 bytes for Linux guests that go on from a frozen state: it renews the kernel's randomness and sets the clock.

Forks of one state would draw the same random bytes: writing to ``/dev/urandom`` alone does not change that before the kernel's
next reseeding, which can be a minute away, and no shell can ask for it. Nor does BusyBox' ``date`` know parts of a second. A
program without any library starts faster under software emulation than anything that guests have: the control shell keeps it
open as descriptor 8, where it has no name in any file system.

It reads 64 random bytes and a ``struct timespec`` from stdin, and exits with 0 when both were taken.
"""

from __future__ import annotations

import secrets
import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_PATH = b"/dev/urandom\0"

_SEED = 64
_TIMESPEC = struct.Struct("<qq")


def thaw_program() -> bytes:
    """The program, a static ELF file for x86-64."""
    fail = b"\x6a\x01\x5f\x6a\x3c\x58\x0f\x05"  # exit(1)
    after_open = (
        b"\x89\xc3"  # ebx = the descriptor
        b"\x89\xdf\x6a\x01\x58\x48\x89\xe6\x6a\x40\x5a\x0f\x05"  # write(ebx, stack, 64)
        b"\x89\xdf\x6a\x10\x58\xbe\x07\x52\x00\x00\x0f\x05"  # ioctl(ebx, RNDRESEEDCRNG)
        b"\x89\xc3"  # ebx = its result
        b"\xb8\xe3\x00\x00\x00\x31\xff\x48\x8d\x74\x24\x40\x0f\x05"  # clock_settime(CLOCK_REALTIME, stack + 64)
        b"\x09\xd8\x31\xff\x85\xc0\x40\x0f\x95\xc7\x6a\x3c\x58\x0f\x05"  # exit(either failed)
    )
    to_open_end = b"\x6a\x01\x5e\x0f\x05\x85\xc0" + b"\x78" + bytes([len(after_open)])  # flags 1; syscall; negative: fail
    path_distance = len(to_open_end) + len(after_open) + len(fail)
    opening = b"\x6a\x02\x58\x48\x8d\x3d" + struct.pack("<i", path_distance) + to_open_end  # open(path, O_WRONLY)
    again = b"\x01\xc3\x83\xfb\x50\x75\xe6"  # ebx += what came; fewer than 80 so far: read again, for bash writes line by line
    reading = (
        b"\x48\x83\xec\x60\x31\xdb"  # room on the stack; ebx = 0
        b"\x31\xc0\x31\xff\x48\x8d\x34\x1c\x6a\x50\x5a\x29\xda\x0f\x05\x85\xc0"  # read(0, stack + ebx, 80 - ebx)
        + b"\x7e"
        + bytes([len(again) + len(opening) + len(after_open)])  # nothing came: fail
        + again
    )
    code = reading + opening + after_open + fail + _PATH
    size = _HEADERS + len(code)
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + segment + code


def thaw_input(now: float) -> bytes:
    """What it reads: fresh randomness of this host, and the time to be set, in seconds since the epoch."""
    seconds = int(now)
    return secrets.token_bytes(_SEED) + _TIMESPEC.pack(seconds, int((now - seconds) * 1e9))


def octal(data: bytes) -> str:
    """``data`` as the format of a shell's ``printf``."""
    return "".join(f"\\{byte:03o}" for byte in data)
