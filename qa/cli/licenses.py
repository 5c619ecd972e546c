"""``anima-qa --licenses``: what the program is made of, and under which licenses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from qa.paths import data_folder

OWN = "anima-qa"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONG = 60
"""Characters from which on the field ``License`` is a license's text, not its name."""

_OF_ONE_FILE = {"qemu.qmp": ("qemu/qmp/legacy.py", "GNU General Public License v2 (GPLv2)")}
"""A license that holds for one file alone, which the single file leaves out."""

_COMPILED_IN = [
    "Compiled into them: OpenSSL (cryptography; Apache-2.0), libffi (cffi; MIT), Rust crates (cryptography, pydantic_core and",
    "rpds-py; MIT or Apache-2.0), and the libraries that the license texts of Pillow and numpy name.",
]

LIBRARIES = {
    "libXau": "MIT",
    "libavif": "BSD-2-Clause",
    "libbrotlicommon": "MIT",
    "libbrotlidec": "MIT",
    "libfreetype": "FTL OR GPL-2.0-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libharfbuzz": "MIT-Modern-Variant",
    "libjpeg": "IJG AND BSD-3-Clause AND Zlib",
    "liblcms2": "MIT",
    "liblzma": "0BSD",
    "libopenjp2": "BSD-2-Clause",
    "libpng16": "libpng-2.0",
    "libquadmath": "LGPL-2.1-or-later",
    "libscipy_openblas64_": "BSD-3-Clause AND BSD-3-Clause-Open-MPI",
    "libsharpyuv": "BSD-3-Clause",
    "libtiff": "libtiff",
    "libwebp": "BSD-3-Clause",
    "libwebpdemux": "BSD-3-Clause",
    "libwebpmux": "BSD-3-Clause",
    "libxcb": "MIT",
    "libzstd": "BSD-3-Clause",
}
"""Shared libraries that packages bring along in a folder ``*.libs``, as the license texts of these packages say it."""


@dataclass(frozen=True)
class Part:
    """A Python package that the program consists of. ``folder`` has its license's text."""

    name: str
    version: str
    license: str
    folder: Path | None


def parts() -> list[Part]:
    """The program and what it needs, as far as it is installed; by name."""
    found: dict[str, Part] = {}
    names = [OWN]
    while names:
        name = names.pop()
        if _normal(name) in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another Python or another system
        found[_normal(name)] = Part(package.metadata["Name"], package.version, _license(package), _folder(package))
        names += _needed(package)
    return [found[name] for name in sorted(found)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(package: Distribution) -> Iterator[str]:
    for wish in package.requires or []:
        if not re.search(r"\bextra\s*==", wish) and (name := _NAME.match(wish)):
            yield name[0]


def _license(package: Distribution) -> str:
    data = package.metadata
    if "License-Expression" in data:
        return str(data["License-Expression"])
    classifiers = [value.rpartition(" :: ")[2] for value in data.get_all("Classifier") or [] if value.startswith("License ::")]
    file, of_file = _OF_ONE_FILE.get(data["Name"], ("", ""))
    absent = {"OSI Approved", "" if Path(str(package.locate_file(file))).exists() else of_file}
    classifiers = [name for name in classifiers if name not in absent]
    said = (data.get_all("License") or [""])[0]
    if said and len(said) < _LONG and "\n" not in said and said != "UNKNOWN":
        return str(said)
    return ", ".join(classifiers) or "see its folder"


def _folder(package: Distribution) -> Path | None:
    metadata = next((file for file in package.files or [] if file.name == "METADATA"), None)
    if metadata is not None:
        return Path(str(package.locate_file(metadata))).parent
    return next(Path(str(package.locate_file(""))).glob(f"{re.sub(r'[-_.]+', '_', package.metadata['Name'])}-*.dist-info"), None)


def libraries() -> list[tuple[str, str, str]]:
    """The shared libraries that the packages bring along: name, package, license."""
    found = []
    for folder in sorted({part.folder.parent for part in parts() if part.folder}):
        for file in sorted(folder.glob("*.libs/*.so*")):
            name, package = file.name.partition("-")[0], file.parent.name.removesuffix(".libs")
            found.append((name, package, LIBRARIES.get(name, f"see the license texts of {package}")))
    return found


def text() -> str:
    """All of it, for a person."""
    known = parts()
    lines = [f"{OWN} is made of these Python packages:", ""]
    lines += _table([(part.name, part.version, part.license) for part in known])
    if folders := {part.folder.parent for part in known if part.folder}:
        lines += [
            "",
            f"The texts of their licenses are in {', '.join(map(str, sorted(folders)))}, in the folders NAME-VERSION.dist-info.",
        ]
    if brought := libraries():
        lines += ["", "Libraries that some of them bring along, and with which:", "", *_table(brought), ""]
    lines += _COMPILED_IN
    lines += ["", *_guest()]
    return "\n".join([*lines, ""])


def _guest() -> list[str]:
    folder = data_folder("prebuilt") / "builtin"
    try:
        packages = json.loads((folder / "packages.json").read_bytes())
    except FileNotFoundError:
        return [
            "The built-in guest is not part of this installation: it is built on this machine out of Debian's packages.",
            "anima-qa image info builtin lists them.",
        ]
    rows = [(one["name"], one["version"], ", ".join(one["licenses"]) or "see its copyright file") for one in packages]
    sources = sorted({f"{one['source']} {one['source_version']}" for one in packages})
    return [
        "The built-in guest is made of these Debian packages:", "", *_table(rows), "",
        f"Their copyright files are in {folder / 'copyrights'}.",
        "Their sources are in Debian's archive, whose snapshots keep all versions, as:",
        *(f"  {source}" for source in sources),
        f"The recipe is in {data_folder('images') / 'builtin'}.",
    ]  # fmt: skip


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"  {name:<{widths[0]}}  {version:<{widths[1]}}  {license_}" for name, version, license_ in rows]
