"""Durations in and out, and deadlines."""

from __future__ import annotations

import asyncio

import pytest

from qa.deadline import Deadline, format_duration, parse_duration
from qa.errors import DeadlineExceeded, UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90), (0.5, 0.5), (0, 0), ("90", 90), ("90s", 90), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), (" 2 m ", 120),
     ("1h 30m", 5400), ("0", 0), ("1m500ms", 60.5)],
)  # fmt: skip
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "10 minutes", "-1s", -1, "1d", "s", "1m x", "1..5s", True, float("inf"), float("nan"), "1e3"]
)
def test_what_is_no_duration_is_the_users_error(text: str | float) -> None:
    with pytest.raises(UsageError, match="is not a duration") as caught:
        parse_duration(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.34, "340 ms"),
        (1, "1.0 s"),
        (7.12, "7.1 s"),
        (60, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3600, "1 h 00 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_deadline_says_its_limit_with_the_factor() -> None:
    assert Deadline.after(10).describe() == "10.0 s"
    assert Deadline.after(10, 5).describe() == "50.0 s (10.0 s x 5 under software emulation)"


def test_the_factor_lengthens_the_time() -> None:
    assert 40 < Deadline.after(10, 5).remaining <= 50


def test_a_deadline_that_has_passed() -> None:
    passed = Deadline.after(0)
    assert passed.expired
    assert passed.remaining == 0


async def test_what_is_done_in_time_is_returned() -> None:
    assert await Deadline.after(5).wait_for(asyncio.sleep(0, "done"), "it") == "done"


async def test_what_is_not_is_cancelled_and_named() -> None:
    slow = asyncio.get_running_loop().create_future()
    with pytest.raises(DeadlineExceeded, match="the answer did not happen within 10 ms"):
        await Deadline.after(0.01).wait_for(slow, "the answer")
    assert slow.cancelled()


async def test_a_timeout_of_someone_else_is_not_ours() -> None:
    async def times_out() -> None:
        raise TimeoutError("theirs")

    with pytest.raises(TimeoutError, match="theirs"):
        await Deadline.after(5).wait_for(times_out(), "it")


def test_what_was_seen_last_is_evidence() -> None:
    assert Deadline.after(1).exceeded("it", "the login prompt").evidence == {"seen last": "the login prompt"}
    assert Deadline.after(1).exceeded("it").evidence == {}
