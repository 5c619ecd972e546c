"""Asking a QEMU program over QMP what it is: started without a machine, it answers in 0.1 s and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qa.errors import HostError

PROBE_LIMIT_S = 20.0
"""How long QEMU may take to answer; it takes 0.1 s, and seconds from a cold disk on a busy host."""

DEVICES = frozenset(
    {"vmgenid", "pvpanic-pci", "virtio-rng-pci", "virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtconsole"}
    | {"virtio-vga", "virtio-gpu-pci", "VGA", "bochs-display", "ramfb", "usb-tablet", "qemu-xhci", "virtio-scsi-pci", "nvme"}
    | {"tpm-crb", "tpm-tis", "virtio-tablet-pci", "ich9-ahci", "ide-cd", "isa-debug-exit"}
)
"""The devices whose presence is told as a feature of the same name."""

_COMMANDS: tuple[Mapping[str, Any], ...] = (
    {"execute": "qmp_capabilities"},
    {"execute": "query-qmp-schema", "id": "schema"},
    {"execute": "query-command-line-options", "id": "options"},
    {"execute": "qom-list-types", "arguments": {"implements": "device", "abstract": False}, "id": "devices"},
    {"execute": "qom-list-types", "arguments": {"implements": "accel", "abstract": False}, "id": "accelerators"},
    {"execute": "quit"},
)
_ARGUMENTS = ("-M", "none", "-nodefaults", "-no-user-config", "-S", "-display", "none", "-qmp", "stdio")


@dataclass(frozen=True)
class Answer:
    """What a QEMU said of itself; the fields are those of `qa.host.qemu.Qemu`."""

    version: tuple[int, int, int]
    package: str
    features: frozenset[str]


def ask(path: Path, limit_s: float = PROBE_LIMIT_S) -> Answer:
    """Start the QEMU at ``path`` without a machine and ask it over QMP what it is.

    Raises:
        HostError: it cannot be started, crashes, says something else than QMP, or is not done after ``limit_s`` seconds.
    """
    output, errors, status = _converse(path, limit_s)
    try:
        replies = [json.loads(line) for line in output.splitlines() if line.strip()]
        version = next(reply["QMP"]["version"] for reply in replies if "QMP" in reply)
        answers = {reply["id"]: reply["return"] for reply in replies if "id" in reply and "return" in reply}
        numbers = version["qemu"]
        return Answer(
            (int(numbers["major"]), int(numbers["minor"]), int(numbers["micro"])),
            str(version.get("package", "")),
            frozenset(_features(answers)),
        )
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        how = f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        seen = {"its last words": errors.strip() or output.strip()[-2000:]}
        raise HostError(
            f"{path} {how} without telling its version",
            hint=f"try it: {path} --version; is it a QEMU for x86_64, complete, with all its libraries?",
            evidence=seen if any(seen.values()) else None,
        ) from error


def _converse(path: Path, limit_s: float) -> tuple[str, str, int]:
    """Standard output, standard error and exit status of a QEMU that was given `_COMMANDS`."""
    request = "".join(json.dumps(command) + "\n" for command in _COMMANDS).encode()
    try:
        # A session of its own, so that whatever a wrapper script started is ended with it.
        process = subprocess.Popen(
            [path, *_ARGUMENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise HostError(f"{path} cannot be started: {error.strerror}", hint="is it a program for this processor?") from error
    try:
        output, errors = process.communicate(request, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise HostError(f"{path} did not answer within {limit_s:g} s", hint=f"try it: {path} --version") from error
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if stream:
                    stream.close()
    return output.decode(errors="replace"), errors.decode(errors="replace"), process.returncode


def _features(answers: Mapping[str, Any]) -> Iterator[str]:
    yield from sorted(DEVICES & {kind["name"] for kind in answers.get("devices", ())})
    yield from (f"accel:{kind['name'].removesuffix('-accel')}" for kind in answers.get("accelerators", ()))
    options = {option["option"]: {p["name"] for p in option["parameters"]} for option in answers.get("options", ())}
    if "sandbox" in options:
        yield "sandbox"
    if "exit-with-parent" in options.get("run-with", ()):
        yield "exit-with-parent"
    yield from _schema_features(answers.get("schema", ()))


# The schema's types have no names, so an enumeration is known by values that always were in it.
_CAPABILITIES = frozenset({"x-ignore-shared", "mapped-ram", "multifd", "background-snapshot"})
_MARKS = MappingProxyType({"capabilities": {"xbzrle", "postcopy-ram"}, "transports": {"socket", "exec", "rdma"}})


def _schema_features(schema: Any) -> Iterator[str]:
    for entry in schema:
        if entry["meta-type"] != "enum":
            continue
        values = {member["name"] for member in entry.get("members", ())} | set(entry.get("values", ()))
        if values >= _MARKS["capabilities"]:
            yield from sorted(_CAPABILITIES & values)
        elif values >= _MARKS["transports"] and "file" in values:
            yield "file-migration"
