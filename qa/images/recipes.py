"""Images that are built here: a recipe is a folder with ``recipe.yaml``, ``build.sh`` and what that needs.

``build.sh OUT [SUITE]`` makes the image. It prints ``progress: DONE/TOTAL TEXT`` and ``package: NAME VERSION`` for us; all it
prints is kept as ``build.log`` beside the image. A recipe with a ``base`` is built by the script of that one, which finds the
recipe's folder in the variable ``RECIPE``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from qa.errors import HostError, ImageError, ImageNotFound, NoSpace, ToolMissing
from qa.events import Bus, Progress
from qa.host.packages import install_hint
from qa.images.locks import exclusive
from qa.images.metadata import Metadata
from qa.images.prebuilt import adopt, prebuilt
from qa.images.probe import probe
from qa.images.store import Entry, Store, sha256_of
from qa.images.tools import end_group, find_tool, run_tool
from qa.paths import Paths, data_folder

IMAGE_FILE = "image.qcow2"
LOG_FILE = "build.log"
LOG_TAIL = 30
"""Lines of the log that go into an error."""

# Programs that come with another thing's package.
_PART_OF = {"mmd": "mtools", "mcopy": "mtools", "apt-cache": "apt-get", "dpkg-deb": "dpkg"}
_PROGRESS = re.compile(rb"progress: (\d+)/(\d+) (.*)")
_PACKAGE = re.compile(rb"package: (\S+) (\S+)")
_VERSIONED = {"qemu-img": "--version", "grub-mkimage": "--version", "mmdebstrap": "--version"}


class Description(BaseModel):
    """``recipe.yaml``: what must be known before the recipe runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    base: str | None = Field(None, pattern=r"^[a-z0-9-]+$", description="The recipe whose script builds it.")
    tools: list[str]
    cloud_init: bool
    shell: bool
    memory_mib: int = Field(gt=0)
    suite: str | None = Field(None, description="Debian release that is built where none is asked for.")
    root: bool = Field(False, description="Whether it must run as root.")
    time_limit_s: float = Field(gt=0)


@dataclass(frozen=True)
class Recipe:
    """A way to build an image."""

    name: str
    folder: Path
    description: Description

    @property
    def script_folder(self) -> Path:
        """Where ``build.sh`` is."""
        return self.folder.parent / self.description.base if self.description.base else self.folder

    def key(self, suite: str | None = None) -> str:
        """A digest of the recipe's files, those that its script may read too, and the suite: another key is another image."""
        digest = hashlib.sha256((suite or self.description.suite or "").encode())
        for folder in dict.fromkeys((self.folder, self.script_folder)):
            for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".qcow2", ".pyc"}):
                content = file.read_bytes()
                digest.update(f"\0{file.relative_to(folder)}\0{len(content)}\0".encode())
                digest.update(content)
        return digest.hexdigest()

    def check_host(self) -> None:
        """Raise unless this host has what the recipe needs.

        Raises:
            ToolMissing: a program is missing; the hint installs it. All that are missing are named.
            HostError: the recipe needs root.
        """
        missing = []
        for tool in ("bash", *self.description.tools):
            try:
                find_tool(tool)
            except ToolMissing:
                missing.append(tool)
        if missing:
            things = dict.fromkeys(_PART_OF.get(tool, tool) for tool in missing)
            raise ToolMissing(
                f"building the image {self.name!r} needs {', '.join(missing)}, not installed here",
                hint="; ".join(install_hint(thing) for thing in things),
            )
        if self.description.root and os.geteuid() != 0:
            raise HostError(
                f"building the image {self.name!r} needs root, because the guest's files have many owners",
                hint=f"sudo anima-qa image build {self.name}, then anima-qa image import what it made; running it needs no root",
            )


def recipes() -> dict[str, Recipe]:
    """All recipes that travel with the package, by name."""
    found = {}
    for file in sorted(data_folder("images").glob("*/recipe.yaml")):
        found[file.parent.name] = Recipe(file.parent.name, file.parent, _read(file))
    return found


def _read(file: Path) -> Description:
    try:
        return Description.model_validate(YAML(typ="safe").load(file))
    except (YAMLError, ValidationError) as error:
        raise ImageError(f"the recipe {file} is damaged", evidence={"reason": str(error)}) from error


