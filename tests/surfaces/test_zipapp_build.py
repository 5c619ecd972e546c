"""The single file is the same, byte for byte, wherever and by whomever it is built."""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from pathlib import Path

TOP = Path(__file__).parents[2]


def build(folder: Path, **env: str) -> str:
    done = subprocess.run(
        [folder / "build_zipapp.sh"], env={**os.environ, **env}, umask=0o077, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return sha256((folder / "dist/anima-qa.pyz").read_bytes()).hexdigest()


def test_another_folder_another_umask_another_time_zone(tmp_path: Path) -> None:
    here = build(TOP)
    other = tmp_path / "an other folder"
    for name in subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, text=True).splitlines():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        if (TOP / name).exists():
            (other / name).write_bytes((TOP / name).read_bytes())
            (other / name).chmod(0o700)
    wheels = other / ".cache/zipapp/wheels"  # all else is made anew: the guest, the build's own tools
    wheels.parent.mkdir(parents=True)
    wheels.symlink_to(TOP / ".cache/zipapp/wheels")
    assert build(other, TZ="Pacific/Auckland", LC_ALL="C.UTF-8", HOME=str(tmp_path)) == here


def test_what_has_not_changed_is_not_built_again() -> None:
    build(TOP)
    before = (TOP / "dist/anima-qa.pyz").stat()
    build(TOP)
    after = (TOP / "dist/anima-qa.pyz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_arguments_that_make_no_sense() -> None:
    for arguments, said in ((["--machine", "s390x"], "there is no build for 's390x'"), (["--fast"], "unknown argument '--fast'")):
        done = subprocess.run([TOP / "build_zipapp.sh", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
