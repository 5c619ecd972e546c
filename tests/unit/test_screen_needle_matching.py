"""Needles are compared as openQA does: in integers, against an obvious implementation."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_needles import plain_blur, plain_grey, plain_search

from qa.screen.correlation import Field, Small, _near, _Recent, places_within, transform_length
from qa.screen.matching import candidate_of, compare_areas, find, ranked, scene_of
from qa.screen.metrics import Scene, blurred, grey_of, planes_of
from qa.screen.needle import Description, Needle
from qa.screen.picture import frame_from_picture
from qa.screen.sight import Candidate, Tile
from qa.screen.target import AS_GOOD, _target, targets_of


def made(rgb: Any, *areas: dict[str, Any], **more: Any) -> Needle:
    description = Description.model_validate({"area": areas, "tags": ["any"], **more})
    needle = Needle("made", Path("made.json"), (rgb.shape[1], rgb.shape[0]), description)
    needle.__dict__["rgb"] = rgb  # as if it had been read
    return needle


def compare(scene: Scene, needle: Needle, search_ratio: float) -> Candidate:
    return candidate_of(needle, compare_areas(scene, needle, search_ratio))


def box(x: int, y: int, width: int, height: int, **more: Any) -> dict[str, Any]:
    return {"xpos": x, "ypos": y, "width": width, "height": height, "type": "match", **more}


def noise(seed: int, height: int, width: int, *, values: int = 256) -> Any:
    picked = np.random.default_rng(seed).integers(0, values, (height, width, 3))
    return (picked * (255 // (values - 1))).astype(np.uint8)


def test_grey_is_right_for_every_colour_at_the_ends_of_rounding() -> None:
    levels = np.array([0, 1, 2, 63, 64, 127, 128, 129, 200, 253, 254, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, np.arange(256, dtype=np.uint8)), axis=-1).reshape(1, -1, 3)
    assert (grey_of(colours) == plain_grey(colours)).all()
    assert grey_of(np.array([[[0, 255, 0], [255, 255, 255], [0, 0, 0]]], np.uint8)).tolist() == [[150, 255, 0]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 2), (9, 12)])
def test_the_blur_rounds_and_reflects_at_the_borders(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    assert (blurred(plane) == plain_blur(plane.astype(np.int64))).all()


@pytest.mark.parametrize("metric", ["openqa", "colour", "exact"])
@pytest.mark.parametrize("seed", range(6))
def test_any_area_is_found_where_the_obvious_way_finds_it(seed: int, metric: str) -> None:
    chance = np.random.default_rng(seed)
    screen, picture = noise(seed, 18, 22, values=(256, 2)[seed % 2]), noise(seed + 100, 20, 24)
    width, height = (int(chance.integers(1, 9)) for _ in range(2))
    x, y = int(chance.integers(0, 24 - width)), int(chance.integers(0, 20 - height))
    moved = np.roll(picture, (2, -3), (0, 1))[:18, :22]
    screen = np.where(chance.random((18, 22, 1)) < 0.3 * (seed % 3), screen, moved)
    margin = int(chance.integers(0, 6))
    needle = made(picture, box(x, y, width, height, margin=margin, metric=metric))
    target = targets_of(needle)[0]
    place = find(Scene(screen), target, margin)
    sure = find(Scene(screen), target, margin, only_match=True)
    assert sure is None or (place and (sure.x, sure.y) == (place.x, place.y))
    expected = plain_search(screen, picture, (x, y, width, height), margin, metric=metric)
    if place is None:
        assert expected is None
    else:
        assert sure or place.total > target.most
        assert (place.x, place.y, place.total) == expected


@pytest.mark.parametrize("seed", range(8))
def test_what_differs_a_little_is_surely_found(seed: int) -> None:
    chance = np.random.default_rng(seed)
    picture = noise(seed, 60, 80)
    if seed % 2:
        picture[20:40, 20:60] //= 16  # dark, where all sums are small
    left, top = (int(one) for one in chance.integers(-6, 7, 2))
    blurry = np.roll(picture, (top, left), (0, 1)).astype(int) + chance.integers(-9, 10, picture.shape)
    screen = np.clip(blurry, 0, 255).astype(np.uint8)
    area = box(20, 20, 35, 17, margin=8)
    for needle in (made(picture, area), made(picture, area, box(30, 25, 5, 4) | {"type": "exclude"})):
        if len(needle.areas) > 1:
            screen[25 + top : 29 + top, 30 + left : 35 + left] = 255
        target = targets_of(needle)[0]
        sure, place = (find(Scene(screen), target, 8, only_match=only) for only in (True, False))
        assert sure
        assert place
        assert AS_GOOD < place.total < target.most
        assert (sure.x, sure.y) == (place.x, place.y) == (20 + left, 20 + top)


@pytest.mark.parametrize(
    ("match", "everywhere"), [(96, False), (0, False), (0, True)], ids=["by bounds", "by sums", "by transforms alone"]
)
@pytest.mark.parametrize("metric", ["openqa", "colour", "exact"])
@pytest.mark.parametrize("hole", [(9, 8, 4, 3), (6, 6, 2, 9), (0, 0, 11, 9), (12, 9, 1, 1), (5, 5, 10, 8)])
def test_excluded_parts_move_with_their_area(
    hole: tuple[int, int, int, int], metric: str, everywhere: bool, match: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if everywhere:
        monkeypatch.setattr("qa.screen.matching.AT_ONCE", 0)
    picture = noise(sum(hole), 17, 21)
    screen = np.roll(picture, (1, 2), (0, 1))
    x, y, width, height = hole
    screen[y + 1 : y + height + 1, x + 2 : x + width + 2] = 77  # what is under the hole, where the area is seen
    excluded = np.zeros((17, 21), bool)
    excluded[y : y + height, x : x + width] = True
    needle = made(picture, box(7, 6, 8, 6, margin=4, metric=metric, match=match), box(*hole) | {"type": "exclude"})
    target = targets_of(needle)[0]
    place = find(Scene(screen), target, 4)
    assert place
    found = (place.x, place.y, place.total)
    assert found == plain_search(screen, picture, (7, 6, 8, 6), 4, excluded, metric)
    if hole != (5, 5, 10, 8):  # of that one nothing is left to be seen
        assert found == (9, 7, 0)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_beside_an_excluded_part_decides_among_places_that_are_else_alike(seed: int) -> None:
    chance = np.random.default_rng(seed)
    picture, screen = (noise(seed + more, 14, 16, values=2) for more in (0, 50))
    excluded = np.zeros((14, 16), bool)
    excluded[5:8, 6:9] = True
    left, top = (int(one) for one in chance.integers(3, 6, 2))
    needle = made(picture, box(left, top, 6, 5, margin=3, match=0), box(6, 5, 3, 3) | {"type": "exclude"})
    place = find(Scene(screen), targets_of(needle)[0], 3)
    assert place
    assert (place.x, place.y, place.total) == plain_search(screen, picture, (left, top, 6, 5), 3, excluded)


def test_in_place_an_excluded_part_counts_exactly_as_green_in_both_pictures() -> None:
    picture, screen = noise(1, 30, 40), noise(2, 30, 40)
    needle = made(picture, box(5, 5, 20, 15, margin=0), box(10, 8, 6, 30) | {"type": "exclude"})
    for one in (picture, screen):
        one[8:38, 10:16] = (0, 255, 0)
    difference = (blurred(grey_of(screen)).astype(int) - blurred(grey_of(picture)))[5:20, 5:25]
    expected = min(1, max(0, 0.9 + (40 - (difference**2).mean()) / 380))
    assert compare(Scene(screen), needle, 0).areas[0].similarity == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["openqa", "colour", "exact"])
def test_a_picture_that_is_prepared_in_bands_is_as_if_it_was_prepared_at_once(metric: Any) -> None:
    rgb = noise(3, 200, 30)
    whole = [blurred(plane) if metric != "exact" else plane for plane in planes_of(rgb, metric)]
    scene = Scene(rgb)
    for top, bottom in ((70, 71), (0, 3), (127, 129), (190, 200)):
        for plane, expected in zip(scene.planes(metric, top, bottom), whole, strict=True):
            assert (plane[top:bottom] == expected[top:bottom]).all()
    assert all((one == other).all() for one, other in zip(scene.planes(metric), whole, strict=True))


@pytest.mark.parametrize(("more", "nearest"), [(10, True), (11, False)])
@pytest.mark.parametrize("match", [96, 0], ids=["found by bounds", "by transforms"])
def test_sums_that_are_greater_by_ten_count_as_equal(more: int, nearest: bool, match: int) -> None:
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[5:25, 50:70] = 200
    screen = np.zeros((40, 120, 3), np.uint8)
    screen[5:25, 5:25] = screen[5:25, 82:102] = 200
    target = targets_of(made(picture, box(47, 2, 26, 26, match=match, metric="colour")))[0]
    spots = [
        (y, x) for y in range(8, 23, 3) for x in range(3, 18, 3)
    ]  # each adds 1 to a sum, as it is blurred with what is around
    for number, (y, x) in enumerate(spots):
        screen[y, 5 + x, 0] += 2  # so that none is as good as it can be
        screen[y, 82 + x, 0] += 2
        screen[y, 82 + x, 1] += 2 * (number < more)
    place = find(Scene(screen), target, 60)
    assert place
    assert place.total == 25 + more * nearest
    assert (place.x == 79) is nearest


def test_exact_counts_no_place_as_equal_that_differs() -> None:
    picture = noise(3, 40, 90)
    screen = noise(4, 40, 90)
    screen[5:25, 10:30] = screen[5:25, 40:60] = picture[5:25, 10:30]
    screen[9, 15, 1] ^= 1
    seen = compare(Scene(screen), made(picture, box(10, 5, 20, 20, metric="exact")), 0)
    assert seen.matched
    assert (seen.areas[0].x, seen.areas[0].similarity) == (40, 1.0)


def test_sums_are_exact_where_numbers_are_largest() -> None:
    checkers = ((np.indices((1300, 1700)).sum(axis=0) & 1) * 255).astype(np.uint8)
    part = checkers[:1100, 1:1501]
    totals = Field(checkers).differences(Small(part))
    assert totals.shape == (201, 201)
    same = (np.indices((201, 201)).sum(axis=0) & 1) == 1
    assert (totals[same] == 0).all()
    assert (totals[~same] == 255**2 * part.size).all()


def test_a_bound_beyond_the_largest_number_of_a_table_leaves_no_place_out() -> None:
    white = np.full((2160, 3840), 255, np.uint8)
    found = places_within([Field(white)], [Small(white)], 0.4 * white.size * 3 * 255**2)
    assert found
    assert [part.tolist() for part in found] == [[0], [0], [0.0]]


def test_what_is_below_a_bound_is_out_though_the_bound_reaches_beyond_the_largest_number() -> None:
    sums = np.array([[100_000_000, 3_900_000_000, 4_290_000_000]], np.uint32)
    table = np.zeros((2, 4), np.uint32)
    np.cumsum(sums, axis=1, dtype=np.uint32, out=table[1:, 1:])
    assert _near(table, (1, 3), ((0, 0, 1, 1), 4_000_000_000), 400_000_000.0**2).tolist() == [[False, True, True]]


def test_transforms_are_kept_for_what_was_looked_for_last_and_for_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = np.random.default_rng(1).integers(0, 256, (6, 40, 50)).astype(np.uint8)
    large, smalls = Field(planes[0]), [Small(plane[:9, :7]) for plane in planes[1:]]
    room = 3 * 40 * 26 * 16  # for three
    monkeypatch.setattr("qa.screen.correlation._RECENT", _Recent())
    monkeypatch.setattr("qa.screen.correlation.KEPT_BYTES", room)
    before = [large.differences(small) for small in smalls]
    assert [len(small.transforms) for small in smalls] == [0, 0, 1, 1, 1]
    large.differences(smalls[2])
    del smalls[4]
    assert (large.differences(smalls[0]) == before[0]).all()
    assert [len(small.transforms) for small in smalls] == [1, 0, 1, 0]
    monkeypatch.setattr("numpy.fft.rfft2", None)
    assert (large.differences(smalls[2]) == before[2]).all()  # nothing is computed anew


def test_a_transform_that_is_larger_than_the_bound_pushes_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Small(np.ones((3, 3), np.uint8))
    monkeypatch.setattr("qa.screen.correlation._RECENT", _Recent())
    monkeypatch.setattr("qa.screen.correlation.KEPT_BYTES", 10_000)
    for side in (10, 90):
        Field(np.ones((side, side), np.uint8)).differences(small)
    assert [shape for shape, _ in small.transforms] == [(10, 10)]


@pytest.mark.parametrize(("least", "length"), [(1, 1), (7, 8), (121, 125), (769, 800), (1024, 1024)])
def test_transforms_have_quick_lengths(least: int, length: int) -> None:
    assert transform_length(least) == length


@pytest.mark.parametrize(("square", "similarity"), [(0, 1.0), (4, 0.994737), (5, 0.939474), (19, 0.055263), (20, 0.0)])
def test_similarity_follows_the_mean_square(square: int, similarity: float) -> None:
    picture = np.full((20, 20, 3), 100, np.uint8)
    needle = made(picture, box(0, 0, 20, 20))
    seen = compare(Scene(picture + np.uint8(square)), needle, 0).areas[0].similarity
    assert seen == pytest.approx(min(1, max(0, 0.9 + (40 - square**2) / 380)))


def test_the_nearest_of_equal_places_counts() -> None:
    screen = np.zeros((40, 60, 3), np.uint8)
    picture = screen.copy()
    picture[10:14, 20:24] = 255
    for x, y in ((2, 2), (26, 12), (50, 30)):
        screen[y : y + 4, x : x + 4] = 255
    seen = compare(Scene(screen), made(picture, box(18, 8, 8, 8)), 1).areas[0]
    assert (seen.x, seen.y, seen.similarity) == (24, 10, 1.0)


@pytest.mark.parametrize(("ratio", "found"), [(0, False), (0.02, False), (0.06, True), (1, True)])
def test_a_search_ratio_widens_the_margin(ratio: float, found: bool) -> None:
    picture = noise(5, 100, 200)
    screen = np.roll(picture, 60, axis=1)
    seen = compare(Scene(screen), made(picture, box(20, 20, 30, 30, margin=0)), ratio)
    assert seen.matched is found


@pytest.mark.parametrize(("moved", "found"), [(69, True), (70, False)])
def test_a_search_ratio_counts_from_the_margin_towards_1024_pixels(moved: int, found: bool) -> None:
    picture = noise(5, 40, 200)
    seen = compare(Scene(np.roll(picture, moved, axis=1)), made(picture, box(20, 5, 30, 30, margin=50)), 0.02)
    assert seen.matched is found  # 50 + 0.02 * (1024 - 50) = 69.48


def test_an_area_that_does_not_fit_the_screen_is_not_seen() -> None:
    picture = noise(5, 100, 200)
    candidate = compare(Scene(picture[:50, :80]), made(picture, box(60, 60, 100, 30)), 1)
    assert (candidate.matched, candidate.areas[0].similarity, candidate.error) == (False, 0.0, 1.0)


def test_a_match_of_nought_always_matches_and_a_margin_of_nought_stays_in_place() -> None:
    picture = noise(5, 50, 50)
    candidate = compare(Scene(255 - picture), made(picture, box(10, 10, 20, 20, match=0, margin=0)), 0)
    assert candidate.matched
    assert (candidate.areas[0].x, candidate.areas[0].y) == (10, 10)


def test_colour_sees_what_grey_does_not() -> None:
    red, green = np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30, 3), np.uint8)
    red[..., 0], green[..., 1] = 196, 100  # both are a grey of 59
    assert compare(Scene(green), made(red, box(0, 0, 30, 30)), 0).matched
    assert not compare(Scene(green), made(red, box(0, 0, 30, 30, metric="colour")), 0).matched


def test_exact_counts_the_pixels_that_differ() -> None:
    picture = noise(9, 20, 20)
    screen = picture.copy()
    screen[3, 3, 2] ^= 1
    assert compare(Scene(screen), made(picture, box(0, 0, 20, 20)), 0).areas[0].similarity == 1.0
    exact = compare(Scene(screen), made(picture, box(0, 0, 20, 20, metric="exact")), 0).areas[0]
    assert (exact.similarity, exact.wanted, exact.matched) == (1 - 1 / 400, 1.0, False)
    assert compare(Scene(screen), made(picture, box(0, 0, 20, 20, metric="exact", match=99.7)), 0).matched


@pytest.mark.parametrize("metric", ["openqa", "colour", "exact"])
def test_the_worst_tile_finds_a_small_change_in_a_large_area(metric: str) -> None:
    picture = np.full((700, 1000, 3), 30, np.uint8)
    screen = picture.copy()
    screen[690:699, 985:999] = 255  # a letter or two, in the tile that is left over at the corner
    usual = box(0, 0, 1000, 700, match=96, metric=metric)
    mean = compare(Scene(screen), made(picture, usual), 0)
    assert mean.matched
    assert mean.areas[0].worst_tile is None
    candidate = compare(Scene(screen), made(picture, usual | {"worst_tile": 90}), 0)
    seen = candidate.areas[0]
    assert (seen.matched, seen.similarity, seen.metric) == (False, mean.areas[0].similarity, metric)
    assert (candidate.matched, candidate.error) == (False, mean.error)
    assert seen.worst_tile
    assert (seen.worst_tile.x, seen.worst_tile.y, seen.worst_tile.width, seen.worst_tile.height) == (984, 680, 16, 20)
    assert (seen.worst_tile.similarity < 0.9, seen.worst_tile.wanted) == (True, 0.9)
    assert compare(Scene(picture), made(picture, usual | {"worst_tile": 100}), 0).matched


def worst_tile(picture: Any, screen: Any, *areas: dict[str, Any]) -> Tile:
    tile = compare(Scene(screen), made(picture, *areas), 0).areas[0].worst_tile
    assert tile
    return tile


def test_what_is_left_over_belongs_to_the_last_tile() -> None:
    picture = np.full((20, 44, 3), 100, np.uint8)
    screen = picture.copy()
    screen[:, 36:] += 30
    tile = worst_tile(picture, screen, box(0, 0, 44, 20, match=1, metric="exact", worst_tile=100))
    assert (tile.x, tile.y, tile.width, tile.height) == (24, 0, 20, 20)
    assert tile.similarity == pytest.approx(1 - 8 / 20)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16), (15, 17), (16, 16), (17, 40)])
def test_an_area_of_any_size_has_tiles(size: tuple[int, int]) -> None:
    height, width = size
    picture, screen = noise(1, *size), noise(1, *size)
    screen[-1, -1] ^= 1
    tile = worst_tile(picture, screen, box(0, 0, width, height, match=0, metric="exact", worst_tile=100))
    assert (tile.x + tile.width, tile.y + tile.height) == (width, height)
    assert tile.similarity == pytest.approx(1 - 1 / (tile.width * tile.height))


def test_a_change_where_four_tiles_would_meet_is_in_one() -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    screen = picture.copy()
    screen[28:36, 28:36] += 9
    tile = worst_tile(picture, screen, box(0, 0, 64, 64, match=1, metric="exact", worst_tile=100))
    assert (tile.x, tile.y, tile.similarity) == (24, 24, pytest.approx(1 - 64 / 256))


@pytest.mark.parametrize("metric", ["openqa", "colour", "exact"])
def test_what_is_excluded_does_not_make_a_tile_more_alike(metric: str) -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    screen = picture.copy()
    screen[20:24, 18:30] = 112
    area = box(16, 16, 16, 16, match=0, margin=0, metric=metric, worst_tile=50)
    whole, half = worst_tile(picture, screen, area), worst_tile(picture, screen, area, box(16, 24, 16, 8, type="exclude"))
    if metric == "exact":
        assert (whole.similarity, half.similarity) == (1 - 48 / 256, 1 - 48 / 128)
    assert half.similarity < whole.similarity
    assert worst_tile(picture, screen, area, box(16, 16, 16, 16, type="exclude")).similarity == 1.0


def test_excluded_areas_are_told_where_they_had_no_say() -> None:
    picture = noise(4, 60, 90)
    screen = np.roll(picture, (3, 5), (0, 1))
    screen[13:16, 20:24] = 0
    areas = (
        box(14, 9, 6, 4, type="exclude"), box(10, 8, 20, 12), box(2, 40, 25, 15), box(0, 0, 3, 3, type="exclude"),
        {"xpos": 5, "ypos": 5, "width": 9, "height": 9, "type": "ocr"}, box(40, 30, 9, 9), box(20, 10, 25, 35, type="exclude"),
    )  # fmt: skip
    candidate = compare(Scene(screen), made(picture, *areas), 0)
    told = [(one.number, one.kind, one.x - one.from_x, one.y - one.from_y, one.similarity) for one in candidate.areas]
    assert told == [
        (2, "match", 5, 3, 1.0), (3, "match", 5, 3, 1.0), (6, "match", 5, 3, 1.0),
        (1, "exclude", 5, 3, None), (7, "exclude", 5, 3, None),
    ]  # fmt: skip
    assert (candidate.matched, candidate.error, candidate.click_points) == (True, 0.0, {"": (49, 37)})


def test_an_excluded_area_that_two_areas_share_moves_with_each() -> None:
    picture, screen = noise(4, 40, 90), noise(5, 40, 90)
    screen[10:20, 12:22], screen[10:20, 57:67] = picture[10:20, 10:20], picture[10:20, 60:70]
    shared = box(10, 15, 60, 2, type="exclude")
    seen = compare(
        Scene(screen), made(picture, box(10, 10, 10, 10, metric="exact"), box(60, 10, 10, 10, metric="exact"), shared), 0
    )
    assert [(one.x, one.matched) for one in seen.areas] == [(12, True), (57, True), (12, True), (7, True)]


def test_a_needle_matches_when_all_areas_do_and_its_error_is_their_mean_square() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    screen = picture.copy()
    screen[:20] += 8
    candidate = compare(Scene(screen), made(picture, box(0, 0, 40, 16, margin=0), box(0, 24, 40, 16, margin=0)), 0)
    assert [area.matched for area in candidate.areas] == [False, True]
    assert not candidate.matched
    lacking = 1 - (0.9 + (40 - 64) / 380)
    assert candidate.error == pytest.approx(lacking**2 / 2)


def test_click_points_are_in_the_frame() -> None:
    picture = noise(4, 60, 80)
    screen = np.roll(picture, (3, 5), (0, 1))

    def points(*areas: dict[str, Any]) -> Any:
        return compare(Scene(screen), made(picture, *areas), 0).click_points

    one, two = box(10, 10, 20, 10), box(40, 30, 11, 21)
    assert points(one, two) == {"": (50, 43)}
    assert points(one | {"click_point": "center"}, two) == {"": (25, 18)}
    assert points(one | {"click_point": {"xpos": 0, "ypos": 2}}, two) == {"": (15, 15)}
    left, right = {"xpos": 0, "ypos": 2, "id": "left"}, {"xpos": 1, "ypos": 1, "id": "right"}
    assert points(one | {"click_point": left}, two | {"click_point": right}) == {"left": (15, 15), "right": (46, 34)}
    assert points(one | {"click_point": left}, two) == {"left": (15, 15), "": (15, 15)}


def test_the_best_candidate_comes_first() -> None:
    def candidate(name: str, matched: bool, error: float, workaround: str | None = None) -> Candidate:
        return Candidate(name, Path(name), matched, error, (), workaround)

    order = [
        candidate("y", True, 0.1, ""), candidate("b", True, 0.1), candidate("c", True, 0.1), candidate("a", True, 0.2),
        candidate("d", False, 0.0), candidate("e", False, 0.3),
    ]  # fmt: skip
    assert [one.name for one in ranked(order[::-1])] == [one.name for one in order]


def test_what_is_computed_of_a_frame_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.fromarray(noise(1, 30, 30)).save(tmp_path / "a.png")
    frame = frame_from_picture(tmp_path / "a.png")
    needle = made(frame.rgb, box(1, 1, 9, 9))
    compare(scene_of(frame), needle, 0)

    def never(*_: Any) -> None:
        raise AssertionError("computed twice")

    monkeypatch.setattr("qa.screen.metrics.blurred", never)
    monkeypatch.setattr("qa.screen.metrics.grey_of", never)
    assert compare(scene_of(frame), needle, 1).matched


def test_a_look_beside_another_one_at_a_new_needle_sees_all_of_its_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(1, 30, 40)
    needle = made(picture, box(1, 1, 9, 9), box(20, 15, 9, 9))
    screen = picture.copy()
    screen[15:] = 0
    half_done, go_on = threading.Event(), threading.Event()

    def slowly(area: Any, *more: Any) -> Any:
        if threading.current_thread() is other and area is needle.areas[1]:
            half_done.set()
            go_on.wait(30)
        return _target(area, *more)

    monkeypatch.setattr("qa.screen.target._target", slowly)
    other = threading.Thread(target=targets_of, args=(needle,))
    other.start()
    try:
        assert half_done.wait(30)
        assert not compare(Scene(screen), needle, 0).matched
    finally:
        go_on.set()
        other.join(30)


def test_a_needles_picture_is_let_go_once_its_areas_are_prepared() -> None:
    picture = noise(1, 30, 40)
    needle = made(picture, box(0, 4, 40, 9, metric="exact"))  # as wide as the picture, whose rows could be had without a copy
    assert compare(Scene(picture), needle, 0).matched
    assert "rgb" not in needle.__dict__
    assert all(plane.base is None for plane in targets_of(needle)[0].planes)
    assert compare(Scene(picture), needle, 0).matched
