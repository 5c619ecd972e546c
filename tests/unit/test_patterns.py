"""No regular expression keeps everything else waiting."""

from __future__ import annotations

import re
import signal
import threading

import pytest

from qa import patterns
from qa.errors import UsageError
from qa.patterns import compile_pattern, in_time


@pytest.fixture(autouse=True)
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SEARCH_LIMIT_S", 0.1)


def test_one_that_would_take_for_ever_is_given_up_and_leaves_no_timer() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(UsageError, match=r"was given up after 0\.1 s of computing") as caught, in_time("(a+)+$"):
        re.search("(a+)+$", "a" * 60 + "b")
    assert "(a+)+ is a+" in str(caught.value.hint)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_others_are_found_as_ever() -> None:
    with in_time("b$"):
        assert re.search("b$", "a" * 60 + "b")
    with pytest.raises(KeyError), in_time("b"):
        raise KeyError
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a(", "missing )"),
        ("a{99999999999999}", "the repetition number is too large"),
        ("a{" + "9" * 5000 + "}", "Exceeds the limit"),
        ("(?a)(?u)x", "incompatible"),
        ("(" * 3000 + ")" * 3000, "it is nested too deeply"),
        ("(?P<" + "1" * 5000 + ">a)", "bad character in group name"),
    ],
)
def test_what_is_none_is_told_in_a_few_words(pattern: str, why: str) -> None:
    with pytest.raises(UsageError, match="is not a regular expression") as caught:
        compile_pattern(pattern)
    assert why in caught.value.message
    assert len(caught.value.message) < 400


def test_beside_the_main_thread_nothing_is_armed() -> None:
    armed: list[tuple[float, float]] = []

    def search() -> None:
        with in_time("b"):
            armed.append(signal.getitimer(signal.ITIMER_VIRTUAL))

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert armed == [(0.0, 0.0)]
