"""A host that the single file was copied to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from program import LIMIT_S

from qa import __version__

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "examples/hello.yaml"
CHECKED = (0, f"{SCRIPT}: ok, 8 steps\n", "")
VERSION = (0, f"anima-qa {__version__}\n", "")


class Host:
    """A host that the file was copied to."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.home = folder / "home"
        self.cwd = folder / "work"
        self.file = folder / "anima-qa.pyz"
        self.root = self.home / ".cache/anima-qa/zipapp"
        for made in (self.home, self.cwd):
            made.mkdir(parents=True)
        shutil.copy(file, self.file)

    def settings(self, changes: dict[str, str]) -> dict[str, str]:
        # All that the program itself writes goes elsewhere, so that what is in the home was unpacked.
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.cwd), **changes}

    def start(self, *arguments: object, before: tuple[object, ...] = (), **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(word) for word in (*before, self.file, *arguments)], cwd=self.cwd, env=self.settings(env),
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: object, before: tuple[object, ...] = (), **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, before=before, **env)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        return process.returncode, stdout, stderr

    def unpacked(self) -> list[Path]:
        return [path for path in self.root.iterdir() if path.name != "lock"] if self.root.exists() else []


def on_a_disk_of(size: str, folder: Path, options: str = "") -> tuple[object, ...]:
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    script = f"mount -t tmpfs -o size={size}{options} tmpfs '{folder}' && exec \"$@\""
    return ("unshare", *flags, "sh", "-c", script, "sh")
