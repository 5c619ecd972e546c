"""The catalogue of cloud images that can be asked for by name, and the lists of checksums that their vendors publish.

The addresses come from the vendors' documentation; where this project is developed they cannot be fetched. What is fetched is
always compared with the vendor's checksum, so a wrong address fails and cannot give a wrong image.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from qa.errors import DownloadFailed, ImageError
from qa.paths import data_folder

Algorithm = Literal["sha256", "sha512"]

_ALGORITHMS: dict[int, Algorithm] = {64: "sha256", 128: "sha512"}
_GNU = re.compile(r"^\\?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?:[ \t]+[ *]?(\S+))?\s*$")
_BSD = re.compile(r"^(SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)\s*$")


class Checksums(BaseModel):
    """Where a vendor's list of checksums is, and how its lines are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https://")
    format: Literal["gnu", "bsd"]


class KnownImage(BaseModel):
    """One cloud image of the catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    url: str = Field(pattern=r"^https://")
    checksums: Checksums
    user: str = Field(description="The user that cloud-init makes.")
    memory: int = Field(1024, gt=0, description="MiB that the image is comfortable with.")
    cloud_init: bool = True
    compressed: Literal["xz", "gz"] | None = None


@cache
def catalogue() -> dict[str, KnownImage]:
    """All known images, by name.

    Raises:
        ImageError: the catalogue that travels with the package is damaged.
    """
    file = data_folder("images") / "catalog.yaml"
    try:
        return TypeAdapter(dict[str, KnownImage]).validate_python(YAML(typ="safe").load(file))
    except (OSError, YAMLError, ValidationError) as error:
        raise ImageError(f"the catalogue {file} is damaged", evidence={"reason": str(error)}) from error


def find_checksum(text: str, file_name: str, style: Literal["gnu", "bsd"]) -> tuple[Algorithm, str]:
    """The algorithm and the digest that a vendor's list has for ``file_name``. One digest without a name is for any file.

    Raises:
        DownloadFailed: the list does not have the file, or is no such list.
    """
    found = _gnu_lines(text) if style == "gnu" else _bsd_lines(text)
    for name, digest in found:
        if name is None or name.rsplit("/", 1)[-1] == file_name:
            return _ALGORITHMS[len(digest)], digest.lower()
    raise DownloadFailed(
        f"the vendor's list of checksums does not have {file_name}",
        hint="the image may have been renamed or withdrawn; a URL with #sha256=... works without the list",
        evidence={"the list begins": text[:500]},
    )


def _gnu_lines(text: str) -> list[tuple[str | None, str]]:
    matches = [match for line in text.splitlines() if (match := _GNU.match(line))]
    named = [(match[2], match[1]) for match in matches]
    alone = len(matches) == 1
    return [(name, digest) for name, digest in named if name is not None or alone]


def _bsd_lines(text: str) -> list[tuple[str | None, str]]:
    matches = [match for line in text.splitlines() if (match := _BSD.match(line))]
    return [(match[2], match[3]) for match in matches if len(match[3]) in _ALGORITHMS]
