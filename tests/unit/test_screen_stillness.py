"""When a screen is still, and where it is not."""

from __future__ import annotations

from painted import Rectangle, painted

from qa.screen.stillness import Area, Restless, StillWatch, describe_restless

CURSOR: Rectangle = (80, 32, 8, 16)
NEXT_CELL: Rectangle = (88, 32, 8, 16)
WINDOW: Rectangle = (160, 64, 96, 64)


def watched(*pictures: tuple[float, tuple[Rectangle, ...]], watch: StillWatch | None = None) -> StillWatch:
    watch = watch or StillWatch()
    for at, rectangles in pictures:
        watch.see(painted(*rectangles, taken=at))
    return watch


def test_a_screen_without_change_is_still_from_its_first_frame_on() -> None:
    assert watched((10.0, ()), (10.1, ()), (13.0, ())).still_for == 3.0


def test_a_change_begins_the_time_anew() -> None:
    watch = watched((0.0, ()), (2.0, (WINDOW,)), (2.5, (WINDOW,)))
    assert watch.still_for == 0.5
    assert watch.restless(1.0) == [Restless(Area(160, 64, 96, 64), 1)]


def test_a_blinking_cursor_does_not_count_at_all() -> None:
    watch = watched(*((0.5 * number, (CURSOR,) * (number % 2)) for number in range(9)))
    assert watch.still_for == 4.0
    assert watch.restless(10.0) == []


def test_the_first_blink_may_be_a_change_and_is_none_once_the_cursor_is_back() -> None:
    watch = watched((0.0, ()), (1.0, (CURSOR,)))
    assert watch.still_for == 0.0
    watched((2.0, ()), watch=watch)
    assert watch.still_for == 2.0


def test_a_character_that_is_typed_counts_though_the_cursor_blinks_on() -> None:
    typed = (80, 36, 8, 8)
    after_it = ((), (typed,), (typed, NEXT_CELL), (typed,), (typed, NEXT_CELL))
    watch = watched((0.0, ()), (1.0, (CURSOR,)), *((2.0 + number, shapes) for number, shapes in enumerate(after_it)))
    assert watch.still_for == 3.0  # since the character came, at 3.0


def test_a_digit_that_counts_is_no_cursor() -> None:
    digits = [(80, 32, 8, height) for height in range(2, 14)]
    watch = watched(*((float(number), (digit,)) for number, digit in enumerate(digits)))
    assert watch.still_for == 0.0
    assert watch.restless(5.0) == [Restless(Area(80, 32, 16, 16), 11)]


def test_what_moves_elsewhere_counts_while_a_known_cursor_blinks() -> None:
    watch = watched((0.0, ()), (1.0, (CURSOR,)), (2.0, ()), (3.0, (CURSOR, WINDOW)), (4.0, (WINDOW,)), (5.0, (CURSOR, WINDOW)))
    assert watch.still_for == 2.0
    assert [one.area for one in watch.restless(9.0)] == [Area(160, 64, 96, 64)]


def test_two_large_pictures_in_turn_are_no_cursor() -> None:
    assert watched(*((float(number), (WINDOW,) * (number % 2)) for number in range(6))).still_for == 0.0


def test_ignored_areas_do_not_count() -> None:
    watch = StillWatch([Area(150, 60, 200, 70)])
    watched(*((float(number), (WINDOW,) * (number % 2)) for number in range(6)), watch=watch)
    assert watch.still_for == 5.0
    assert not watch.sees_nothing
    watched((6.0, (WINDOW, (0, 0, 40, 40))), watch=watch)
    assert watch.still_for == 0.0


def test_ignoring_all_of_the_screen_is_noticed() -> None:
    watch = watched((0.0, ()), watch=StillWatch([Area(0, 0, 200, 999), Area(150, 0, 5000, 999)]))
    assert watch.sees_nothing


def test_so_many_pixels_may_change_and_slow_changes_add_up() -> None:
    bars = [(0, 100, 10 * number, 1) for number in range(1, 10)]
    watch = watched((0.0, ()), *((float(number), (bar,)) for number, bar in enumerate(bars, 1)), watch=StillWatch(changes=45))
    assert watch.still_for == 4.0  # from 5.0, when it was 50 pixels long


def test_another_size_is_another_screen() -> None:
    watch = watched((0.0, ()), (3.0, ()))
    watch.see(painted(size=(640, 400), taken=4.0))
    assert (watch.still_for, watch.resized) == (0.0, 1)
    watch.see(painted((600, 380, 40, 20), size=(640, 400), taken=5.0))
    assert [one.area for one in watch.restless(1.0)] == [Area(592, 368, 48, 32)]


def test_what_moved_long_ago_is_not_told_and_places_are_told_apart() -> None:
    corner: Rectangle = (280, 0, 40, 20)
    line: Rectangle = (0, 180, 100, 20)
    watch = watched((0.0, ()), (1.0, (WINDOW,)), *((5.0 + number, (WINDOW,) + (corner,) * (number % 2)) for number in range(4)))
    watched((9.0, (WINDOW, corner, line)), (10.5, (WINDOW, corner)), watch=watch)
    assert watch.restless(1.0) == [Restless(Area(0, 176, 112, 24), 2)]
    assert watch.restless(4.0) == [Restless(Area(272, 0, 48, 32), 3), Restless(Area(0, 176, 112, 24), 2)]


def test_areas_are_told_in_words() -> None:
    found = [Restless(Area(number, 0, 16, 16), 9 - number) for number in range(5)]
    assert describe_restless(found[:1]) == "16x16 at 0,0 changed 9 times"
    assert describe_restless([Restless(Area(0, 0, 8, 8), 1)]) == "8x8 at 0,0 changed once"
    assert describe_restless(found).endswith("16x16 at 2,0 changed 7 times, and 2 other areas")
    assert describe_restless([]) == ""
