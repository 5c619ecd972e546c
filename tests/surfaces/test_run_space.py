"""Full disks: wherever space runs out, the run says so and ends in order. Each test has a file system of its own."""

from __future__ import annotations

import os
from pathlib import Path

from program import Ended, Program

SCRIPT = "image: builtin\nsteps: [succeed: 'true']\n"


def run_on_small_disk(program: Program, folder: Path, size: str, *arguments: object) -> Ended:
    """Run with ``folder`` on a disk of ``size``, which is gone with the run; what is on it then is copied to ``folder``.copy."""
    mount = f"mount -t tmpfs -o size={size} tmpfs '{folder}'"
    keep = f"cp -a '{folder}' '{folder}.copy'"
    prepare = f"cp -a '{folder}' '{folder}.was' && {mount} && cp -a '{folder}.was/.' '{folder}'"
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    script = f'{prepare} && "$@"; status=$?; {keep}; exit $status'
    return program.run(*arguments, before=["unshare", *flags, "sh", "-c", script, "sh"])


def test_no_space_for_the_machines_disk(fresh_program: Program) -> None:
    ended = run_on_small_disk(fresh_program, fresh_program.home, "128k", "run", fresh_program.script(SCRIPT), "--accel", "tcg")
    assert ended.status == 3
    assert "no space" in ended.text.lower()
    assert "Traceback" not in ended.text
    assert ended.result["outcome"] == "error"
    assert list(Path(f"{fresh_program.home}.copy/cache/work").iterdir()) == []


def test_no_space_for_what_the_guest_writes(fresh_program: Program) -> None:
    script = fresh_program.script("""
image: builtin
machine: {disks: [{size: 100M}]}
steps:
  - name: writes
    succeed: dd if=/dev/urandom of=/dev/vdb bs=1M count=30 conv=fsync
  - succeed: "true"
""")
    ended = run_on_small_disk(fresh_program, fresh_program.home, "8M", "run", script, "--accel", "tcg")
    assert ended.status == 3
    assert "no space is left on the host for what the guest writes" in ended.text
    assert [step["outcome"] for step in ended.result["steps"]] == ["error", "skipped"]
    assert any(path.endswith(".png") for path in ended.result["steps"][0]["evidence"])


def test_no_space_for_pictures_and_files_of_the_guest(program: Program) -> None:
    out = program.cwd / "out"
    out.mkdir()
    script = program.script("""
image: builtin
steps:
  - succeed: head -c 1000000 /dev/urandom > /tmp/big
  - copy_from: {source: /tmp/big, target: big}
    allow_failure: true
  - succeed: head -c 100000 /dev/urandom | od -c > /dev/console
  - screenshot: one
""")
    ended = run_on_small_disk(program, out, "200k", "run", script, "--out", out)
    assert ended.status == 3
    assert "no space" in ended.text
    assert "defect" not in ended.text
    assert not [path for path in Path(f"{out}.copy").rglob("*.png") if path.stat().st_size == 0]
    assert not list(Path(f"{out}.copy").rglob("big"))


def test_no_space_for_the_report(program: Program) -> None:
    out = program.cwd / "out"
    out.mkdir()
    script = program.script("image: ./missing.qcow2\nsteps: [succeed: 'true']\n")
    ended = run_on_small_disk(program, out, "24k", "run", script, "--out", out)
    assert ended.status == 3
    assert "the report could not be written: no space left for the results" in ended.text
    assert "there is no file" in ended.text
    assert not [path for path in Path(f"{out}.copy").rglob(".*") if path.is_file()]


def test_no_space_at_all(fresh_program: Program) -> None:
    ended = run_on_small_disk(fresh_program, fresh_program.home, "4k", "run", fresh_program.script(SCRIPT))
    assert ended.status == 3
    assert "no space" in ended.text.lower()
    assert "defect" not in ended.text


def test_results_cannot_go_into_a_file(program: Program) -> None:
    out = program.cwd / "out"
    out.write_text("")
    ended = program.run("run", program.script(SCRIPT), "--out", out)
    assert ended.status == 2
    assert "is not a folder" in ended.text


def test_results_cannot_go_where_nothing_can_be_made(program: Program) -> None:
    ended = program.run("run", program.script(SCRIPT), "--out", "/proc/results")
    assert ended.status == 3
    assert "cannot write to /proc/results" in ended.text
