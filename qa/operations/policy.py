"""Holds calls against the policy. Each rule that refuses is named in the error."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from qa.errors import PolicyRefused
from qa.operations.calls import Caller, Effect, Facts
from qa.patterns import in_time
from qa.rules import Policy

_RIGHTS: dict[str, int] = {"none": 0, "read": 1, "change": 2, "all": 3}
_NEEDED: dict[Effect, int] = {"read": 1, "change": 2, "destroy": 3}

_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
"""Not files but the kernel: environments of processes with their tokens, memory, disks."""

SHOWN = 120
"""Letters of a command that are quoted in an error."""


@dataclass(frozen=True)
class Judge:
    """Judges calls by ``policy``.

    Attributes:
        file: where the policy is written, for hints.
        own: folders of this program that are no secret to agents, though they may be hidden: images.
        kept: what no agent may touch in any case: this policy, and the log of what agents did.
        sealed: what no agent may write to: what later runs rely on.
        sessions: where machines of agents leave what they leave; each agent has folders of its own there, and no others.
        theirs: these folders.
        bases: folders in which agents make new files unasked: the one that the server was started in.
        home: the user's home folder.
    """

    policy: Policy
    file: Path
    own: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    sealed: tuple[Path, ...] = ()
    sessions: Path | None = None
    theirs: Callable[[Caller], tuple[Path, ...]] = lambda caller: ()
    bases: tuple[Path, ...] = ()
    home: Path = field(default_factory=Path.home)

    def grants(self, caller: Caller, name: str, effect: Effect, toolset: str) -> bool:
        """Whether ``caller`` may do it at all, whatever the arguments are. What is not granted is not offered."""
        return self._refusal(name, effect, toolset) is None

    def denies(self, name: str) -> bool:
        """Whether an operation of that name is refused by its name alone."""
        return any(fnmatchcase(name, pattern) for pattern in self.policy.deny_operations)

    def check(self, caller: Caller, name: str, facts: Facts) -> None:
        """Let a call pass.

        Raises:
            PolicyRefused: a rule is against it.
        """
        if refusal := self._refusal(name, facts.effect, facts.toolset, facts.verbs):
            raise refusal
        for command in facts.commands:
            self._check_command(command)
        self._check_typing(facts)
        for path in facts.reads:
            self.check_path(caller, path, writing=False)
        for path in facts.writes:
            self.check_path(caller, path, writing=True)

    def _refusal(self, name: str, effect: Effect, toolset: str, verbs: tuple[str, ...] = ()) -> PolicyRefused | None:
        policy = self.policy
        if self.denies(name):
            return self._refused(f"{name} is not allowed here", "deny_operations")
        for verb in verbs:
            if self.denies(verb):
                message = f"{name} is not allowed here with these arguments: it does what {verb} does, which is denied"
                return self._refused(message, "deny_operations")
        if policy.read_only and effect != "read":
            return self._refused(f"{name} would change something, and this server only reads", "read_only")
        right = policy.toolsets.get(toolset, "all")  # type: ignore[call-overload]
        if _NEEDED[effect] > _RIGHTS[right]:
            what = "are not offered" if right == "none" else f"are for {'reading' if right == 'read' else 'changing'} only"
            return self._refused(f"{name} is not allowed here: operations on {toolset} {what}", f"toolsets.{toolset}")
        return None

    def _check_command(self, command: str) -> None:
        allowed = self.policy.allow_commands
        with in_time(*(allowed or ())):
            fits = allowed is None or any(re.fullmatch(pattern, command) for pattern in allowed)
        if allowed is not None and not fits:
            known = ", ".join(f"/{pattern}/" for pattern in allowed[:5]) or "none"
            message = f"the command is not one of those that are allowed: {_quoted(command)}"
            raise self._refused(message, "allow_commands", f"allowed are: {known}")
        self._check_denied(command, "the command")

    def _check_denied(self, text: str, what: str) -> None:
        for pattern in self.policy.deny_commands:
            with in_time(pattern):
                found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
            if found:
                raise self._refused(f"{what} is not allowed, because of /{pattern}/: {_quoted(text)}", "deny_commands")

    def _check_typing(self, facts: Facts) -> None:
        ways = (*facts.other_ways, *(("typing text",) if facts.typed else ()))
        if ways and self.policy.allow_commands is not None:
            message = f"{ways[0]} is not allowed: only certain commands may be run in guests, and this would be a way round"
            raise self._refused(message, "allow_commands", "run a command that is allowed")
        for text in facts.typed:
            self._check_denied(text, "the text")

    def check_path(self, caller: Caller, path: Path, *, writing: bool) -> Path:
        """The file that ``path`` really is, with all links followed, if ``caller`` may use it.

        Raises:
            PolicyRefused: a rule is against it.
        """
        real = real_path(path)
        do = "written to" if writing else "read"
        shown = f"{path}, which is {real}," if real != path.absolute() else str(real)
        for folder in self.policy.deny_paths:
            if _meets(real, (folder,)):
                where = "in" if _inside(real, (folder,)) else "around"
                raise self._refused(f"{shown} may not be {do}: it is {where} {folder}", "deny_paths")
        allowed, own = self.policy.allow_paths, (*self.own, *self.theirs(caller))
        if allowed is not None and not _inside(real, (*allowed, *own)):
            where = ", ".join(str(one) for one in allowed) or "none"
            raise self._refused(f"{shown} may not be {do}", "allow_paths", f"allowed folders are: {where}")
        if caller.among(self.policy.protect_home) and (what := self._secret(real, own, writing)):
            raise self._refused(f"{shown} may not be {do}: {what}", "protect_home", "take a place that is not hidden")
        if caller.is_agent and (_meets(real, self.kept) or (writing and _meets(real, self.sealed))):
            message = f"{shown} may not be {do}: this program itself relies on it"
            raise PolicyRefused(message, rule="policy", hint="take another place")
        if caller.is_agent and self.sessions and _meets(real, (self.sessions,)) and not _inside(real, own):
            message = f"{shown} may not be {do}: it belongs to other clients or sessions"
            raise PolicyRefused(message, rule="policy", hint="take another place, such as the folder of a machine of yours")
        return real

    def unusual(self, caller: Caller, writes: Iterable[Path]) -> list[Path]:
        """Those of ``writes`` for which somebody is to be asked, though nothing is lost by them.

        New files start programs in many places of a host (``/etc/cron.d``, ``.git/hooks``), so an agent makes them unasked only
        in the folder of the server, without what is hidden in it, in its own, in temporary ones, and where ``allow_paths`` says.
        """
        if not caller.is_agent:
            return []
        free = (*self.theirs(caller), *(self.policy.allow_paths or ()), Path(tempfile.gettempdir()))
        bases = [base for folder in self.bases if (base := real_path(folder)) != Path(base.anchor)]
        found = []
        for path in writes:
            real = real_path(path)
            below = [real.relative_to(base).parts for base in bases if real.is_relative_to(base)]
            plain = any(not any(part.startswith(".") for part in parts) for parts in below)
            if not plain and not _inside(real, free):
                found.append(real)
        return found

    def _secret(self, real: Path, own: tuple[Path, ...], writing: bool) -> str:
        """Why ``real`` is kept from those from whom the home folder is protected; empty where it is not.

        Hidden names count behind the home folder, or behind the allowed folder that ``real`` is in. For reading it is the
        first name behind it: the rest, such as ``.git``, belongs to a project. For writing it is any: hooks in there run.
        """
        begins = [folder.resolve() for folder in (*(self.policy.allow_paths or ()), *own) if _inside(real, (folder,))]
        if not begins and _inside(real, _SYSTEM):
            return "it belongs to the system"
        home = real_path(self.home)
        if home.is_relative_to(real):
            return "your home folder is in it, with all that is hidden there"
        if not real.is_relative_to(home):
            return ""
        below = max([home, *(one for one in begins if one.is_relative_to(home))], key=lambda one: len(one.parts))
        parts = real.relative_to(below).parts
        hidden = any(part.startswith(".") for part in (parts if writing else parts[:1]))
        return "it is hidden in the home folder" if hidden else ""

    def _refused(self, message: str, rule: str, hint: str = "") -> PolicyRefused:
        where = f"the owner of this host can change {rule} under [policy] in {self.file}"
        return PolicyRefused(message, rule=f"policy.{rule}", hint=f"{hint}; {where}" if hint else where)


def real_path(path: Path) -> Path:
    """``path`` from the root on with all links followed, as far as it exists.

    Raises:
        PolicyRefused: it cannot be told what it is.
    """
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # loops of links, names with null bytes, unknown users
        raise PolicyRefused(
            f"it cannot be told what {str(path)!r} is: {error}", rule="policy", hint="take another path"
        ) from error


def _inside(real: Path, folders: Iterable[Path]) -> bool:
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _meets(real: Path, folders: Iterable[Path]) -> bool:
    """Whether it is inside of one of them, or one is inside of it: whole folders are copied, and replaced."""
    return any(real.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(real) for folder in folders)


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."
