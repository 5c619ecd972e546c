"""SSH into the guest: a key of the run's own, the host key pinned, one connection kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import asyncssh

from qa.deadline import Deadline
from qa.errors import ChannelLost
from qa.guest.channel import Call, Channel, CommandResult, Output
from qa.guest.vitals import Vitals

BANNER_LIMIT = 5.0
"""Seconds for the server's greeting on an open connection. Without it the port is forwarded, but nobody is there."""

RETRY_PAUSE = 0.3
"""Seconds between tries while the guest boots: nothing tells from outside when its SSH server starts to listen."""

REFUSED_LIMIT = 20.0
"""Seconds, before the factor, for which a server may refuse us before that is final: a guest may take its keys late."""

PATIENCE = 60.0
"""Seconds beyond a command's limit: for a free session, and for killing the command in another one."""

SESSIONS = 8
"""Commands at once; more wait. OpenSSH allows 10 sessions on a connection unless told otherwise. Dropbear 2022.83 refuses
sessions or hangs up at times when several begin together, so it gets one at a time."""

DRAIN = 0.2
"""Seconds that output may trail the exit status. A background child that keeps stdout open is not waited for."""

CHUNK = 256 * 1024


_KILL = """\
q_k() {{ for q in $(cat /proc/$1/task/*/children 2>/dev/null); do q_k $q; done; kill -KILL $1 2>/dev/null; }}
kill -KILL -{process} 2>/dev/null || q_k {process}
"""
"""Kills a process group; where the server did not give the command one of its own (dropbear), the command and its children."""


@dataclass(frozen=True)
class SshAccess:
    """What is needed to get in: the user, our key, and the guest's host key where it was handed to the guest."""

    user: str
    key: asyncssh.SSHKey
    host_key: asyncssh.SSHKey | None

    @classmethod
    def generate(cls, user: str = "root", *, with_host_key: bool) -> SshAccess:
        """New keys (ed25519), with a host key where the guest can be handed one."""
        host_key = asyncssh.generate_private_key("ssh-ed25519") if with_host_key else None
        return cls(user, asyncssh.generate_private_key("ssh-ed25519", comment="anima-qa"), host_key)

    @classmethod
    def recall(cls, known: Mapping[str, Any]) -> SshAccess:
        """The same access again, out of what `known` gave.

        Raises:
            KeyError, TypeError, ValueError: it is not what was kept.
        """
        host_key = asyncssh.import_private_key(known["host_key"]) if known["host_key"] else None
        return cls(str(known["user"]), asyncssh.import_private_key(known["key"]), host_key)

    def known(self) -> dict[str, str]:
        """What must be kept to get into the same guest again; secret."""
        return {
            "user": self.user,
            "key": self.key.export_private_key().decode(),
            "host_key": self.host_key.export_private_key().decode() if self.host_key else "",
        }

    @cached_property
    def public_key(self) -> str:
        """Our public key, as a line of authorized_keys."""
        return self.key.export_public_key().decode().strip()

    def host_key_files(self) -> tuple[str, str]:
        """The guest's host key: private and public, in OpenSSH's formats; empty where there is none."""
        if self.host_key is None:
            return "", ""
        return self.host_key.export_private_key().decode(), self.host_key.export_public_key().decode()


class _Pin(asyncssh.SSHClient):
    """Accepts the pinned host key; without one, the first key that is seen, and then only that."""

    def __init__(self, seen: list[asyncssh.SSHKey]) -> None:
        self._seen = seen

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        if not self._seen:
            self._seen.append(key.convert_to_public())
        return key.public_data == self._seen[0].public_data


class _Session(asyncssh.SSHClientSession[bytes]):
    """One command: hands output on, and notes its end when the exit status comes, not when all pipes are closed."""

    def __init__(self, on_output: Callable[[int | None, bytes], None]) -> None:
        self._on_output = on_output
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.room = asyncio.Event()
        self.room.set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._on_output(datatype, data)

    def _exit(self, code: int | None) -> None:
        if not self.exited.done():
            self.exited.set_result(code)

    def exit_status_received(self, status: int) -> None:
        self._exit(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._exit(128 + _SIGNALS.get(signal, 0))

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.set()
        if exc and not self.exited.done():
            self.exited.set_exception(exc)
        self._exit(None)
        if not self.closed.done():
            self.closed.set_result(None)


_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "SEGV": 11, "PIPE": 13, "ALRM": 14, "TERM": 15}