async def build(name: str, *, paths: Paths, bus: Bus, suite: str | None = None, force: bool = False) -> Entry:
    """The image of the recipe ``name``: from the cache, or what travels with the program, or built now.

    Two processes that ask at once build once.

    Args:
        suite: the Debian release, for recipes that can make several; None for the recipe's own.
        force: build even if the cache has it.

    Raises:
        ImageNotFound: there is no such recipe.
        HostError: this host cannot build it: programs or rights are missing.
        ImageError: the build failed; the evidence has the end of its log.
        NoSpace: the file system is full.
    """
    recipe = recipes().get(name)
    if recipe is None:
        raise ImageNotFound(f"there is no recipe {name!r}", hint=f"there are: {', '.join(recipes())}")
    store = Store.of(paths)
    key = recipe.key(suite)
    if not force and (entry := store.find(name, key)):
        return entry
    ready = None if force else prebuilt(name, key)
    if ready is None:
        recipe.check_host()
    started_waiting = lambda: bus.notice(f"another process is building the image {name!r}; waiting for it")  # noqa: E731
    async with exclusive(store.lock(name), started_waiting):
        if not force and (entry := store.find(name, key)):
            return entry
        store.sweep()
        async with store.workshop() as work:
            if ready is not None:
                return await adopt(ready, store, work, _entry_name(recipe, key))
            return await _build(recipe, store, work, suite, bus)


async def _build(recipe: Recipe, store: Store, work: Path, suite: str | None, bus: Bus) -> Entry:
    prepared, scratch = work / "entry", work / "scratch"
    prepared.mkdir()
    scratch.mkdir()
    image = prepared / IMAGE_FILE
    key = recipe.key(suite)
    suite = suite or recipe.description.suite
    bus.notice(f"building the image {recipe.name!r} ({recipe.description.description}); this is done once for this machine")
    argv = ["bash", str(recipe.script_folder / "build.sh"), str(image), *([suite] if suite else [])]
    packages = await _run(recipe, argv, scratch, prepared / LOG_FILE, bus)
    found = await probe(image)
    if found.format != "qcow2":
        raise ImageError(f"the recipe {recipe.name!r} made a {found.format} image instead of a qcow2 one")
    metadata = Metadata(
        name=recipe.name, origin="built", source=recipe.name + (f" {suite}" if suite else ""), key=key, file=IMAGE_FILE,
        format=found.format, virtual_size=found.virtual_size, file_size=found.file_size, sha256=await sha256_of(image),
        cloud_init=recipe.description.cloud_init, shell=recipe.description.shell, memory=recipe.description.memory_mib << 20,
        packages=packages, tools=await _tool_versions(recipe),
    )  # fmt: skip
    return store.place(prepared, _entry_name(recipe, key), metadata)


def _entry_name(recipe: Recipe, key: str) -> str:
    return f"{recipe.name}-{key[:12]}"


async def _run(recipe: Recipe, argv: list[str], scratch: Path, log: Path, bus: Bus) -> dict[str, str]:
    """Run the recipe's script to its end; gives the packages it used."""
    environment = {
        **os.environ,
        "TMPDIR": str(scratch),
        "RECIPE": str(recipe.folder),
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin",
    }
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env=environment,
        cwd=scratch,
    )
    packages: dict[str, str] = {}
    limit_s = recipe.description.time_limit_s
    try:
        with log.open("wb") as file:
            async with asyncio.timeout(limit_s):
                await _follow(recipe.name, process, file, packages, bus)
                status = await process.wait()
    except TimeoutError:
        raise ImageError(
            f"building {recipe.name!r} took more than {limit_s:g} s", evidence={"log, last lines": _tail(log)}
        ) from None
    finally:
        await end_group(process)
    if status:
        raise _failure(recipe, status, log)
    return packages


async def _follow(name: str, process: asyncio.subprocess.Process, log: BinaryIO, packages: dict[str, str], bus: Bus) -> None:
    assert process.stdout is not None
    rest = b""
    while block := await process.stdout.read(1 << 16):
        log.write(block)
        log.flush()
        *lines, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if match := _PROGRESS.fullmatch(line):
                bus.notice(f"{name}: {match[3].decode(errors='replace')}")
                bus.emit(Progress(task=f"building {name}", done=int(match[1]), total=int(match[2])))
            elif match := _PACKAGE.fullmatch(line):
                packages[match[1].decode(errors="replace")] = match[2].decode(errors="replace")


def _failure(recipe: Recipe, status: int, log: Path) -> ImageError | NoSpace:
    tail = _tail(log)
    said = [line.removeprefix("build.sh: ") for line in tail.splitlines() if line.startswith(("build.sh: ", "E: "))]
    if "No space left on device" in tail:
        return NoSpace(
            f"no space left while the image {recipe.name!r} was built in {log.parent.parent}",
            hint="anima-qa image prune and anima-qa gc free space; ANIMA_QA_HOME moves the cache",
            evidence={"log, last lines": tail},
        )
    reason = said[0] if said else f"its script ended with status {status}"
    return ImageError(
        f"building the image {recipe.name!r} failed: {reason}",
        hint="the packages come from where this machine's apt gets them: check that apt-get update works",
        evidence={"log, last lines": tail},
    )


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:])
    except OSError:
        return ""


async def _tool_versions(recipe: Recipe) -> dict[str, str]:
    versions = {}
    for tool, flag in _VERSIONED.items():
        if tool in recipe.description.tools and shutil.which(tool):
            result = await run_tool([tool, flag])
            versions[tool] = (result.stdout or result.stderr).strip().splitlines()[0] if result.stdout or result.stderr else ""
    return versions
