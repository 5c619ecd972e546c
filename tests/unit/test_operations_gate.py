"""The gate: what passes, who is asked, and what is written down of it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from qa.errors import AuditFailed, CheckFailed, PolicyRefused
from qa.operations.audit import AuditLog
from qa.operations.calls import Caller, Facts
from qa.operations.gate import Gate
from qa.operations.policy import Judge
from qa.rules import Audit, Policy

AGENT, USER = Caller("mcp", "claude"), Caller("run", "uid 0")
DESTROY = Facts("destroy", question="destroy vm1?")


class Work:
    """Something to be done, which knows whether it was."""

    def __init__(self, result: Any = "done", error: BaseException | None = None) -> None:
        self.done = 0
        self.result, self.error = result, error

    async def __call__(self) -> Any:
        self.done += 1
        if self.error:
            raise self.error
        return self.result


class Person:
    """Somebody who is asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def __call__(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "state" / "audit.jsonl")


def gate(tmp_path: Path, log: AuditLog | None = None, *, audit: Audit | None = None, **rules: Any) -> Gate:
    return Gate(Judge(Policy.model_validate(rules), tmp_path / "config.toml", home=tmp_path), audit or Audit(), log)


def lines(log: AuditLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.file.read_text().splitlines()] if log.file.exists() else []


async def test_what_is_allowed_is_done_and_its_result_handed_on(tmp_path: Path) -> None:
    work = Work({"a": 1})
    assert await gate(tmp_path).call(AGENT, "vm_exec", work, facts=Facts()) == {"a": 1}
    assert work.done == 1


async def test_what_is_refused_is_not_done(tmp_path: Path) -> None:
    work = Work()
    with pytest.raises(PolicyRefused):
        await gate(tmp_path, read_only=True).call(AGENT, "vm_exec", work, facts=Facts())
    assert work.done == 0


# asking


async def test_somebody_is_asked_before_an_agent_destroys(tmp_path: Path) -> None:
    work, person = Work(), Person(answer=True)
    await gate(tmp_path).call(AGENT, "vm_destroy", work, facts=DESTROY, ask=person)
    assert (work.done, person.asked) == (1, ["destroy vm1?"])


async def test_no_is_no(tmp_path: Path) -> None:
    work = Work()
    with pytest.raises(PolicyRefused, match="not confirmed") as caught:
        await gate(tmp_path).call(AGENT, "vm_destroy", work, facts=DESTROY, ask=Person(answer=False))
    assert work.done == 0
    assert caught.value.rule == "policy.confirm"


async def test_where_nobody_can_be_asked_force_is_the_next_step(tmp_path: Path) -> None:
    work = Work()
    with pytest.raises(PolicyRefused, match="destroy vm1") as caught:
        await gate(tmp_path).call(AGENT, "vm_destroy", work, facts=DESTROY)
    assert "force" in (caught.value.hint or "")
    assert work.done == 0
    await gate(tmp_path).call(AGENT, "vm_destroy", work, facts=Facts("destroy", force=True))
    assert work.done == 1


@pytest.mark.parametrize(
    ("confirm", "caller", "effect", "asked"),
    [
        ("agents", AGENT, "destroy", True),
        ("agents", AGENT, "change", False),
        ("agents", USER, "destroy", False),
        ("all", USER, "destroy", True),
        ("none", AGENT, "destroy", False),
    ],
)
async def test_who_is_asked_when(tmp_path: Path, confirm: str, caller: Caller, effect: Any, asked: bool) -> None:
    person = Person(answer=True)
    await gate(tmp_path, confirm=confirm).call(caller, "x", Work(), facts=Facts(effect), ask=person)
    assert bool(person.asked) is asked


async def test_force_does_not_help_against_the_policy(tmp_path: Path) -> None:
    work = Work()
    with pytest.raises(PolicyRefused):
        await gate(tmp_path, read_only=True).call(AGENT, "vm_destroy", work, facts=Facts("destroy", force=True))
    assert work.done == 0


async def test_what_the_policy_refuses_nobody_is_asked_for(tmp_path: Path) -> None:
    person = Person(answer=True)
    with pytest.raises(PolicyRefused):
        await gate(tmp_path, read_only=True).call(AGENT, "vm_destroy", Work(), facts=DESTROY, ask=person)
    assert person.asked == []


# writing down


async def test_a_call_is_one_line(tmp_path: Path, log: AuditLog) -> None:
    arguments = {"vm": "vm1", "command": "id", "password": "hunter2"}
    await gate(tmp_path, log).call(AGENT, "vm_exec", Work(), facts=Facts(), arguments=arguments, reason="to see who I am")
    (line,) = lines(log)
    assert line["at"].endswith("Z")
    assert {key: line[key] for key in ("surface", "client", "tool", "outcome", "result", "reason")} == {
        "surface": "mcp", "client": "claude", "tool": "vm_exec", "outcome": "ok", "result": "done", "reason": "to see who I am",
    }  # fmt: skip
    assert line["arguments"] == {"vm": "vm1", "command": "id", "password": "***"}
    assert line["duration_s"] >= 0
    assert log.file.stat().st_mode & 0o777 == 0o600


class Exited:
    exit_code = 3


