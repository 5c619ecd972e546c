"""Where a run begins that does not begin at its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qa.errors import UsageError
from qa.scenario.script import Branches, Group, Step


@dataclass(frozen=True)
class Start:
    """A step to begin at.

    Attributes:
        path: its number in each list of steps on the way to it, outermost first; rounds and branches count as lists.
        why: why those before it are not run.
        cuts: for each number in ``path``, why nothing behind it in its list is run; empty where the rest is run.
    """

    path: tuple[int, ...]
    why: str
    cuts: tuple[str, ...] = ()

    @property
    def index(self) -> str:
        """As in results: ``3.2``."""
        return _text(self.path)

    @property
    def number(self) -> int:
        """The step's number in the outermost list."""
        return self.path[0]

    @property
    def cut(self) -> str:
        """Why the outermost list ends behind it; empty where it goes on."""
        return self.cuts[0] if self.cuts else ""

    @property
    def inside(self) -> Start | None:
        """The same seen from inside the outermost step; None where it is that step itself."""
        return Start(self.path[1:], self.why, self.cuts[1:]) if len(self.path) > 1 else None


def start_at(steps: Sequence[Step], index: str, branches: Mapping[str, str], why: str) -> Start:
    """The start at step ``index`` (``3.2``) of a script that may have been changed since.

    Args:
        branches: index of each branch on the way to its name: a branch is found by name, whatever its place.
        why: why the steps before it are not run.

    Raises:
        UsageError: there is no such step.
    """
    numbers = [int(part) for part in index.split(".")]
    path: list[int] = []
    cuts: list[str] = []
    here: Sequence[Step] = steps
    while numbers:
        number = numbers.pop(0)
        if number > len(here):
            raise _gone(index, f"there are only {len(here)} steps{_within(path)}")
        step = here[number - 1]
        path.append(number)
        cuts.append("")
        if not numbers:
            break
        match step.action:
            case Group(steps=inner, rounds=None):
                here = inner
            case Group(steps=inner, rounds=int(rounds)):
                if numbers[0] > rounds:
                    raise _gone(index, f"step {_text(path)} ({step.name}) has only {rounds} rounds")
                path.append(numbers.pop(0))
                cuts.append("")
                here = inner
            case Branches(lanes=lanes):
                names = [lane.name for lane in lanes]
                name = branches.get(f"{_text(path)}.{numbers.pop(0)}", "")
                if name not in names:
                    raise _gone(index, f"step {_text(path)} ({step.name}) has no branch {name!r}")
                path.append(names.index(name) + 1)
                here = lanes[path[-1] - 1].steps
                cuts = [f"only the rest of {name!r} is run again"] * len(path)
            case _:
                raise _gone(index, f"step {_text(path)} ({step.name}) has no steps inside")
    return Start(tuple(path), why, tuple(cuts))


def _gone(index: str, why: str) -> UsageError:
    hint = "keep the steps before it as they are; a step that is put in front of it makes it another one"
    return UsageError(f"the script has no step {index} any more: {why}", hint=hint)


def _text(path: Sequence[int]) -> str:
    return ".".join(str(number) for number in path)


def _within(path: Sequence[int]) -> str:
    return f" in step {_text(path)}" if path else ""
