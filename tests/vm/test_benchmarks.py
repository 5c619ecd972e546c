"""The benchmarks run: a short round of each, whose figures nobody looks at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_each_measurement_gives_its_rows_with_ratios_to_the_first() -> None:
    subprocess.run([ROOT / "build_zipapp.sh"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--short", "--no-debian", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    groups: dict[str, list[dict[str, object]]] = {}
    for row in json.loads(done.stdout)["rows"]:
        groups.setdefault(row["group"], []).append(row)
    assert len(groups) == 38
    for rows in groups.values():
        assert rows[0]["ratio"] == 1.0
        assert all(float(str(row["value"])) >= 0 for row in rows)
    typed, read = groups["typing on tty1"], groups["a console of 40x12: wrong"]
    assert [str(row["note"]).partition(" of")[0] for row in typed if row["subject"] == "send_chars"] == ["0"]
    assert [row["value"] for row in read if row["subject"] == "glyph by glyph"] == [0]