class SshChannel(Channel):
    """Commands over one kept SSH connection, each in a session of its own."""

    name = "ssh"

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        vitals: Vitals,
    ) -> None:
        super().__init__(vitals, PATIENCE)
        self._connection = connection
        server = str(connection.get_extra_info("server_version"))
        self._sessions = asyncio.Semaphore(1 if "dropbear" in server else SESSIONS)

    @classmethod
    async def connect(
        cls, access: SshAccess, port: int, *, vitals: Vitals, factor: float, tell: Callable[[str], None]
    ) -> SshChannel:
        """Connect as soon as the guest's server answers; ``tell`` hears how it stands. The caller guards it.

        Raises:
            ChannelLost: a server is there, and keeps refusing us.
        """
        refused: Deadline | None = None
        seen = [access.host_key.convert_to_public()] if access.host_key else []
        while True:
            try:
                connection = await _connect_once(access, port, seen)
            except (OSError, EOFError, TimeoutError, asyncssh.Error) as error:
                how = _in_words(error, access.user)
                tell(how)
                if not isinstance(error, _REFUSALS):
                    refused = None
                elif refused is None:
                    refused = Deadline.after(REFUSED_LIMIT, factor)
                elif refused.expired:
                    raise ChannelLost(
                        f"{vitals.name}: no way in by SSH: {how}", hint="use another user, or another channel"
                    ) from error
                await asyncio.sleep(RETRY_PAUSE)
            else:
                return cls(connection, vitals)

    async def _run(self, call: Call) -> CommandResult:
        async with self._sessions:
            return await self._run_in_session(call)

    async def _run_in_session(self, call: Call) -> CommandResult:
        output = Output(call)
        leader: list[bytes] = []

        def take(datatype: int | None, data: bytes) -> None:
            if datatype is None:
                output.stdout(data)
                return
            if not leader:  # the first line on stderr is the process group
                first, found, data = data.partition(b"\n")
                leader.append(first if found else b"")
            output.stderr(data)

        try:
            session = _Session(take)
            channel, _ = await self._connection.create_session(lambda: session, f"echo $$ >&2\n{call.command}", encoding=None)
            feeding = asyncio.ensure_future(_feed(channel, session, call.stdin))
            try:
                await asyncio.wait({session.exited}, timeout=call.limit)
                code = session.exited.result() if session.exited.done() else None
                timed_out = not session.exited.done()
                if timed_out and leader and leader[0].strip().isdigit():
                    await self._connection.run(_KILL.format(process=leader[0].decode().strip()), check=False)
                await asyncio.wait({session.closed}, timeout=DRAIN)
            finally:
                feeding.cancel()
                channel.close()
        except (asyncssh.Error, OSError) as error:
            self._vitals.check()
            raise ChannelLost(f"{self._vitals.name}: the SSH connection broke during: {call.command} ({error})") from error
        return output.result(code, timed_out=timed_out)

    async def close(self) -> None:
        """See Channel."""
        self._connection.abort()


async def _connect_once(access: SshAccess, port: int, seen: list[asyncssh.SSHKey]) -> asyncssh.SSHClientConnection:
    await _wait_for_banner(port)
    connection, _ = await asyncssh.create_connection(
        lambda: _Pin(seen),
        "127.0.0.1",
        port,
        username=access.user,
        client_keys=[access.key],
        known_hosts=([], [], []),
        config=None,
        agent_path=None,
        keepalive_interval=0,
    )
    return connection


async def _feed(channel: asyncssh.SSHClientChannel[bytes], session: _Session, stdin: BinaryIO | None) -> None:
    while stdin and (chunk := stdin.read(CHUNK)):
        channel.write(chunk)
        await session.room.wait()
    channel.write_eof()


async def _wait_for_banner(port: int) -> None:
    """A connection to a forwarded port always succeeds; only the server's greeting shows that somebody is there."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, family=socket.AF_INET), BANNER_LIMIT)
    try:
        banner = await asyncio.wait_for(reader.readline(), BANNER_LIMIT)
        if not banner.startswith(b"SSH-"):
            raise ConnectionError("nobody answers yet")
    finally:
        writer.close()
        with suppress(OSError):  # the reason was told above
            await writer.wait_closed()


_REFUSALS = (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable)


def _in_words(error: Any, user: str) -> str:
    if isinstance(error, asyncssh.PermissionDenied):
        return f"the guest refuses our key for user {user}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return "the guest shows another host key than the one it was given"
    return "no SSH server answers yet"