@pytest.mark.parametrize(
    ("result", "written"),
    [(Exited(), {"exit_code": 3}), ("token=abcdef123", "token=***"), (None, None), (b"\0" * 9, "bytes"), ({"a": 1}, "dict")],
)
async def test_of_the_result_little_is_written(tmp_path: Path, log: AuditLog, result: Any, written: Any) -> None:
    await gate(tmp_path, log).call(AGENT, "x", Work(result), facts=Facts())
    assert lines(log)[0]["result"] == written


async def test_a_refusal_is_written_down_with_its_rule(tmp_path: Path, log: AuditLog) -> None:
    with pytest.raises(PolicyRefused):
        await gate(tmp_path, log, read_only=True).call(AGENT, "vm_exec", Work(), facts=Facts())
    (line,) = lines(log)
    assert (line["outcome"], line["result"]["rule"]) == ("refused", "policy.read_only")


@pytest.mark.parametrize("error", [CheckFailed("password: my-own was wrong"), RuntimeError("it said my-own")])
async def test_an_error_is_written_down_and_goes_on(tmp_path: Path, log: AuditLog, error: Exception) -> None:
    with pytest.raises(type(error)):
        await gate(tmp_path, log).call(AGENT, "x", Work(error=error), facts=Facts())
    (line,) = lines(log)
    assert line["outcome"] == "error"
    assert "my-own" not in json.dumps(line)


async def test_a_call_that_is_cancelled_is_written_down_before_it_ends(tmp_path: Path, log: AuditLog) -> None:
    began = asyncio.Event()

    async def forever() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(gate(tmp_path, log).call(AGENT, "vm_wait", forever, facts=Facts("read")))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line["outcome"] for line in lines(log)] == ["cancelled"]


async def test_a_call_that_is_cancelled_while_it_is_written_down_waits_for_that(
    tmp_path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, writing, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    append = AuditLog.append

    def slowly(self: AuditLog, record: Any) -> None:
        loop.call_soon_threadsafe(writing.set)
        go_on.wait()
        append(self, record)

    monkeypatch.setattr(AuditLog, "append", slowly)
    task = asyncio.create_task(gate(tmp_path, log).call(AGENT, "x", Work(), facts=Facts()))
    await writing.wait()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    ended = task.done()
    go_on.set()
    assert not ended
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(lines(log)) == 1


async def test_the_line_is_there_when_the_answer_is(tmp_path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(len(log.file.read_bytes())))
    await gate(tmp_path, log).call(AGENT, "x", Work(), facts=Facts())
    assert synced == [log.file.stat().st_size]


@pytest.mark.parametrize(("of", "written"), [("agents", ["mcp"]), ("all", ["run", "mcp"]), ("none", [])])
async def test_whose_calls_are_written_down(tmp_path: Path, log: AuditLog, of: Any, written: list[str]) -> None:
    one = gate(tmp_path, log, audit=Audit(of=of))
    await one.call(USER, "x", Work(), facts=Facts())
    await one.call(AGENT, "x", Work(), facts=Facts())
    assert [line["surface"] for line in lines(log)] == written
    assert log.head_file.exists() is bool(written)


async def test_chosen_arguments_are_hidden(tmp_path: Path, log: AuditLog) -> None:
    one = gate(tmp_path, log, audit=Audit(hide=("vm_input.text",)))
    await one.call(AGENT, "vm_input", Work(), facts=Facts(), arguments={"text": "hunter2", "vm": "a"})
    await one.call(AGENT, "vm_exec", Work(), facts=Facts(), arguments={"text": "shown"})
    assert [line["arguments"] for line in lines(log)] == [{"text": "*** (7 letters)", "vm": "a"}, {"text": "shown"}]


# when it cannot be written down


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    work = Work()
    with pytest.raises(AuditFailed, match="No space left") as caught:
        await gate(tmp_path, log).call(AGENT, "vm_exec", work, facts=Facts())
    assert work.done == 0
    assert "free some space" in (caught.value.hint or "")


async def test_where_there_can_be_no_log_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    work = Work()
    with pytest.raises(AuditFailed):
        await gate(tmp_path, AuditLog(tmp_path / "file" / "audit.jsonl")).call(AGENT, "x", work, facts=Facts())
    assert work.done == 0


async def test_a_log_that_is_a_link_is_not_written_to(tmp_path: Path, log: AuditLog) -> None:
    log.file.parent.mkdir()
    log.file.symlink_to(tmp_path / "elsewhere")
    work = Work()
    with pytest.raises(AuditFailed):
        await gate(tmp_path, log).call(AGENT, "x", work, facts=Facts())
    assert work.done == 0
    assert not (tmp_path / "elsewhere").exists()


async def test_a_call_that_was_let_in_is_written_down_in_the_space_that_was_held(
    tmp_path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if log.head_file.stat().st_size > 4096:  # while the space is held
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    await gate(tmp_path, log).call(AGENT, "x", Work(), facts=Facts())
    assert len(lines(log)) == 1


async def test_a_call_that_was_done_and_not_written_down_says_so(
    tmp_path: Path, log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    work = Work()
    with pytest.raises(AuditFailed, match=r"vm_exec was done, but .*Input/output error"):
        await gate(tmp_path, log).call(AGENT, "vm_exec", work, facts=Facts())
    assert work.done == 1
