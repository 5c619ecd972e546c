"""A login on the serial console, for guests that offer neither the shell nor SSH. Slow, and one command at a time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
import shlex
import time
from collections.abc import Callable
from typing import BinaryIO

from qa.console import SerialConsole, TextWatch
from qa.console.text import plain
from qa.deadline import Deadline
from qa.errors import ChannelLost, UsageError
from qa.guest.channel import Call, Channel, CommandResult, Output
from qa.guest.vitals import Vitals

PIECE = 400
"""Characters sent at once, each piece acknowledged: a terminal's line buffer holds 4095, and a UART has no way to say stop."""

ANSWER_LIMIT = 20.0
"""Seconds for an acknowledgement, before the factor."""

KILLED = 128 + 9
"""Exit code of a command that SIGKILL ended."""

ENTER = b"\n"
"""A line feed, although keyboards send a carriage return: a login program that was not yet listening when the first line came
has not learned to translate one, while a line feed ends a line in every state of a terminal."""

AGAIN = 1.0
"""Seconds without any answer after which a line at the login is typed again."""

_PROMPT = r"[#$%>] ?\Z"

# Output goes to files and comes back encoded: kernel messages and prompts cannot get between, and any byte passes.
_FUNCTIONS = r"""
q_e(){ if command -v base64 >/dev/null; then base64 "$1"; else od -An -v -tx1 "$1"; fi; }
q_k(){ sleep "$1"; kill -KILL -"$2" 2>/dev/null || kill -KILL "$2"; }
q_r(){ d=$(mktemp -d); [ -f "$q_i" ] || q_i=/dev/null
set -m; ( eval "$q_c" ) <"$q_i" >$d/o 2>$d/e & p=$!; q_k "$2" $p >/dev/null 2>&1 & w=$!
wait $p; c=$?; { kill -KILL -$w || kill -KILL $w; wait $w; } 2>/dev/null; set +m
printf '<%s o>\n' "$1"; q_e $d/o; printf '<%s e>\n' "$1"; q_e $d/e; printf '<%s %s>\n' "$1" $c; rm -rf $d; }
"""


