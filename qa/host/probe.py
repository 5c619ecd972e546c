"""Asking a QEMU program over QMP what it is: started without a machine, it answers in 0.1 s and ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from qa.errors import HostError

PROBE_LIMIT_S = 20.0
"""How long QEMU may take to answer; it takes 0.1 s, and seconds from a cold disk on a busy host."""

ENDING_S = 1.0
"""How long after its output a process may take to end; more is not waited for, as only the message depends on it."""

DEVICES = frozenset(
    {"vmgenid", "pvpanic-pci", "virtio-rng-pci", "virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtconsole"}
    | {"virtio-vga", "virtio-gpu-pci", "VGA", "bochs-display", "ramfb", "usb-tablet", "qemu-xhci", "virtio-scsi-pci", "nvme"}
    | {"tpm-crb", "tpm-tis", "virtio-tablet-pci", "ich9-ahci", "ide-cd", "isa-debug-exit"}
)
"""The devices whose presence is told as a feature of the same name."""

LAST = "accelerators"
"""The id of the last command: QEMU answers in order, so its answer ends the conversation."""

_COMMANDS: tuple[Mapping[str, Any], ...] = (
    {"execute": "qmp_capabilities"},
    {"execute": "query-qmp-schema", "id": "schema"},
    {"execute": "query-command-line-options", "id": "options"},
    {"execute": "qom-list-types", "arguments": {"implements": "device", "abstract": False}, "id": "devices"},
    {"execute": "qom-list-types", "arguments": {"implements": "accel", "abstract": False}, "id": LAST},
)
_LAST_ANSWER = re.compile(rb'"id": *"%s"' % LAST.encode())
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
    with tempfile.TemporaryFile() as errors, _started(path, errors) as process:
        output = _converse(process, path, limit_s)
        try:
            replies = [json.loads(line) for line in output.splitlines() if line.strip()]
            version = next(reply["QMP"]["version"] for reply in replies if "QMP" in reply)
            numbers = version["qemu"]
            answers = {reply["id"]: reply.get("return", ()) for reply in replies if "id" in reply}
            if LAST not in answers:
                raise ValueError("it ended before its last answer")
            return Answer(
                (int(numbers["major"]), int(numbers["minor"]), int(numbers["micro"])),
                str(version.get("package", "")),
                frozenset(_features(answers)),
            )
        except (ValueError, KeyError, TypeError, StopIteration) as error:
            errors.seek(0)
            words = errors.read().decode(errors="replace").strip() or output.decode(errors="replace").strip()[-2000:]
            raise HostError(
                f"{path} {_end_of(process)} without telling what it is",
                hint=f"try it: {path} --version; is it a QEMU for x86_64, complete, with all its libraries?",
                evidence={"its last words": words} if words else None,
            ) from error


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended that has closed its output."""
    try:
        status = process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        return "runs on"
    return f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


@contextlib.contextmanager
def _started(path: Path, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process; at the end of the block it is gone, with whatever a wrapper script started: it has a session of its own."""
    try:
        process = subprocess.Popen(
            [path, *_ARGUMENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    except OSError as error:
        raise HostError(f"{path} cannot be started: {error.strerror}", hint="is it a program for this processor?") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def _converse(process: subprocess.Popen[bytes], path: Path, limit_s: float) -> bytes:
    """What QEMU says until its last answer, or its end.

    Its input stays open and it is not asked to quit meanwhile: at either it throws away what is still waiting to be written.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    request = "".join(json.dumps(command) + "\n" for command in _COMMANDS).encode()
    with contextlib.suppress(BrokenPipeError):  # it has ended already; its output tells
        os.write(process.stdin.fileno(), request)
    deadline = time.monotonic() + limit_s
    output = bytearray()
    seen = 0
    while True:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise HostError(f"{path} did not answer within {limit_s:g} s", hint=f"try it: {path} --version")
        block = os.read(process.stdout.fileno(), 1 << 20)
        output += block
        end = output.rfind(b"\n") + 1
        if not block or _LAST_ANSWER.search(output, seen, end):
            return bytes(output)
        seen = end


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
