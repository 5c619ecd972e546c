from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from scenario_world import CATALOGUE, mistakes, write

from qa.cli import check
from qa.scenario.json_schema import script_schema
from qa.scenario.matrix import MAX_COMBINATIONS
from qa.scenario.reader import NOTHING, Given, read_runs, read_scripts
from qa.scenario.script import Script


def runs(folder: Path, text: str, given: Given = NOTHING) -> list[Script]:
    return read_runs(write(folder, text), CATALOGUE, given)


def combinations(folder: Path, matrix: str, given: Given = NOTHING) -> list[str]:
    """The combinations of ``matrix``, each as it stands in its run's name."""
    return [one.name[8:-1] for one in runs(folder, f"image: i\nmatrix: {matrix}\nsteps: [reboot]", given)]


def test_a_script_is_run_once_for_each_combination(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
        name: serves
        matrix: {image: [builtin, debian], cpus: [1, 2], page: [hello]}
        vars: {url: "http://${page}"}
        steps: [succeed: "curl ${url} # ${image} ${cpus}"]
        """,
    )
    assert [one.name for one in found] == [
        "serves (image=builtin, cpus=1, page=hello)",
        "serves (image=builtin, cpus=2, page=hello)",
        "serves (image=debian, cpus=1, page=hello)",
        "serves (image=debian, cpus=2, page=hello)",
    ]
    last = found[-1]
    assert (last.machines[0].image, last.machines[0].options.cpus) == ("debian", 2)
    assert last.steps[0].name == "succeed: curl http://hello # debian 2"
    assert last.variables == {"cpus": "2", "page": "hello", "url": "http://hello"}
    assert (last.title, last.combination) == ("serves", {"image": "debian", "cpus": "2", "page": "hello"})


def test_axes_that_stand_for_options_apply_to_the_machines(tmp_path: Path) -> None:
    (one,) = runs(
        tmp_path,
        """
        image: a
        start: warm
        machine: {cpus: 4, forward: [80]}
        matrix: {start: [cold], memory: [1.5G], cpus: [1], disk: [20G], network: [restricted], channel: [shell]}
        steps: [reboot]
        """,
    )
    options = one.machines[0].options
    assert (one.start, options.memory, options.cpus, options.disk) == ("cold", 3 << 29, 1, 20 << 30)
    assert (options.network, options.channel, options.forward) == ("restricted", "shell", (80,))


def test_of_several_machines_those_are_changed_that_say_nothing_themselves(tmp_path: Path) -> None:
    text = """
        image: a
        matrix: {cpus: [3], image: [b]}
        machines: {server: {cpus: 1}, client: {image: "c-${image}"}}
        steps: [reboot]
    """
    (one,) = runs(tmp_path, text)
    assert [(plan.image, plan.options.cpus) for plan in one.machines] == [("b", 1), ("c-b", 3)]


def test_an_axis_that_changes_nothing_is_a_mistake(tmp_path: Path) -> None:
    text = "matrix: {cpus: [1, 2]}\nmachines: {a: {image: i, cpus: 1}}\nsteps: [succeed: 'true'${more}]"
    assert mistakes(tmp_path, text.replace("${more}", "")) == [
        "1:10 'cpus' of the matrix changes nothing: every machine of this script has its own"
        " -> leave it out there, or write cpus: ${cpus}"
    ]
    assert mistakes(tmp_path, "matrix: {cpus: [1, 2]}\nmachines: {a: {image: i, cpus: 1}}\nsteps: [succeed: 'a ${cpus}']") == []


def test_vars_are_what_holds_without_a_value_from_the_matrix(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        """
        image: a
        vars: {page: none}
        matrix: {cpus: [1, 2], include: [{cpus: 2, page: hello}]}
        steps: [succeed: "${page}"]
        """,
    )
    assert [one.steps[0].name for one in found] == ["succeed: none", "succeed: hello"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("{a: [1, 2], b: [x, y], exclude: [{a: 1, b: y}, {b: x, a: 2}]}", ["a=1, b=x", "a=2, b=y"]),
        ("{a: [1, 2], exclude: [{a: 1}], include: [{a: 1}]}", ["a=2", "a=1"]),
        ("{a: [1.10, 1.1]}", ["a=1.10", "a=1.1"]),
        ("{include: [{a: 1}, {b: 2}]}", ["a=1", "b=2"]),
        # the example in the documentation of GitHub Actions
        (
            "{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat},"
            " {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}",
            [
                "fruit=apple, animal=cat, color=pink, shape=circle",
                "fruit=apple, animal=dog, color=green, shape=circle",
                "fruit=pear, animal=cat, color=pink",
                "fruit=pear, animal=dog, color=green",
                "fruit=banana",
                "fruit=banana, animal=cat",
            ],
        ),
    ],
)
def test_combinations_are_left_out_and_added(tmp_path: Path, matrix: str, expected: list[str]) -> None:
    assert combinations(tmp_path, matrix) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Given({"cpus": "2"}), ["image=a, cpus=2, extra=x", "image=b, cpus=2"]),
        (Given({"cpus": "8"}), ["image=a, cpus=8, extra=x", "image=b, cpus=8"]),
        (Given({"extra": "y", "cpus": "1"}), ["image=a, cpus=1, extra=y", "image=b, cpus=1"]),
        (Given({}, "b"), ["image=b, cpus=1", "image=b, cpus=2", "image=b, cpus=4"]),
        (Given({}, "z"), ["image=z, cpus=1", "image=z, cpus=2"]),
    ],
)
def test_what_is_given_outside_narrows_the_matrix(tmp_path: Path, given: Given, expected: list[str]) -> None:
    matrix = "{image: [a, b], cpus: [1, 2], include: [{image: a, extra: x}, {image: b, cpus: 4}]}"
    assert combinations(tmp_path, matrix, given) == expected


def test_a_given_image_or_start_is_that_of_the_run(tmp_path: Path) -> None:
    text = "matrix: {image: [a, b], start: [warm, cold]}\nsteps: [succeed: '${image} ${start}']"
    (one,) = runs(tmp_path, text, Given({}, "c", "cold"))
    assert (one.name, one.machines[0].image, one.start) == ("script (image=c, start=cold)", "c", "cold")
    assert one.steps[0].name == "succeed: c cold"


def test_a_name_of_the_matrix_may_be_given_and_another_not(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nmatrix: {p: [1, 2], include: [{p: 3, q: 4}]}\nsteps: [reboot]")
    scripts, problems, errors = read_scripts([path], CATALOGUE, Given({"q": "5"}))
    assert ([one.name for one in scripts], problems, errors) == (
        ["script (p=1)", "script (p=2)", "script (p=3, q=5)"],
        [],
        [],
    )


LONG = f"[{', '.join(map(str, range(17)))}]"


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("3", "2:9 'matrix' must be a mapping"),
        ("{}", "2:1 the matrix has no combination -> give it values, for example matrix: {cpus: [1, 2]}"),
        ("{a: 1}", "2:13 'a' must be a list of values -> write a: [1]"),
        ("{a: []}", "2:13 'a' must not be empty"),
        ("{a: [1, [2]]}", "2:17 a value of the matrix must be text or a number"),
        ("{a: [1, ]}", ""),
        ("{a: [1, null]}", "2:17 a value of the matrix must be text or a number"),
        ("{a: [1, 2, 1]}", "2:20 '1' is given twice"),
        ("{a-b: [1]}", "2:10 'a-b' cannot be the name of a variable"),
        ("{accel: [kvm]}", "2:10 'accel' is built in (kvm or tcg) -> take another name"),
        ("{a: ['${b}']}", "2:14 a value of the matrix cannot use variables -> write the value itself"),
        ("{a: [1], exclude: [{b: 1}]}", "2:29 the matrix has no 'b' to exclude -> there are: a"),
        ("{a: [1], exclude: [{a: 3}]}", "2:32 'a' never is '3' in this matrix -> there are: 1"),
        ("{a: [1], exclude: [{a: 1}]}", "2:1 the matrix has no combination -> let exclude leave out less"),
        ("{a: [1], exclude: {a: 1}}", "2:27 'exclude' must be a list of combinations -> write exclude: [{cpus: 1}]"),
        ("{a: [1], include: [3]}", "2:28 a combination is a mapping of names to values"),
        ("{a: [1], include: [{}]}", "2:28 a combination is a mapping of names to values"),
        ("{a: [1], include: [{b: [2]}]}", "2:32 a value of the matrix must be text or a number"),
        ("{cpus: [1, 99]}", "2:20 'cpus' must be at most 64"),
        ("{cpus: [many]}", "2:17 'cpus' must be a whole number"),
        ("{memory: [1Q]}", "2:19 '1Q' is not a size: write 512M, 1G or 20G"),
        ("{cpus: [1], include: [{network: uesr}]}", "2:41 'network' must be 'user', 'restricted' or 'none' -> did you mean"),
        ("{start: [warm, wram]}", "2:24 'start' must be 'warm' or 'cold' -> did you mean 'warm'?"),
        ("{image: ['']}", "2:18 'image' must not be empty"),
        (f"{{a: {LONG}, b: {LONG}}}", "2:1 the matrix has 289 combinations, and at most 256 are run"),
        (
            "{" + ", ".join(f"{name}: {LONG}" for name in "abcdefghij") + "}",
            "2:1 the matrix has 2,015,993,900,449 combinations, and at most 256",
        ),
    ],
)
def test_a_mistake_in_the_matrix_is_told_with_its_place(tmp_path: Path, matrix: str, expected: str) -> None:
    found = mistakes(tmp_path, f"image: i\nmatrix: {matrix}\nsteps: [reboot]")
    assert [one[: len(expected)] for one in found] == ([expected] if expected else [])


def test_as_many_combinations_as_are_run_are_taken(tmp_path: Path) -> None:
    assert len(combinations(tmp_path, f"{{a: [{', '.join(map(str, range(MAX_COMBINATIONS)))}]}}")) == MAX_COMBINATIONS


def test_a_mistake_of_only_some_combinations_says_of_which(tmp_path: Path) -> None:
    text = """
        image: i
        matrix: {port: [80, http], cpus: [1, 2], include: [{cpus: 4, file: x}]}
        steps:
          - wait_for_open_port: ${port}
          - succeed: ls ${file}
          - suceed: x
    """
    assert mistakes(tmp_path, text) == [
        "4:25 'port' must be a whole number (with port=http, cpus=1)",
        "4:25 there is no variable 'port' (with cpus=4, file=x)"
        " -> define it under vars or with --var port=..., or write $${port} where the guest's shell shall see it",
        "5:17 there is no variable 'file' (with port=80, cpus=1)"
        " -> define it under vars or with --var file=..., or write $${file} where the guest's shell shall see it",
        "6:5 unknown verb 'suceed' -> did you mean 'succeed'?",
    ]


def test_mistakes_in_and_outside_the_matrix_are_told_at_once(tmp_path: Path) -> None:
    text = "image: i\nmatrix: {a: 1, b: [[]]}\nsteps: [{succeed: '${a}'}, suceed]"
    assert [one.partition(" ")[0] for one in mistakes(tmp_path, text)] == ["2:13", "2:20", "3:28"]


def test_check_tells_how_many_runs_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nmatrix: {cpus: [1, 2], page: [x, y, z]}\nsteps: [reboot]")
    plain = write(tmp_path, "image: a\nsteps: [reboot]", "plain.yaml")
    result = CliRunner().invoke(check.command, [str(path), str(plain)], standalone_mode=False)
    assert result.output == f"{path}: ok, 1 step, 6 runs\n{plain}: ok, 1 step\n"


@pytest.mark.parametrize(
    ("matrix", "good"),
    [
        ({"image": ["a", "b"], "cpus": [1, 2]}, True),
        ({"include": [{"a": 1}], "exclude": [{"a": True}]}, True),
        ({}, False),
        ({"a": 1}, False),
        ({"a": []}, False),
        ({"a": [[1]]}, False),
        ({"include": {"a": 1}}, False),
        ({"exclude": [3]}, False),
    ],
)
def test_the_schema_knows_matrices(matrix: object, good: bool) -> None:
    validator = jsonschema.Draft202012Validator(script_schema(CATALOGUE))
    assert validator.is_valid({"image": "a", "matrix": matrix, "steps": ["reboot"]}) is good
