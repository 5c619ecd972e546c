"""What a user may say about a machine before it boots: the same options in scripts, on the command line and over MCP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from qa.sizes import Size

LEAST_MEMORY = 64 << 20
"""Bytes. With 56 MB the firmware comes up only at times, with 32 it stops with an exception, with less it says nothing at all."""


def _enough_memory(value: int) -> int:
    if value < LEAST_MEMORY:
        raise ValueError(f"memory must be at least {LEAST_MEMORY >> 20}M: UEFI firmware does not start with less")
    return value


Memory = Annotated[Size, AfterValidator(_enough_memory)]


class Options(BaseModel):
    """Base of option models: unknown names are errors, and nothing is changed after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoginOptions(Options):
    """A user of the guest, for guests that offer nothing but a login prompt on the serial console."""

    user: str = Field("root", min_length=1)
    password: str = ""


class DiskOptions(Options):
    """One more disk. Either empty with a ``size``, or a copy-on-write view of the image at ``path``."""

    size: Size | None = None
    path: Path | None = None
    serial: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,20}$", description="Serial number the guest sees.")

    @model_validator(mode="after")
    def _something(self) -> DiskOptions:
        if self.size is None and self.path is None:
            raise ValueError("a disk needs a size or a path: write disks: [{size: 1G}]")
        return self


class MachineOptions(Options):
    """The hardware of a machine and the ways into it. What is not given comes from the image."""

    memory: Memory | None = Field(None, description="Memory; the image's default where it is not given.")
    cpus: int = Field(2, ge=1, le=64, description="Virtual processors.")
    disk: Size | None = Field(None, description="Size of the first disk, where it shall be larger than the image's.")
    disks: tuple[DiskOptions, ...] = Field((), description="More disks, in the guest's order.")
    network: Literal["user", "restricted", "none"] = Field(
        "user", description="user: the guest reaches what the host reaches; restricted: forwards only; none: no card at all."
    )
    forward: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        (), description="TCP ports of the guest to be reached from this host, on 127.0.0.1 and a free port."
    )
    channel: Literal["auto", "shell", "ssh", "serial"] = Field(
        "auto", description="The way commands go: root shell on the virtio console, SSH, a login on the serial console."
    )
    login: LoginOptions | None = Field(None, description="For channel: serial, and the user for SSH.")
    identity: Literal["keep", "renew"] = Field(
        "keep",
        description="renew: a machine that goes on from a frozen state gets a hostname, machine id and SSH host keys of its own.",
    )
    seed: bool = Field(True, description="Attach the cloud-init seed (NoCloud).")

    @model_validator(mode="after")
    def _fits_together(self) -> MachineOptions:
        if self.network == "none" and self.forward:
            raise ValueError("without a network no port can be forwarded: leave out forward, or take network: restricted")
        if self.network == "none" and self.channel == "ssh":
            raise ValueError("without a network there is no SSH: take another channel, or network: restricted")
        if self.channel == "serial" and self.login is None:
            raise ValueError("channel: serial needs login: {user: ..., password: ...}")
        return self
