"""A process that has memory as a QEMU has it: the guest's, mapped from a file or not, and the display's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qa.qemu.memory import PAGE, Block

MAIN = 64 * PAGE
DISPLAY = 16 * PAGE

_PROGRAM = """
import ctypes, mmap, sys
path, main, display = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if path:
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), main, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
else:
    memory = mmap.mmap(-1, main, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
screen = mmap.mmap(-1, display, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for one in memory, screen:
    print(ctypes.addressof(ctypes.c_char.from_buffer(one)), flush=True)
for line in sys.stdin:
    what, offset, data = line.split()
    data = bytes.fromhex(data)
    one = memory if what == "main" else screen
    one[int(offset) : int(offset) + len(data)] = data
    print("done", flush=True)
"""


class PlayedQemu:
    """The process.

    Attributes:
        main: the guest's memory.
        display: the display's.
    """

    def __init__(self, process: subprocess.Popen[str], size: int) -> None:
        self._process = process
        self.pid = process.pid
        self.main = Block("pc.ram", self._number(), size)
        self.display = Block("0000:00:01.0/vga.vram", self._number(), DISPLAY)

    def _number(self) -> int:
        assert self._process.stdout
        return int(self._process.stdout.readline())

    def writes(self, offset: int, data: bytes, what: str = "main") -> None:
        """Have the process itself write to its memory."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{what} {offset} {data.hex()}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def dies(self) -> None:
        self._process.kill()
        self._process.wait()

    def blocks(self) -> dict[str, Any]:
        """QEMU's answer to ``info ramblock``."""
        rows = [
            "              Block Name    PSize              Offset               Used              Total                HVA  RO"
        ]
        rows += [
            f"{block.name:>24}    4 KiB  0x{0:016x} 0x{block.size:016x} 0x{block.size:016x} 0x{block.address:016x}  rw"
            for block in (self.main, Block("/rom@etc/acpi/tables", 4096, 4096), self.display)
        ]
        return {"return": "\r\n".join(rows) + "\r\n"}


@contextmanager
def played_qemu(memory: Path | None = None, size: int = MAIN) -> Iterator[PlayedQemu]:
    """A process whose main memory is ``memory``, as forks have it, or was empty when it began."""
    command = [sys.executable, "-c", _PROGRAM, str(memory or ""), str(size), str(DISPLAY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield PlayedQemu(process, size)
        finally:
            process.kill()
