"""What an error means for a run: its outcome and the exit status."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qa.errors import CheckFailed, DeadlineExceeded, GuestPanic, Interrupted, NoSpace, QaError, QemuExited, QemuFailed
from qa.events import Outcome
from qa.scenario.expectations import is_command

PASSED = 0
DEFECT = 70
"""Exit status when this program itself is at fault (EX_SOFTWARE of sysexits.h)."""

SERIOUSNESS = (Interrupted.exit_code, DEFECT, 2, 3, 4, 5, 1, PASSED)
"""Exit statuses from the most serious on: of several scripts the first that occurs is the command's."""


@dataclass(frozen=True)
class Verdict:
    """Why a step or a run did not pass.

    Attributes:
        error: what was raised, for its evidence.
        is_death: the guest or its QEMU is gone, so that there is nothing to go on with.
    """

    outcome: Outcome
    exit_status: int
    reason: str
    hint: str = ""
    error: BaseException | None = None
    is_death: bool = False

    @property
    def can_be_allowed(self) -> bool:
        """Whether ``allow_failure`` covers it; a defect of ours and a wish to stop are no failures of the step."""
        return self.exit_status not in {DEFECT, Interrupted.exit_code}

    @property
    def can_be_retried(self) -> bool:
        """Whether trying again makes sense: an expectation or a time limit, not a machine that is dead."""
        return self.outcome in {"failed", "timeout"}

    @property
    def evidence(self) -> dict[str, str]:
        """Title to text: what the error brought along. What a command printed and how needles compare is in the step's result."""
        result = getattr(self.error, "result", None)
        if is_command(result) or getattr(result, "candidates", None):
            return {}
        if isinstance(self.error, QaError):
            return dict(self.error.evidence)
        if self.error is not None and self.exit_status == DEFECT:
            return {"traceback": "".join(traceback.format_exception(self.error))}
        return {}


def judge(error: BaseException, *, in_step: bool) -> Verdict:
    """The verdict on ``error``. A deadline that passed in a step is a failed step; elsewhere it has a status of its own."""
    error = _first(error)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = f" for {error.filename}" if error.filename else " for a file of this run"
        error = NoSpace(
            f"no space is left on the host{where}", hint="free some, or name a larger disk with --out or ANIMA_QA_HOME"
        )
    if not isinstance(error, QaError):
        message = f"a defect of anima-qa: {type(error).__name__}: {error}"
        return Verdict("error", DEFECT, message, "please report it, with the traceback that is among the evidence", error)
    outcome: Outcome = "error"
    status = error.exit_code
    if isinstance(error, Interrupted):
        outcome = "interrupted"
    elif isinstance(error, CheckFailed):
        outcome = "failed"
    elif isinstance(error, DeadlineExceeded):
        outcome = "timeout"
        status = CheckFailed.exit_code if in_step else status
    return Verdict(
        outcome, status, error.message, error.hint or "", error, isinstance(error, GuestPanic | QemuExited | QemuFailed)
    )


def _first(error: BaseException) -> BaseException:
    """The most telling error in a group: an expected one, if there is any."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_first(one) for one in error.exceptions]
    return next((one for one in leaves if isinstance(one, QaError)), leaves[0])


def most_serious(statuses: Iterable[int]) -> int:
    """The exit status of a command that ran several scripts."""
    present = set(statuses)
    return next((status for status in SERIOUSNESS if status in present), max(present, default=PASSED))


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The most serious of several, the first of those that are equally so."""
    status = most_serious(verdict.exit_status for verdict in verdicts)
    return next(verdict for verdict in verdicts if verdict.exit_status == status)
