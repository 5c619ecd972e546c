"""Jobs: work that goes on when nobody waits, is picked up later, and prints for whoever wants to read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from scenario_world import until

from qa.errors import CheckFailed, LimitReached, UsageError
from qa.events import Bus, CommandOutput, ConsoleLine, MachineStage, Progress
from qa.operations import jobs as module
from qa.operations import output
from qa.operations.jobs import KEPT, Job, Jobs, describe_error
from qa.operations.output import Output, Piece


class Work:
    """Waits until it may end."""

    def __init__(self, result: Any = "done") -> None:
        self.go_on = asyncio.Event()
        self.result = result
        self.cleaned_up = False

    async def __call__(self, job: Job) -> Any:
        try:
            await self.go_on.wait()
        finally:
            self.cleaned_up = True
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


async def test_a_client_has_a_bounded_number_of_jobs_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RUNNING", 2)
    async with Jobs() as jobs:
        first, second = Work(), Work()
        jobs.start("a", "first", first)
        jobs.start("a", "second", second)
        with pytest.raises(LimitReached, match="2 jobs are running"):
            jobs.start("a", "third", Work())
        jobs.start("b", "of somebody else", Work())
        first.go_on.set()
        await jobs.wait(jobs.get("job1", "a"), 10)
        jobs.start("a", "third", Work())


async def test_a_job_is_waited_for_and_picked_up() -> None:
    async with Jobs() as jobs:
        work = Work(42)
        job = jobs.start("a", "count", work)
        assert not await jobs.wait(job, 0.01)
        with pytest.raises(UsageError, match="still running"):
            job.outcome()
        assert not job.collected
        work.go_on.set()
        assert await jobs.wait(job, 10)
        assert (job.outcome(), job.state, job.collected) == (42, "done", True)
        assert jobs.get(job.id, "a") is job


async def test_an_error_is_raised_where_it_is_picked_up() -> None:
    async with Jobs() as jobs:
        work = Work(CheckFailed("no", hint="try again"))
        work.go_on.set()
        job = jobs.start("a", "fail", work)
        await jobs.wait(job, 10)
        with pytest.raises(CheckFailed, match="no"):
            job.outcome()
        assert job.state == "failed"
        assert describe_error(CheckFailed("no", hint="try again")) == "no (try again)"


async def test_who_stops_waiting_does_not_end_the_job() -> None:
    async with Jobs() as jobs:
        work = Work()
        job = jobs.start("a", "long", work)
        waiting = asyncio.create_task(jobs.wait(job, 100))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert job.running
        work.go_on.set()
        await jobs.wait(job, 10)
        assert job.outcome() == "done"


async def test_cancelling_waits_until_it_has_cleaned_up() -> None:
    async with Jobs() as jobs:
        work = Work()
        job = jobs.start("a", "long", work)
        await asyncio.sleep(0)
        await jobs.cancel(job)
        assert (job.state, work.cleaned_up) == ("cancelled", True)
        with pytest.raises(UsageError, match="was cancelled"):
            job.outcome()
        await jobs.cancel(job)


async def test_asking_twice_does_not_cut_the_cleaning_up_short() -> None:
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def work(_: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()

    async with Jobs() as jobs:
        job = jobs.start("a", "long", work)
        await asyncio.sleep(0)
        job.stop()
        await cleaning.wait()
        job.stop()
        ending = asyncio.create_task(jobs.cancel(job))
        assert not await jobs.wait(job, 0.01)
        cleaned.set()
        await ending
        assert job.state == "cancelled"


async def test_a_job_that_is_cancelled_before_it_began_is_cancelled(tmp_path: Path) -> None:
    async with Jobs() as jobs:
        job = jobs.start("a", "long", Work(), output=tmp_path)
        await jobs.cancel(job)
        assert job.state == "cancelled"
        assert job.output
        assert job.output.closed


async def test_at_the_end_all_jobs_are_cancelled() -> None:
    works = [Work(), Work()]
    async with Jobs() as jobs:
        started = [jobs.start("a", "long", work) for work in works]
        await asyncio.sleep(0)
    assert [work.cleaned_up for work in works] == [True, True]
    assert [job.state for job in started] == ["cancelled", "cancelled"]


async def test_jobs_of_others_are_not_there() -> None:
    async with Jobs() as jobs:
        job = jobs.start("a", "long", Work())
        with pytest.raises(UsageError, match="no job 'job1'") as caught:
            jobs.get(job.id, "b")
        assert caught.value.hint == "running jobs: none"
        with pytest.raises(UsageError) as caught:
            jobs.get("job7", "a")
        assert caught.value.hint == "running jobs: job1"


async def test_a_client_that_goes_ends_its_jobs_and_a_machine_that_goes_ends_those_about_it() -> None:
    async with Jobs() as jobs:
        one, two, other = (jobs.start(client, "x", Work(), vm=vm) for client, vm in (("a", "vm1"), ("a", "vm2"), ("b", "vm1")))
        await jobs.leave("a", vm="vm1")
        assert (one.state, two.state, other.state) == ("cancelled", "running", "running")
        await jobs.leave("a")
        assert (two.state, other.state) == ("cancelled", "running")
        assert (jobs.of("a"), jobs.of("b")) == ([], [other])  # whoever has gone asks no more


async def test_of_jobs_that_have_ended_the_oldest_are_forgotten_and_running_ones_never() -> None:
    async with Jobs() as jobs:
        running = jobs.start("a", "long", Work())
        for _ in range(KEPT + 5):
            work = Work()
            work.go_on.set()
            await jobs.wait(jobs.start("a", "short", work), 10)
        left = jobs.of("a")
        assert running in left
        assert len(left) <= KEPT + 2
        assert len({job.id for job in left}) == len(left)


async def test_signs_of_life_are_told() -> None:
    bus = Bus()
    async with Jobs() as jobs:
        job = jobs.start("a", "boot", Work(), bus=bus)
        bus.emit(MachineStage(machine="vm1", stage="kernel", elapsed_s=1.0))
        assert job.said == "kernel"
        bus.emit(ConsoleLine(machine="vm1", text="Started nginx\n\n"))
        assert job.said == "Started nginx"
        bus.emit(Progress(task="copy", done=5, total=10))
        assert (job.said, job.done, job.total) == ("copy", 5, 10)
        await jobs.cancel(job)
        bus.emit(CommandOutput(machine="vm1", stream="stdout", text="later"))
        assert job.said == "copy", "it listens when it has ended"


# output


def test_output_is_read_from_any_place(tmp_path: Path) -> None:
    one = Output(tmp_path / "x" / "out")
    one.add(b"hello ")
    first = one.read()
    assert (first.text, first.cursor) == ("hello ", 6)
    one.add(b"world")
    assert one.read(first.cursor).text == "world"
    assert one.read(0).text == "hello world"
    assert one.read(11).text == ""
    one.close()
    assert one.file.read_bytes() == b"hello world"


@pytest.mark.parametrize("cursor", [-1, 6])
def test_a_cursor_behind_the_end_is_an_error(tmp_path: Path, cursor: int) -> None:
    one = Output(tmp_path / "out")
    one.add(b"hello")
    with pytest.raises(UsageError, match="5 bytes"):
        one.read(cursor)


def test_of_much_output_the_newest_is_given_and_the_rest_is_counted(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    one.add(b"x" * 100 + b"end")
    piece = one.read(10, limit=5)
    assert (piece.text, piece.skipped, piece.cursor) == ("xxend", 88, 103)


def test_a_letter_that_has_not_come_whole_is_waited_for(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    letters = "aé€😀".encode()
    text, cursor = "", 0
    for byte in letters:
        one.add(bytes([byte]))
        piece = one.read(cursor)
        text, cursor = text + piece.text, piece.cursor
    assert text == "aé€😀"


@pytest.mark.parametrize(
    ("data", "readable"),
    [
        (b"plain", 5),
        ("whole é€😀".encode(), 15),
        (b"caf\xe9", 3),  # may begin a letter of three bytes
        (b"\xf0\x9f\x98", 0),
        (b"a\xff", 2),
        (b"a\xf8\x80", 3),
        (b"a\xc0", 2),
        (b"a\xc1\x80", 3),
        (b"a\xed\xa0\x80", 4),  # half of a pair in UTF-16, which UTF-8 does not have
        (b"a\xe2\x82 ", 4),
        (b"a\x80\x80\x80", 4),
    ],
)
async def test_only_what_can_begin_a_letter_is_held_back(tmp_path: Path, data: bytes, readable: int) -> None:
    one = Output(tmp_path / "out")
    for byte in data:
        one.add(bytes([byte]))
    assert (one.readable, one.read().cursor) == (readable, readable)
    one.add(b"\n")
    assert one.read(readable).cursor == len(data) + 1


async def test_half_a_letter_is_no_news_until_its_rest_or_the_end_comes(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    one.add(b"caf\xe9")
    waiting = asyncio.create_task(one.news(3))
    await asyncio.sleep(0)
    assert not waiting.done()
    one.add(b"\n")
    await waiting
    assert one.read(3).text == "\ufffd\n"
    one.add(b"caf\xe9")
    waiting = asyncio.create_task(one.news(8))
    await asyncio.sleep(0)
    assert not waiting.done()
    one.close()
    await waiting
    assert (one.read(8).text, one.read(9)) == ("\ufffd", Piece("", 9))


def test_a_cursor_inside_a_letter_does_not_go_back(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    one.add(b"caf\xe2\x82")
    assert [one.read(cursor) for cursor in (3, 4, 5)] == [Piece("", cursor) for cursor in (3, 4, 5)]


def test_a_letter_is_not_cut_at_the_beginning(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    one.add("€€€".encode())
    piece = one.read(0, limit=4)
    assert (piece.text, piece.skipped) == ("€", 6)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"abc\xe2\x82", b"\x80\x80\x80\x80\x80"])
def test_what_is_no_text_is_given_in_the_end(tmp_path: Path, data: bytes) -> None:
    one = Output(tmp_path / "out")
    one.add(data)
    one.close()
    piece = one.read()
    assert piece.cursor == len(data)
    assert "\ufffd" in piece.text


async def test_who_waits_for_output_is_woken_by_it_or_by_its_end(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    waiting = asyncio.create_task(one.news(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    one.add(b"x")
    await waiting
    waiting = asyncio.create_task(one.news(1))
    await asyncio.sleep(0)
    one.close()
    await waiting


async def test_several_who_wait_are_all_woken(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    waiting = [asyncio.create_task(one.news(0)) for _ in range(3)]
    await asyncio.sleep(0)
    one.add(b"x")
    await until(lambda: all(task.done() for task in waiting))


def test_more_than_is_kept_is_counted_and_the_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "WHOLE_LIMIT", 10)
    one = Output(tmp_path / "out")
    one.add(b"x" * 8)
    one.add(b"y" * 8)
    one.add(b"z")
    assert (one.read().text, one.lost) == ("x" * 8 + "yy", 7)


def test_a_full_disk_costs_output_and_not_the_command(tmp_path: Path) -> None:
    one = Output(tmp_path / "out")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, one._stream.fileno())
    os.close(full)
    one.add(b"lost")
    assert (one.size, one.lost, one.read().text) == (0, 4, "")


async def test_a_job_prints_into_its_own_file(tmp_path: Path) -> None:
    async def work(job: Job) -> None:
        assert job.output
        job.output.add(b"hi")

    async with Jobs() as jobs:
        job = jobs.start("a", "print", work, output=tmp_path / "jobs")
        await jobs.wait_for_output(job, 0, 10)
        assert job.output
        assert (job.output.file.name, job.output.read().text) == ("job1.log", "hi")
        await jobs.wait_for_output(job, 2, 10)
        assert not job.running
