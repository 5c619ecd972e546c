"""The gate that every call passes, from whatever surface: policy, confirmation, audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from qa.config import Config
from qa.errors import AuditFailed, PolicyRefused, QaError
from qa.operations.audit import AuditLog, now
from qa.operations.calls import Caller, Effect, Facts
from qa.operations.masking import mask_text, masked
from qa.operations.policy import Judge
from qa.paths import Paths
from qa.rules import Audit, Policy

T = TypeVar("T")

Ask = Callable[[str], Awaitable[bool]]
"""Puts a question to the person behind the caller; whether the answer is yes."""


class Asked(QaError):
    """The call ends with a question to the person behind the caller, and is made again with the answer."""


@dataclass(frozen=True)
class Gate:
    """Lets calls through, or not. One object for everything that a process does.

    Attributes:
        log: where calls are written down that ``audit`` is for; None: nowhere.
    """

    judge: Judge
    audit: Audit = field(default_factory=Audit)
    log: AuditLog | None = None

    @classmethod
    def of(cls, paths: Paths, config: Config) -> Gate:
        """That of the settings."""
        log = AuditLog(config.audit.file or paths.audit)
        judge = Judge(
            config.policy,
            paths.config / "config.toml",
            own=(paths.images,),
            sessions=paths.sessions,
            kept=(paths.config, log.file, log.head_file),
            sealed=(paths.images, paths.work, config.snapshots or paths.snapshots, paths.verdicts),
        )
        return cls(judge, config.audit, log)

    @classmethod
    def open(cls) -> Gate:
        """One that lets everything through and writes nothing down."""
        policy = Policy(protect_home="none", confirm="none")
        return cls(Judge(policy, Path("config.toml")), Audit(of="none"))

    def at(self, *bases: Path, theirs: Callable[[Caller], tuple[Path, ...]]) -> Gate:
        """The same for a server that was started in ``bases``, and whose callers have folders of their own (``theirs``)."""
        return replace(self, judge=replace(self.judge, bases=bases, theirs=theirs))

    def grants(
        self, caller: Caller, name: str, effect: Effect, toolset: str = "machines", *, verbs: tuple[str, ...] = ()
    ) -> bool:
        """Whether ``caller`` may ever make such a call, which does one of ``verbs``. What is not granted is not offered."""
        judge = self.judge
        return judge.grants(caller, name, effect, toolset) and not (verbs and all(map(judge.denies, verbs)))

    async def call(
        self,
        caller: Caller,
        name: str,
        run: Callable[[], Awaitable[T]],
        *,
        facts: Facts | Callable[[], Facts],
        arguments: Mapping[str, Any] | None = None,
        reason: str = "",
        ask: Ask | None = None,
        unasked: str = "",
        summary: Callable[[T], Any] | None = None,
    ) -> T:
        """Make a call of the operation ``name``: hold it against the policy, ask where that is due, ``run`` it, write it down.

        Args:
            facts: what it does; or what tells it, so that a mistake which keeps it from being told is written down as well.
            arguments: as they were given; secrets in them are masked in the log.
            reason: why the caller does it, in its own words.
            ask: how the person behind the caller is asked; None where there is no way to.
            unasked: what the caller can do then.
            summary: what the log shall have of the result; by default its kind and, of a command, the exit code.

        Raises:
            PolicyRefused: a rule is against it, or the answer was no.
            AuditFailed: it cannot be written down, and was not done; or it was done, and the message says so.
            QaError: what ``run`` raises.
        """
        log = self.log if caller.among(self.audit.of) else None
        if log:
            await asyncio.to_thread(log.prepare)
        entry = _Entry(caller, name, masked(arguments or {}, tool=name, hide=self.audit.hide), mask_text(reason))
        try:
            known = facts() if callable(facts) else facts
            self.judge.check(caller, name, known)
            await self._confirm(caller, name, known, ask, unasked)
            result = await run()
        except BaseException as error:
            if log:
                await _surely(log, entry.ended(_outcome(error), _said(error)))
            raise
        if log:
            try:
                await _surely(log, entry.ended("ok", _summary(result, summary)))
            except AuditFailed as error:
                raise AuditFailed(f"{name} was done, but {error.message}", hint=error.hint) from error
        return result

    async def note(self, caller: Caller, name: str, arguments: Mapping[str, Any], why: str) -> None:
        """Write down what was done to what belongs to ``caller`` without a call.

        Raises:
            AuditFailed: it cannot be written down.
        """
        if self.log and caller.among(self.audit.of):
            entry = _Entry(caller, name, masked(arguments, tool=name, hide=self.audit.hide), "")
            await _surely(self.log, entry.ended("ok", {"by_itself": why}))

    async def _confirm(self, caller: Caller, name: str, facts: Facts, ask: Ask | None, unasked: str) -> None:
        if facts.force or not caller.among(self.judge.policy.confirm):
            return
        unusual = ", ".join(map(str, self.judge.unusual(caller, facts.writes)))
        if facts.effect == "destroy":
            question = facts.question or f"{name}: this cannot be undone. Do it?"
        elif unusual:
            question = f"Write to {unusual} on this host, outside of the folder of this server?"
        else:
            return
        if ask is None:
            agent = unasked or "ask the user; if the answer is yes, call it again with force"
            hint = agent if caller.is_agent else "say --yes where there is nobody to be asked"
            raise PolicyRefused(f"{name} needs a confirmation: {question}", rule="policy.confirm", hint=hint)
        if not await ask(question):
            raise PolicyRefused(f"{name} was not confirmed", rule="policy.confirm", hint="the user said no: do not try it again")


_IN_SCRIPTS = (
    "nobody can be asked in the midst of a script: let it write to its results folder, by a relative path, or to a new file"
)


@dataclass(frozen=True)
class Door:
    """The gate, as one caller passes it."""

    gate: Gate = field(default_factory=Gate.open)
    caller: Caller = Caller("run")  # noqa: RUF009  # it never changes

    async def call(
        self,
        name: str,
        run: Callable[[], Awaitable[T]],
        *,
        facts: Facts | Callable[[], Facts],
        arguments: Mapping[str, Any] | None = None,
    ) -> T:
        """See `Gate.call`."""
        return await self.gate.call(self.caller, name, run, facts=facts, arguments=arguments, unasked=_IN_SCRIPTS)

    def may_read(self, path: Path) -> None:
        """See that the caller may read ``path``.

        Raises:
            PolicyRefused: a rule is against it.
        """
        self.gate.judge.check_path(self.caller, path, writing=False)


@dataclass(frozen=True)
class _Entry:
    """A call that is under way."""

    caller: Caller
    name: str
    arguments: Any
    reason: str
    at: str = field(default_factory=now)
    began: float = field(default_factory=time.monotonic)

    def ended(self, outcome: str, result: Any) -> dict[str, Any]:
        """The line in the log."""
        return {
            "at": self.at,
            "surface": self.caller.surface,
            "client": mask_text(self.caller.client),
            "tool": self.name,
            "arguments": self.arguments,
            "outcome": outcome,
            "result": masked(result),
            "reason": self.reason,
            "duration_s": round(time.monotonic() - self.began, 3),
        }


async def _surely(log: AuditLog, record: Mapping[str, Any]) -> None:
    """Write it also when we are cancelled meanwhile, and know that it is written before anybody is told anything."""
    writing = asyncio.ensure_future(asyncio.to_thread(log.append, record))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise


def _outcome(error: BaseException) -> str:
    if isinstance(error, PolicyRefused):
        return "refused"
    if isinstance(error, Asked):
        return "asked"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"


def _said(error: BaseException) -> dict[str, str]:
    if isinstance(error, PolicyRefused):
        return {"error": error.message, "rule": error.rule}
    if isinstance(error, QaError):
        return {"error": error.message}
    return {"error": type(error).__name__}


def _summary(result: Any, summary: Callable[[Any], Any] | None) -> Any:
    if summary is not None:
        return summary(result)
    if hasattr(result, "exit_code"):
        return {"exit_code": result.exit_code}
    return result if isinstance(result, str | int | float | bool | None) else type(result).__name__
