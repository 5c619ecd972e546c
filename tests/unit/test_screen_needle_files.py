"""Needles are read as openQA writes them, and found by name and tag; what is wrong with one is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qa.screen.library import Library, NeedleUnknown
from qa.screen.needle import ClickPoint, NeedleError, read_needle
from qa.screen.needle_lint import lint_needle

AREA = {"xpos": 1, "ypos": 2, "width": 10, "height": 5, "type": "match"}


def put(folder: Path, name: str = "one", *, size: tuple[int, int] = (64, 48), **needle: Any) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"area": [AREA], "tags": [], "properties": []} | needle))
    Image.linear_gradient("L").resize(size).convert("RGB").save(path.with_suffix(".png"))
    return path


def test_a_needle_of_openqa_is_read_as_it_is(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        area=[
            AREA | {"match": 90, "margin": 300, "click_point": {"xpos": 0, "ypos": 2.5, "id": "ok"}, "max_offset": 3},
            {"xpos": "4", "ypos": 2, "width": 3, "height": 4, "type": "exclude"},
            {"xpos": 4, "ypos": 2, "width": 3, "height": 4, "type": "ocr", "refstr": "OK"},
        ],
        tags=["desktop", "ENV-DESKTOP-kde"],
        properties=["fragile", {"name": "workaround", "value": "bug 4711"}],
        another="key",
    )
    needle = read_needle(path)
    first, second, third = needle.areas
    assert (needle.name, needle.size, needle.tags, needle.workaround) == (
        "one",
        (64, 48),
        ("desktop", "ENV-DESKTOP-kde"),
        "bug 4711",
    )
    assert (first.wanted, first.margin, first.click_point) == (0.9, 300, ClickPoint(xpos=0, ypos=2, id="ok"))
    assert (second.type, second.xpos, second.margin) == ("exclude", 4, 50)
    assert (third.type, third.refstr) == ("ocr", "OK")


def test_what_is_not_said_is_as_in_openqa(tmp_path: Path) -> None:
    path = put(tmp_path, area=[AREA | {"type": None, "margin": None, "click_point": None}])
    area = read_needle(path).areas[0]
    assert (area.type, area.wanted, area.margin, area.click_point, area.metric) == ("match", 0.96, 50, None, "openqa")
    assert read_needle(put(tmp_path, area=[AREA | {"metric": "exact"}])).areas[0].wanted == 1.0
    nought = read_needle(put(tmp_path, area=[AREA | {"match": 0, "margin": 0}])).areas[0]
    assert (nought.wanted, nought.margin) == (0.0, 0)


@pytest.mark.parametrize(
    ("properties", "workaround"),
    [([], None), (["workaround"], ""), ([{"name": "workaround"}], ""), ([{"name": "other", "value": "x"}], None)],
)
def test_a_workaround_may_say_why(tmp_path: Path, properties: list[Any], workaround: str | None) -> None:
    assert read_needle(put(tmp_path, properties=properties)).workaround == workaround


@pytest.mark.parametrize(
    ("needle", "said"),
    [
        ({"area": []}, "area: tuple should have at least 1 item"),
        ({"area": [{**AREA, "type": "exclude"}]}, "no area says what must be seen"),
        ({"area": [{**AREA, "type": "ocr"}]}, "nothing can be compared: the text areas have no refstr"),
        ({"area": [{"xpos": 1, "ypos": 1, "width": 3}]}, "area[0].height: is missing"),
        ({"area": [AREA, AREA | {"xpos": 60}]}, "area[1] (60,2 10x5) is not inside its picture of 64x48"),
        ({"area": [AREA | {"ypos": 44}]}, "area[0] (1,44 10x5) is not inside"),
        ({"area": [AREA | {"xpos": -1}]}, "area[0].xpos: input should be greater than or equal to 0, and is -1"),
        ({"area": [AREA | {"width": 0}]}, "area[0].width: input should be greater than 0"),
        ({"area": [AREA | {"match": 101}]}, "area[0].match: input should be less than or equal to 100"),
        ({"area": [AREA | {"type": "macth"}]}, "area[0].type: input should be 'match', 'exclude' or 'ocr', and is 'macth'"),
        ({"area": [AREA | {"metric": "psnr"}]}, "area[0].metric: input should be"),
        ({"area": [AREA | {"click_point": "middle"}]}, "area[0].click_point"),
        ({"area": [AREA | {"click_point": "center"}] * 2}, "of several click points each needs an id"),
        ({"area": [AREA | {"click_point": {"xpos": 1, "ypos": 1, "id": "a"}}] * 2}, "two click points have the id 'a'"),
        ({"area": [AREA | {"id": "logo"}, AREA | {"type": "exclude", "id": "logo"}]}, "two areas have the id 'logo'"),
        ({"area": [AREA | {"id": 1}, AREA | {"id": "1"}]}, "two areas have the id '1'"),
        ({"tags": "desktop"}, "tags: input should be"),
        ({"area": [AREA | {"xpos": "left"}]}, "area[0].xpos: input should be a valid integer, and is 'left'"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_place(tmp_path: Path, needle: dict[str, Any], said: str) -> None:
    path = put(tmp_path, **needle)
    with pytest.raises(NeedleError) as caught:
        read_needle(path)
    assert f"{path}: {said}" in caught.value.message
    assert any(said in line for line in lint_needle(path)[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{\n "area": [,]\n}', ":2:11: not JSON"),
        (b"[]", "is a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 99_999, "not JSON"),
    ],
)
def test_what_is_no_json_is_told_with_line_and_column(tmp_path: Path, content: bytes, said: str) -> None:
    path = put(tmp_path)
    path.write_bytes(content)
    with pytest.raises(NeedleError, match=said):
        read_needle(path)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = put(tmp_path, area=[AREA | {"xpos": -1, "match": 200}, AREA | {"type": "x"}])
    assert len(lint_needle(path)[0]) == 3
    with pytest.raises(NeedleError, match=r"\(and 2 more\)") as caught:
        read_needle(path)
    assert "area[1].type" in caught.value.evidence["all that is wrong with it"]


def test_a_needle_needs_its_picture(tmp_path: Path) -> None:
    path = put(tmp_path)
    path.with_suffix(".png").write_bytes(b"no picture")
    with pytest.raises(NeedleError, match=r"one\.png is not a PNG picture"):
        read_needle(path)
    path.with_suffix(".png").unlink()
    with pytest.raises(NeedleError, match=r"one\.json: its picture one\.png is not there"):
        read_needle(path)


def test_a_picture_that_is_cut_off_is_found_by_the_check(tmp_path: Path) -> None:
    path = put(tmp_path)
    picture = path.with_suffix(".png")
    picture.write_bytes(picture.read_bytes()[:120])
    assert "is damaged" in lint_needle(path)[0][0]


def test_what_looks_like_a_slip_is_told(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        area=[
            AREA | {"magrin": 3},
            AREA | {"xpos": 40, "type": "exclude"},
            AREA | {"type": "ocr"},
            {"xpos": 1, "ypos": 1, "width": 9, "height": 1, "type": "match"},
        ],
    )
    problems, slips = lint_needle(path)
    assert problems == []
    assert [slip.removeprefix(f"{path}: ").split(",")[0] for slip in slips] == [
        "it has no tags",
        "area[0]: the key 'magrin' means nothing",
        "area[1]: it excludes nothing",
        "area[2]: no refstr says which text must be read there",
        "area[3]: it is of one colour only",
    ]
    assert "is 'margin' meant?" in slips[1]


@pytest.mark.parametrize(
    ("areas", "said"),
    [
        ([AREA | {"match": 0}], "area[0]: with match 0 it matches whatever is there"),
        ([AREA | {"click_point": {"xpos": 10, "ypos": 4}}], "area[0]: its click point 10,4 is outside of it"),
        ([AREA | {"click_point": {"xpos": -1, "ypos": 4}}], "area[0]: its click point -1,4 is outside of it"),
        ([AREA | {"click_point": {"xpos": 9, "ypos": 4}}], ""),
        ([AREA, {**AREA, "margin": 9}], "area[1]: it is the same as area[0]"),
        ([AREA, {**AREA, "metric": "exact"}], ""),
        (
            [
                AREA,
                {**AREA, "xpos": 0, "width": 7, "type": "exclude"},
                {**AREA, "ypos": 0, "xpos": 7, "height": 9, "type": "exclude"},
            ],
            "area[0]: all of it is excluded",
        ),
        ([AREA, {**AREA, "xpos": 2, "type": "exclude"}], ""),
        ([AREA | {"id": "a"}, {**AREA, "xpos": 3, "id": "b"}], ""),
    ],
)
def test_what_matches_or_clicks_oddly_is_told_as_a_slip(tmp_path: Path, areas: list[Any], said: str) -> None:
    path = put(tmp_path, tags=["menu"], area=areas)
    problems, slips = lint_needle(path)
    assert problems == []
    assert [slip.removeprefix(f"{path}: ")[: len(said)] for slip in slips] == ([said] if said else [])


def test_needles_are_found_by_name_and_by_tag_in_all_folders(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    put(near, "login", tags=["desktop"])
    put(near / "deep" / "er", "login-2", tags=["login"])
    put(far, "login", tags=["other"])
    put(far, "menu", tags=["desktop", "menu"])
    library = Library([near, far, tmp_path / "none"])
    assert [one.path for one in library.find(["login"])] == [near / "login.json", near / "deep" / "er" / "login-2.json"]
    assert [one.name for one in library.find(["menu", "desktop"])] == ["menu", "login"]
    assert [one.name for one in library.find([], tags=["login"])] == ["login-2"]
    with pytest.raises(NeedleUnknown):
        library.find([], tags=["login-2"])
    with pytest.raises(NeedleUnknown):
        library.find(["other"])  # the tag of a needle that a nearer one of its name hides


def test_an_unknown_needle_is_met_with_the_nearest_word(tmp_path: Path) -> None:
    with pytest.raises(NeedleUnknown) as caught:
        Library([tmp_path]).find(["login"])
    assert "anima-qa needle new" in (caught.value.hint or "")
    put(tmp_path, "login-prompt", tags=["desktop"])
    for word, hint in (("login-promt", "did you mean 'login-prompt'?"), ("xyz", "there are: desktop, login-prompt (in ")):
        with pytest.raises(NeedleUnknown) as caught:
            Library([tmp_path]).find([word])
        assert hint in (caught.value.hint or "")


def test_a_broken_needle_is_left_out_and_told_once_unless_it_is_named(tmp_path: Path) -> None:
    put(tmp_path, "good", tags=["menu"])
    put(tmp_path, "broken", tags=["menu"]).with_suffix(".png").unlink()
    library, told = Library([tmp_path]), list[str]()
    for _ in range(2):
        assert [one.name for one in library.find(["menu"], tell=told.append)] == ["good"]
    assert len(told) == 1
    assert "broken.json: its picture broken.png is not there" in told[0]
    with pytest.raises(NeedleError, match=r"broken\.png is not there"):
        library.find(["menu", "broken"])


def test_other_files_in_a_folder_of_needles_are_let_be(tmp_path: Path) -> None:
    put(tmp_path, "menu")
    (tmp_path / "result.json").write_text('{"schema": 1}')
    (tmp_path / "broken.json").write_text('{"area": [')
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "empty.png").write_bytes(b"")
    told: list[str] = []
    assert [one.name for one in Library([tmp_path]).find(["menu"], tell=told.append)] == ["menu"]
    assert [text.split(":")[1].rpartition("/")[2] for text in told] == ["broken.json", "empty.json"]


def test_a_needle_that_changes_is_read_again_and_kept_otherwise(tmp_path: Path) -> None:
    path = put(tmp_path, tags=["a"])
    library = Library([tmp_path])
    first = library.find(["one"])[0]
    assert library.find(["one"])[0] is first
    put(tmp_path, tags=["a", "bb"])
    assert library.find(["bb"])[0].tags == ("a", "bb")
    path.unlink()
    with pytest.raises(NeedleUnknown):
        library.find(["one"])
