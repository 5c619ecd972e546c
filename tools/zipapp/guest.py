"""Build the built-in guest for the single file, with the record of its packages and their copyright files.

guest.py PROGRAM TREE HOME: the modules in PROGRAM build it, HOME keeps it, and it goes to ``TREE/qa/_data/prebuilt/builtin``.
guest.py HOME: print the versions that apt has now of the packages that the guest in HOME was made of; others make another guest.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

NAME = "builtin"
CREATED = datetime.fromtimestamp(1700000000, UTC)
"""As the recipe's own files: equal packages give equal files."""

KERNEL = "linux-image-cloud-amd64"
"""The package that names the kernel's own."""

PROSE = {
    "busybox-static": ["GPL-2"],
    "libc6": ["LGPL-2.1+"],
    "libcrypt1": ["LGPL-2.1+"],
    "libgcc-s1": ["GPL-3+ with the GCC runtime library exception"],
}
"""What the copyright files say that are written for people only."""


async def build(home: Path, copyrights: Path) -> tuple[Path, str, Path]:
    """The folder with the copyright files (in ``copyrights``), the image's record as JSON, and the image."""
    from qa.events import Bus, Notice
    from qa.images.recipes import build, recipes
    from qa.paths import Paths

    bus = Bus()
    bus.subscribe(lambda event: print(f"guest: {event.message}", file=sys.stderr) if isinstance(event, Notice) else None)
    kept = copyrights / recipes()[NAME].key()
    versions = kept / "versions"
    is_fresh = versions.exists() and versions.read_text(encoding="utf-8") == candidates(kept)
    fresh = copyrights / "new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    os.environ["COPYRIGHTS"] = str(fresh)
    entry = await build(NAME, paths=Paths.from_environment({"ANIMA_QA_HOME": str(home)}), bus=bus, force=not is_fresh)
    if not is_fresh:
        shutil.rmtree(kept, ignore_errors=True)
        fresh.rename(kept)
        versions.write_text(candidates(kept), encoding="utf-8")
    return kept, entry.metadata.model_copy(update={"created": CREATED}).model_dump_json(indent=2), entry.path


def candidates(kept: Path) -> str:
    """What apt would take today for the packages in the record ``kept``."""
    names = {line.split()[0] for line in (kept / "sources").read_text(encoding="utf-8").splitlines()}
    command = ["apt-cache", "show", "--no-all-versions", *sorted(names | {KERNEL})]
    known = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return "".join(f"{line}\n" for line in known.splitlines() if line.startswith(("Package: ", "Version: ")))


def licenses(text: str) -> list[str]:
    """The short names of licenses in a machine-readable copyright file; nothing for one that is prose."""
    if not text.startswith("Format:"):
        return []
    return sorted({name.strip() for name in re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)})


def main() -> None:
    if len(sys.argv) == 2:
        for record in sorted(Path(sys.argv[1], "copyrights").glob("*/sources")):
            print(candidates(record.parent), end="")
        return
    program, tree, home = map(Path, sys.argv[1:])
    sys.path.insert(0, str(program))
    kept, record, image = asyncio.run(build(home, home / "copyrights"))
    target = tree / "qa/_data/prebuilt" / NAME
    (target / "copyrights").mkdir(parents=True)
    shutil.copyfile(image, target / image.name)
    (target / "metadata.json").write_text(record + "\n", encoding="utf-8")
    packages = []
    for line in sorted((kept / "sources").read_text(encoding="utf-8").splitlines()):
        name, version, source, source_version = line.split()
        text = (kept / name).read_text(encoding="utf-8")
        (target / "copyrights" / name).write_text(text, encoding="utf-8")
        packages.append(
            {
                "name": name,
                "version": version,
                "source": source,
                "source_version": source_version,
                "licenses": licenses(text) or PROSE.get(name, []),
            }
        )
    (target / "packages.json").write_text(json.dumps(packages, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
