"""What is recorded beside an image in the cache. It is read back with suspicion: files get cut short and edited."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qa.errors import ImageError

FILE_NAME = "metadata.json"


class Metadata(BaseModel):
    """One image of the cache: where it came from, what is in it, and what it needs."""

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = 1
    name: str = Field(description="The name it is asked for by.")
    origin: Literal["built", "pulled", "imported"]
    source: str = Field(description="The recipe, the URL or the path it came from.")
    key: str = Field("", description="What it was made from: the digest of the recipe, or of the file that was promised.")
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="The image's file, in the same folder.")
    format: str = Field(description="QEMU's name of the format.")
    virtual_size: int = Field(gt=0, description="Bytes that the guest sees.")
    file_size: int = Field(gt=0, description="Bytes of the file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the file.")
    created: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    cloud_init: bool = True
    shell: bool = False
    memory: int = Field(1 << 30, gt=0, description="Bytes of memory that the image is comfortable with.")
    login: str = Field("root", description="The user that the image lets in.")
    packages: dict[str, str] = Field(
        default_factory=dict, description="Packages that a built image is made of, with their versions."
    )
    tools: dict[str, str] = Field(default_factory=dict, description="What built it, with versions.")


def read_metadata(folder: Path) -> Metadata:
    """The record in ``folder``.

    Raises:
        ImageError: it is missing or makes no sense.
    """
    file = folder / FILE_NAME
    try:
        return Metadata.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise ImageError(
            f"the image cache has no record in {folder}", hint=f"remove it: anima-qa image prune {folder.name}"
        ) from None
    except (OSError, ValidationError, ValueError) as error:
        raise ImageError(
            f"the record {file} is damaged",
            hint=f"remove it: anima-qa image prune {folder.name}",
            evidence={"reason": str(error)},
        ) from error


def write_metadata(folder: Path, metadata: Metadata) -> None:
    """Write the record into ``folder``."""
    (folder / FILE_NAME).write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")