class LoginChannel(Channel):
    """Commands typed into a login shell. Their output comes when they end, not while they run."""

    name = "serial"

    def __init__(self, console: SerialConsole, vitals: Vitals, factor: float) -> None:
        super().__init__(vitals, 6 * ANSWER_LIMIT * factor)  # a long command goes in pieces, each with an answer
        self._console = console
        self._factor = factor
        self._lock = asyncio.Lock()

    @classmethod
    async def log_in(
        cls,
        console: SerialConsole,
        *,
        user: str,
        password: str,
        vitals: Vitals,
        factor: float,
        tell: Callable[[str], None],
    ) -> LoginChannel:
        """Log in at the prompt, now or when it appears. The caller guards it.

        Raises:
            UsageError: the guest refuses user and password.
        """
        tell("no login prompt on the serial console yet")
        await TextWatch(console, [r"login: ?\Z"], seen=True).wait()
        tell("at the login prompt")
        asks = await _say(console, user, [r"[Pp]assword: ?\Z", _PROMPT]) == 0
        if asks and await _say(console, password, [r"(?i)incorrect|failure|denied", _PROMPT]) == 0:
            raise UsageError(f"the guest refuses the login of {user!r} on the serial console", hint="check machine: {login: ...}")
        channel = cls(console, vitals, factor)
        await channel._send("stty -echo; PS1= PS2= PROMPT_COMMAND=; unset HISTFILE; q_i=")
        for line in _FUNCTIONS.strip().split("\n}")[0].splitlines():
            console.write(line.encode() + ENTER)
        await channel._send("")
        return channel

    async def _send(self, line: str) -> None:
        """Type one line, and wait until the shell has read it."""
        identity = secrets.token_hex(4)
        watch = TextWatch(self._console, [f"<{identity} ok>"])
        # The echo of what is typed must not look like the answer: the shell puts the two halves together.
        self._console.write(f"{line}\nprintf '<%s ok>\\n' {identity}\n".encode())
        await Deadline.after(ANSWER_LIMIT, self._factor).wait_for(watch.wait(), "the login shell's answer")

    async def _set(self, variable: str, text: str) -> None:
        """Put a long text into a shell variable, piece by piece."""
        await self._send(f"{variable}=; n='\n'")
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            await self._send(
                f"{variable}=${{{variable}}}" + "${n}".join(shlex.quote(line) if line else "" for line in piece.split("\n"))
            )

    async def _run(self, call: Call) -> CommandResult:
        output = Output(call)
        async with self._lock:
            if call.stdin:
                await self._send_file(call.stdin)
            await self._set("q_c", call.command)
            started = time.monotonic()
            answer = _Answer(self._console)
            self._console.write(f"q_r {answer.identity} {call.limit:.1f}\n".encode())
            try:
                code, stdout, stderr = await answer.complete
            finally:
                answer.close()
            duration = time.monotonic() - started
            if call.stdin:
                await self._send('rm -f "$q_i"; q_i=')
        output.stdout(stdout)
        output.stderr(stderr)
        return output.result(code, timed_out=code == KILLED and duration >= call.limit, duration_s=duration)

    async def _send_file(self, stdin: BinaryIO) -> None:
        await self._send("q_i=$(mktemp); : >$q_i.b64")
        while chunk := stdin.read(PIECE // 4 * 3):
            await self._send(f"printf '%s\\n' {base64.b64encode(chunk).decode()} >>$q_i.b64")
        await self._send("base64 -d <$q_i.b64 >$q_i; rm -f $q_i.b64")

    async def close(self) -> None:
        """See Channel. The shell stays logged in."""


async def _say(console: SerialConsole, line: str, patterns: list[str]) -> int:
    """Type a line and wait for one of ``patterns``; its number.

    A login program throws away what comes before it has switched the echo off: a line that nothing answers is typed again.
    """
    watch = TextWatch(console, patterns)
    waiting = asyncio.ensure_future(watch.wait())
    try:
        while not waiting.done():
            before = console.position
            console.write(line.encode() + ENTER)
            await asyncio.wait({waiting}, timeout=AGAIN)
            if console.position != before:  # it was taken: the rest is a matter of time
                await asyncio.wait({waiting})
        return waiting.result().index
    finally:
        waiting.cancel()


class _Answer:
    """Collects what ``q_r`` prints: both streams, encoded, and the exit code."""

    def __init__(self, console: SerialConsole) -> None:
        self.identity = secrets.token_hex(6)
        self._text = bytearray()
        self._end = re.compile(rb"<%s (\d+)>" % self.identity.encode())
        self.complete: asyncio.Future[tuple[int, bytes, bytes]] = asyncio.get_running_loop().create_future()
        self._unsubscribe = console.subscribe(self._hear)

    def close(self) -> None:
        self._unsubscribe()

    def _hear(self, data: bytes) -> None:
        self._text += data
        if self.complete.done() or not self._end.search(_KERNEL.sub(b"", self._text[-len(data) - _LONGEST_LINE :])):
            return
        # Kernel messages come in the middle of anything, of the answer's own marks as well.
        text = _KERNEL.sub(b"", bytes(self._text))
        end = self._end.search(text)
        if end is None:
            return
        mark = b"<%s " % self.identity.encode()
        parts = text[: end.start()].split(mark)
        if len(parts) != 3:
            self._fail("lost a part of a command's answer")
            return
        try:
            stdout, stderr = (_decode(part.partition(b">")[2]) for part in parts[1:])
        except (binascii.Error, ValueError):
            self._fail("garbled a command's output")
        else:
            self.complete.set_result((int(end[1]), stdout, stderr))

    def _fail(self, what: str) -> None:
        came = plain(bytes(self._text[-_LONGEST_LINE:]))
        self.complete.set_exception(ChannelLost(f"the serial console {what}", evidence={"the end of what came": came}))


_KERNEL = re.compile(rb"\[ *\d+\.\d{6}\][^\r\n]*\r?\n?")
_LONGEST_LINE = 1024
"""Bytes before the newest ones in which the end may begin, kernel messages in it included."""

_HEX_DUMP = re.compile(rb"(?:\s[0-9a-f]{2})+\s*")


def _decode(text: bytes) -> bytes:
    text = text.strip(b"\r\n")
    if _HEX_DUMP.fullmatch(text):
        return bytes.fromhex(text.decode())
    return base64.b64decode(re.sub(rb"\s", b"", text), validate=True)
