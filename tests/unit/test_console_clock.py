"""When which part of a console was printed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from qa.console import SerialConsole
from qa.console.clock import FINEST, MOST, ConsoleClock


def test_pieces_that_come_close_together_are_one_moment_and_the_last_is_exact() -> None:
    clock = ConsoleClock()
    for at, size in ((1.0, 10), (2.0, 20), (2.01, 30), (2.02, 40), (3.0, 50)):
        clock.note(at, size)
    assert clock.moments == ((1.0, 10), (2.0, 20), (2.02, 40), (3.0, 50))


def test_a_long_run_keeps_few_moments_and_all_of_its_length() -> None:
    clock = ConsoleClock()
    for number in range(50 * MOST):
        clock.note(number * FINEST, number)
    times = [at for at, _ in clock.moments]
    assert MOST / 3 < len(times) <= MOST
    assert clock.moments[0] == (0.0, 0)
    assert clock.moments[-1] == ((50 * MOST - 1) * FINEST, 50 * MOST - 1)
    assert max(later - before for before, later in pairwise(times)) < times[-1] / (MOST / 3)


def test_moments_count_what_is_in_the_log_and_not_what_a_restored_machine_has_printed_before(tmp_path: Path) -> None:
    console = SerialConsole(tmp_path / "console.log")
    console.data_received(b"first ")
    console.go_on_from(b"x" * 1000, 10)
    console.data_received(b"second")
    console.close()
    assert console.clock.moments[-1][1] == (tmp_path / "console.log").stat().st_size == 12
