"""Commands in the guest, and files to and from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field

from qa.deadline import Deadline, format_duration
from qa.errors import CommandFailed, DeadlineExceeded
from qa.events import CommandOutput
from qa.guest import copying
from qa.guest.channel import CommandResult, OutputListener, Stream, in_one_line
from qa.machine.base import COMMAND_LIMIT, WAIT_LIMIT, Command, Duration, MachineBase

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between the tries of ``wait_until_succeeds``: short at first, then twice as long each time."""

EVIDENCE_LINES = 40
"""Lines of a failed command's output that are shown."""

COPY_LIMIT = 600.0
"""Seconds for copying files: a virtio console carries a few MB/s under software emulation."""


def output_evidence(result: CommandResult) -> dict[str, str]:
    """What a command printed, for an error."""
    evidence = {}
    for title, text in (("stdout", result.stdout_text), ("stderr", result.stderr_text)):
        if text.strip():
            lines = text.rstrip().splitlines()
            more = f", last {EVIDENCE_LINES} of {len(lines)} lines" if len(lines) > EVIDENCE_LINES else ""
            evidence[title + more] = "\n".join(lines[-EVIDENCE_LINES:])
    return evidence or {"output": "(none)"}


class Commands(MachineBase):
    """Verbs that run commands and copy files."""

    async def execute(self, command: Command, timeout: Duration = COMMAND_LIMIT) -> CommandResult:
        """Run a command in the guest and take its result as data, whatever its exit code is.

        At the time limit the command's process group is killed; the result then says so and has the output so far.
        """
        return await self._run(command, self._deadline(timeout).remaining)

    async def succeed(self, command: Command, timeout: Duration = COMMAND_LIMIT) -> CommandResult:
        """Run a command in the guest; the step fails unless it exits with 0."""
        result = await self._run_in_time(command, timeout)
        if result.exit_code != 0:
            raise self._failed(f"exited with {result.exit_code}", result)
        return result

    async def fail(self, command: Command, timeout: Duration = COMMAND_LIMIT) -> CommandResult:
        """Run a command in the guest; the step fails if it exits with 0."""
        result = await self._run_in_time(command, timeout)
        if result.exit_code == 0:
            raise self._failed("exited with 0, and should have failed", result)
        return result

    async def wait_until_succeeds(self, command: Command, timeout: Duration = WAIT_LIMIT) -> CommandResult:
        """Run a command again and again until it exits with 0."""
        return await self._retry(command, timeout, lambda code: code == 0, "success")

    async def wait_until_fails(self, command: Command, timeout: Duration = WAIT_LIMIT) -> CommandResult:
        """Run a command again and again until it exits with something else than 0."""
        return await self._retry(command, timeout, lambda code: code != 0, "failure")

    async def copy_to(
        self,
        source: Annotated[Path, Field(description="A file or folder of this host; relative to the script.")],
        target: Annotated[
            str, Field(min_length=1, description="Its path in the guest; one that ends with / is a folder to put it in.")
        ],
        timeout: Duration = COPY_LIMIT,
    ) -> None:
        """Copy a file or a folder of this host into the guest, with its modes. Folders on the way are made."""
        channel = await self._way_in()
        await copying.copy_to(channel, source, target, self._deadline(timeout))

    async def copy_from(
        self,
        source: Annotated[str, Field(min_length=1, description="A file or folder of the guest.")],
        target: Annotated[
            Path, Field(description="Its path on this host, or an existing folder to put it in; relative to the results folder.")
        ],
        timeout: Duration = COPY_LIMIT,
    ) -> Path:
        """Copy a file or a folder out of the guest, with its modes. It appears on the host whole or not at all."""
        final = copying.landing(self.setup.results, target, source)
        await self.copy_out(source, final, timeout)
        return final

    async def copy_out(self, source: str, final: Path, timeout: float) -> None:
        """Copy a file or a folder out of the guest as ``copy_from`` does, so that it is ``final``: what is there is replaced."""
        channel = await self._way_in()
        left_out = await copying.copy_from(channel, source, final, self._deadline(timeout))
        if left_out:
            some = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            self.bus.notice(f"left out of the copy of {source}: {some} (devices, and links that lead out of it)", "warning")

    async def follow(self, command: str, limit: float, on_output: OutputListener) -> CommandResult:
        """Run a command as ``execute`` does, and hand on each piece of what it prints as it comes."""
        return await self._run(command, self._deadline(limit).remaining, also=on_output)

    # how

    async def _run(
        self, command: str, limit: float, stdin: BinaryIO | None = None, also: OutputListener | None = None
    ) -> CommandResult:
        channel = await self._way_in()

        def tell(stream: Stream, data: bytes) -> None:
            if also:
                also(stream, data)
            self.bus.emit(CommandOutput(machine=self.name, stream=stream, text=data.decode(errors="replace")))

        return await channel.run(command, limit=limit, stdin=stdin, on_output=tell)

    async def _run_in_time(self, command: str, timeout: float) -> CommandResult:
        deadline = self._deadline(timeout)
        result = await self._run(command, deadline.remaining)
        if result.timed_out:
            raise self._too_late(command, deadline, result)
        return result

    def _too_late(self, command: str, deadline: Deadline, result: CommandResult) -> DeadlineExceeded:
        error = DeadlineExceeded(f"the command did not end within {deadline.describe()} and was killed: {in_one_line(command)}")
        error.evidence.update(output_evidence(result))
        return error

    def _failed(self, how: str, result: CommandResult) -> CommandFailed:
        message = f"the command {how} after {format_duration(result.duration_s)}: {in_one_line(result.command)}"
        return CommandFailed(message, evidence=output_evidence(result), result=result)

    async def _retry(self, command: str, timeout: float, good: Callable[[int | None], bool], wanted: str) -> CommandResult:
        deadline = self._deadline(timeout)
        pause, tries = FIRST_PAUSE, 0
        last: CommandResult | None = None
        while not deadline.expired:
            last = await self._run(command, deadline.remaining)
            tries += 1
            if not last.timed_out and good(last.exit_code):
                return last
            await self._pause(min(pause, deadline.remaining))
            pause = min(2 * pause, LONGEST_PAUSE)
        error = DeadlineExceeded(f"no {wanted} within {deadline.describe()} in {tries} tries: {in_one_line(command)}")
        if last:
            error.evidence["exit code of the last try"] = "none, it was killed" if last.exit_code is None else str(last.exit_code)
            error.evidence.update(output_evidence(last))
        raise error

    async def _pause(self, seconds: float) -> None:
        """Let some time pass, but not past the guest's death."""
        nothing: Awaitable[None] = asyncio.sleep(seconds)
        await self._guarded(nothing, Deadline.after(seconds + 1), "the next try")
