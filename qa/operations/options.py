"""What a user may say about a machine before it boots: the same options in scripts, on the command line and over MCP."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from qa.deadline import parse_duration
from qa.errors import UsageError
from qa.screen.layouts import LayoutName
from qa.sizes import Size

LEAST_MEMORY = 64 << 20
"""Bytes. With 56 MB the firmware comes up only at times, with 32 it stops with an exception, with less it says nothing at all."""

LONGEST_MENU = 65
"""Seconds: QEMU hands the firmware a number of milliseconds of 16 bits."""


def _enough_memory(value: int) -> int:
    if value < LEAST_MEMORY:
        raise ValueError(f"memory must be at least {LEAST_MEMORY >> 20}M: UEFI firmware does not start with less")
    return value


def _menu_time(value: Any) -> float:
    if not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not a duration: write 5s")
    try:
        seconds = parse_duration(value)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.hint}") from error
    if seconds and not 1 <= seconds <= LONGEST_MENU:
        raise ValueError(f"boot_menu must be from 1s to {LONGEST_MENU}s, or 0: firmware counts whole seconds")
    return seconds


def _one_line(text: str) -> str:
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text):
        raise ValueError("what is typed at a login has no line breaks or other control characters: write it as one line")
    return text


BootMenu = Annotated[float, BeforeValidator(_menu_time, json_schema_input_type=float | str)]
Memory = Annotated[Size, AfterValidator(_enough_memory)]
Line = Annotated[str, AfterValidator(_one_line)]
"""A text that is typed at a prompt: a second line in it would be a command in the shell behind the prompt."""


class Options(BaseModel):
    """Base of option models: unknown names are errors, and nothing is changed after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoginOptions(Options):
    """A user of the guest, for guests that offer nothing but a login prompt on the serial console."""

    user: Line = Field("root", min_length=1)
    password: Line = ""


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
    channel: Literal["auto", "shell", "ssh", "serial", "none"] = Field(
        "auto",
        description="The way commands go: root shell on the virtio console, SSH, a login on the serial console. "
        "none: there is no way into the guest, and the machine is ready as soon as it runs.",
    )
    login: LoginOptions | None = Field(None, description="For channel: serial, and the user for SSH.")
    boot_menu: BootMenu = Field(
        0.0, description="How long the firmware waits for a key (Esc or F2: its menu) at each boot: 5s. 0 boots at once."
    )
    identity: Literal["keep", "renew"] = Field(
        "keep",
        description="renew: a machine that goes on from a frozen state gets a hostname, machine id and SSH host keys of its own.",
    )
    keyboard: LayoutName = Field(
        "us", description="The layout of the guest's keyboard, in which texts are typed. The guest itself is not changed by it."
    )
    text_language: str = Field(
        "eng",
        pattern=r"^[A-Za-z]\w*(/\w+)?(\+[A-Za-z]\w*(/\w+)?)*$",
        description="What texts on the screen are written in, in the words of tesseract: deu+eng. Text consoles need none.",
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
        if self.channel == "none" and self.login is not None:
            raise ValueError("with channel: none nobody logs in: leave out login, or take channel: serial")
        if self.channel == "none" and self.identity == "renew":
            raise ValueError("with channel: none nothing can give the guest another identity: leave out identity")
        return self
