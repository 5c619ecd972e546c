from __future__ import annotations

from pathlib import Path

import pytest

from qa.errors import ScriptError
from qa.scenario.problems import Place, Problem, ScriptRejected
from qa.scenario.source import MAX_BYTES, Source, parse_source, read_source

FILE = Path("s.yaml")


def parse(text: str) -> Source:
    return parse_source(FILE, text.encode())


def test_words_keep_the_meaning_that_yaml_1_2_gives_them() -> None:
    data = parse("on: yes\nno: 0o17\nt: true\nd: 2024-01-01\nn: ~\nf: 1.50\nx: 0x1F\ni: -.inf\n").data
    assert data == {"on": "yes", "no": 15, "t": True, "d": "2024-01-01", "n": None, "f": 1.5, "x": 31, "i": float("-inf")}


def test_unquoted_scalars_keep_the_text_they_were_written_as() -> None:
    source = parse("a: 1.10\nb: '1.10'\n")
    assert source.raw == {("a",): "1.10"}


def test_each_key_and_value_has_its_place() -> None:
    source = parse("a:\n  - b: here\n")
    assert str(source.place(("a", 0, "b"))) == "s.yaml:2:8"
    assert str(source.place(("a", 0, "b"), key=True)) == "s.yaml:2:5"
    assert str(source.place(("a", 0, "nowhere", 3))) == "s.yaml:2:5"


def test_text_inside_a_block_is_found_in_its_line() -> None:
    source = parse("a: |\n  one\n  two ${x}\n")
    assert str(source.place_of_text(("a",), "${x}")) == "s.yaml:3:7"
    assert str(source.place_of_text(("a",), "absent")) == "s.yaml:1:4"


def test_aliases_are_followed() -> None:
    assert parse("a: &x {b: 1}\nc: *x\n").data == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a: 1\n\tb: 2", "2:1", "'\\t'", "spaces"),
        ("", "1:1", "empty", "steps"),
        ("# nothing\n", "1:1", "empty", "steps"),
        ("a: [1, 2", "1:9", "flow sequence", "close the bracket"),
        ("a: {b: ${x}}", "1:9", "flow mapping", "quotes"),
        ("a: b: c", "1:5", "mapping values", "quotes"),
        ("a: @b", "1:4", "'@'", "quotes"),
        ("a: *b", "1:4", "undefined alias", "quotes"),
        ('a: "b', "1:6", "quoted scalar", "quotation mark"),
        ("- a\nb: 1", "2:1", "block", "indentation"),
        ("a: 1\n---\nb: 2", "2:1", "one YAML document", "file of its own"),
        ("%YAML 1.1\n---\na: yes", "1:1", "directives", "1.2"),
    ],
)
def test_what_is_not_yaml_is_refused_at_its_place(text: str, place: str, message: str, hint: str) -> None:
    with pytest.raises(ScriptRejected) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert str(problem.place) == f"s.yaml:{place}"
    assert message in problem.message
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a: b\nc: \xff", "2:4", "0xff is not UTF-8"),
        (b"a: b\nc: \x01", "2:1", "U+0001 is not allowed"),
        (b"a: &x [*x]", "1:4", "refers to what it is in"),
        (b"[" * 500, "1:1", "too deeply"),
        (b"x" * (MAX_BYTES + 1), "1:1", "larger than"),
    ],
)
def test_bytes_that_cannot_be_a_script_are_refused(content: bytes, place: str, message: str) -> None:
    with pytest.raises(ScriptRejected, match=r".*") as caught:
        parse_source(FILE, content)
    (problem,) = caught.value.problems
    assert str(problem.place) == f"s.yaml:{place}"
    assert message in problem.message


def test_a_few_lines_that_stand_for_billions_of_values_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ScriptRejected, match="once its aliases are followed"):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", "3:1", "'a' is given twice; the first is in line 1"),
        ("a: 1\n<<: {b: 1}", "2:1", "merge keys"),
        ("a: !foo b", "1:4", "tag !foo"),
        ("{[a]: b}", "1:2", "a key must be a word"),
    ],
)
def test_mistakes_that_leave_the_rest_readable_are_kept_for_the_others(text: str, place: str, message: str) -> None:
    (problem,) = parse(text).problems
    assert str(problem.place) == f"s.yaml:{place}"
    assert message in problem.message


def test_files_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="there is no script"):
        read_source(tmp_path / "absent.yaml")
    with pytest.raises(ScriptError, match="is a folder"):
        read_source(tmp_path)
    with pytest.raises(ScriptError, match="cannot read"):
        read_source(Path("/proc/self/mem"))


def test_a_problem_shows_its_line_with_a_mark_under_the_word() -> None:
    problem = Problem(Place(FILE, 7, 5, 6), "unknown verb 'suceed'", "did you mean 'succeed'?", "  - suceed: true")
    assert problem.render().splitlines() == [
        "s.yaml:7:5: unknown verb 'suceed'",
        "     7 |   - suceed: true",
        "       |     ^^^^^^",
        "  -> did you mean 'succeed'?",
    ]


def test_a_long_line_is_cut_around_the_mark() -> None:
    _, line, mark = Problem(Place(FILE, 1, 501), "m", None, "a" * 500 + "X" + "b" * 500).render().splitlines()
    assert len(line) < 180
    assert line[mark.index("^")] == "X"
