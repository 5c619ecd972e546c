from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from scenario_world import CATALOGUE, mistakes, read, write

from qa.cli import check
from qa.errors import UsageError
from qa.operations.options import MachineOptions
from qa.scenario.json_schema import script_schema
from qa.scenario.reader import Given, parse_variables, read_scripts
from qa.scenario.script import Script
from qa.scenario.suggestions import ELSEWHERE

FIVE_MISTAKES = """
    name: five mistakes
    image: builtin
    machine: {memory: 1Q}
    vars: {page: hello}
    steps:
      - suceed: true
      - succeed: grep ${pge} /etc/motd
        timeout: soon
      - screenshot: a
        reboot:
      - execute: ls
        on: server
"""


def titles(script: Script) -> list[str]:
    return [step.name for step in script.steps]


def test_five_mistakes_are_told_at_once_each_with_line_column_and_what_to_write(tmp_path: Path) -> None:
    assert mistakes(tmp_path, FIVE_MISTAKES) == [
        "3:19 '1Q' is not a size: write 512M, 1G or 20G",
        "6:5 unknown verb 'suceed' -> did you mean 'succeed'?",
        "7:19 there is no variable 'pge' -> did you mean 'page'? Or define it, under vars or with --var pge=...",
        "8:14 'soon' is not a duration: write 90, 90s, 1m30s, 500ms or 1.5h",
        "10:5 two verbs in one step: 'screenshot' and 'reboot' -> make each a step of its own: begin the second with - ",
        "12:9 there is no machine 'server' -> there are: machine",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- image: a", "1:1 a script is a mapping -> it begins with image: and steps:"),
        ("image: a", "1:1 a script needs 'steps'"),
        ("steps: [reboot]", "1:1 there is no image -> for example image: builtin"),
        ("image: a\nsteps: []", "2:8 'steps' must not be empty"),
        ("image: a\nsteps: reboot", "2:8 'steps' must be a list"),
        ("image: a\nstesp: [reboot]", "2:1 unknown key 'stesp' of a script -> did you mean 'steps'?"),
        ("image: a\nstart: wram\nsteps: [reboot]", "2:8 'start' must be 'warm' or 'cold' -> did you mean 'warm'?"),
        ("image: a\nmachine: {cpus: 99}\nsteps: [reboot]", "2:17 'cpus' must be at most 64"),
        ("image: a\nmachine: {memry: 1G}\nsteps: [reboot]", "2:11 unknown key 'memry' of machine -> did you mean 'memory'?"),
        ("image: a\nmachine: {disks: [{siez: 1}]}\nsteps: [reboot]", "2:20 unknown key 'siez' of disks -> did you mean 'size'?"),
        ("image: a\nmachine: {forward: [0]}\nsteps: [reboot]", "2:21 'forward' must be at least 1"),
        ("machines: {}\nsteps: [reboot]", "1:11 'machines' must not be empty"),
        ("machines: {a: {}}\nsteps: [reboot]", "1:12 there is no image for machine 'a'"),
        ("image: a\nmachines: {a: {cpsu: 1}}\nsteps: [reboot]", "2:16 unknown key 'cpsu' of a -> did you mean 'cpus'?"),
        ("image: a\nmachines: {A B: {}}\nsteps: [reboot]", "2:12 'A B' does not fit the pattern"),
        ("image: a\nvars: {a-b: 1}\nsteps: [reboot]", "2:8 'a-b' cannot be the name of a variable"),
        ("image: a\nvars: {accel: 1}\nsteps: [reboot]", "2:8 'accel' is built in"),
        ("image: a\nvars: {a: [1]}\nsteps: [reboot]", "2:11 the variable 'a' must be text or a number"),
        ("image: a\nvars: {a: '${b}', b: 1}\nsteps: [reboot]", "2:12 there is no variable 'b'"),
        ("image: a\nvars: {a: '${accel}'}\nsteps: [reboot]", "2:12 there is no variable 'accel' -> it is known only in steps"),
        ("image: a\nvars: 3\nsteps: [reboot]", "2:7 'vars' must be a mapping"),
        ("image: a-${accel}\nsteps: [reboot]", "1:10 there is no variable 'accel' -> it is known only in steps"),
        ("image: a\nimage: b\nsteps: [reboot]", "2:1 'image' is given twice"),
        (
            'image: a\nmachine: {channel: serial, login: {password: "a\\nid"}}\nsteps: [reboot]',
            "2:46 what is typed at a login has no line breaks",
        ),
        ("image: a\ncloud_init: [a]\nsteps: [reboot]", "2:13 'cloud_init' must be a mapping"),
    ],
)
def test_a_mistake_at_the_top_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = mistakes(tmp_path, text)
    assert found.startswith(expected)


def test_variables_are_replaced_everywhere_and_checked_after_that(tmp_path: Path) -> None:
    text = """
        name: ${image} with ${size}
        image: ${os}-13
        machine: {memory: "${size}", cpus: "${n}"}
        cloud_init: {packages: ["${os}-tools"], runcmd: ["echo $x"]}
        vars: {os: debian, size: 1.50G, n: 4, both: "${os}${n}"}
        steps:
          - wait_for_open_port: ${n}
            name: ${both}
    """
    script = read(tmp_path, text)
    (machine,) = script.machines
    assert (script.name, machine.image) == ("debian-13 with 1.50G", "debian-13")
    assert (machine.options.memory, machine.options.cpus) == (3 << 29, 4)
    assert machine.cloud_init == {"packages": ["debian-tools"], "runcmd": ["echo $x"]}
    assert titles(script) == ["debian4"]
    assert mistakes(tmp_path, text, Given({"n": "many"})) == [
        "3:36 'cpus' must be a whole number",
        "7:25 'port' must be a whole number",
    ]


def test_what_is_given_outside_wins(tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nvars: {v: in}\nsteps: [{succeed: '${v} ${image}'}]", Given({"v": "out"}, "b", "cold"))
    assert titles(script) == ["succeed: out b"]
    assert (script.machines[0].image, script.start, script.variables) == ("b", "cold", {"v": "out"})


def test_a_variable_that_only_the_command_line_has_may_be_used(tmp_path: Path) -> None:
    assert titles(read(tmp_path, "image: a\nsteps: [{succeed: '${v}'}]", Given({"v": "out"}))) == ["succeed: out"]


def test_a_given_variable_that_no_script_uses_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nvars: {page: 1}\nsteps: [reboot]")
    with pytest.raises(UsageError, match="no script uses the variable 'paeg'") as caught:
        read_scripts([path], CATALOGUE, Given({"paeg": "1"}))
    assert caught.value.hint == "did you mean 'page'?"


@pytest.mark.parametrize("pair", ["a", "=b", "a-b=c", "accel=kvm"])
def test_what_does_not_set_a_variable_is_refused(pair: str) -> None:
    with pytest.raises(UsageError):
        parse_variables([pair])


def test_the_value_of_a_given_variable_may_hold_anything() -> None:
    assert parse_variables(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_several_machines_share_what_they_do_not_say_themselves(tmp_path: Path) -> None:
    script = read(
        tmp_path,
        """
        image: builtin
        machine: {cpus: 1, memory: 1G}
        cloud_init: {a: 1}
        machines:
          server: {image: debian, memory: 2G}
          client: {cloud_init: {}}
        steps:
          - reboot
          - reboot:
            on: client
          - subtest: {name: s, steps: [reboot, {reboot: , on: server}]}
            on: client
        """,
    )
    server, client = script.machines
    assert (server.image, server.options.cpus, server.options.memory, server.cloud_init) == ("debian", 1, 2 << 30, {"a": 1})
    assert (client.image, client.options.memory, client.cloud_init) == ("builtin", 1 << 30, {})
    first, second, subtest = script.steps
    assert (first.machine, second.machine) == ("server", "client")
    assert [step.machine for step in subtest.action.steps] == ["client", "server"]  # type: ignore[union-attr]


def test_an_image_given_outside_must_have_something_to_replace(tmp_path: Path) -> None:
    text = "machines: {a: {image: x}}\nsteps: [reboot]"
    assert "--image has nothing to replace" in mistakes(tmp_path, text, Given({}, "b"))[0]


def test_disks_are_looked_for_beside_the_script(tmp_path: Path) -> None:
    script = read(tmp_path, "image: a\nmachine: {disks: [{path: d.img}, {size: 1G}]}\nsteps: [reboot]")
    assert [disk.path for disk in script.machines[0].options.disks] == [tmp_path / "d.img", None]


def test_a_script_without_a_name_is_called_after_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, "image: a\nsteps: [reboot]").name == "script"


def test_hints_name_only_verbs_that_there_are() -> None:
    from qa.operations import CATALOGUE as REAL
    from qa.scenario.schema import STRUCTURE

    words = {word.strip(":,;(){}") for hint in ELSEWHERE.values() for word in hint.split()}
    verbs = {word for word in words if "_" in word and not word.startswith("exit")}
    assert verbs <= {*REAL, *STRUCTURE}


def run_check(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(check.command, [str(one) for one in arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.output  # type: ignore[return-value]


def test_check_tells_the_mistakes_of_all_files_and_ends_with_2(tmp_path: Path) -> None:
    first = write(tmp_path, "image: a\nsteps: [suceed]", "first.yaml")
    second = write(tmp_path, "image: a\nsteps: [record: x]", "second.yaml")
    status, output = run_check(first, second, tmp_path / "third.yaml")
    assert status == 2
    assert f"{first}:2:9: unknown verb 'suceed'\n" in output
    assert "\n       |         ^^^^^^\n" in output
    assert f"{second}: ok, 1 step\n" in output
    assert "there is no script" in output
    assert output.endswith("2 mistakes\n")


def test_check_passes_a_good_script(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nsteps: [record: '${x}']")
    assert run_check(path, "--var", "x=1") == (0, f"{path}: ok, 1 step\n")


def test_check_prints_json(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nsteps: [suceed]")
    status, output = run_check("--json", path)
    assert status == 2
    (problem,) = json.loads(output)["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == (str(path), 2, 9)


def test_check_needs_a_script() -> None:
    with pytest.raises(UsageError, match="no script"):
        run_check()


def validator() -> jsonschema.Draft202012Validator:
    schema = script_schema(CATALOGUE)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    "step",
    [
        "reboot",
        {"reboot": None},
        {"succeed": True},
        {"execute": {"command": "ls", "timeout": "3s"}, "expect": {"exit_code": 1}},
        {"wait_for_open_port": "${port}", "timeout": "${limit}", "retry": {"times": 3}},
        {"repeat": {"count": "${n}", "steps": ["reboot", {"subtest": {"name": "a", "steps": [{"record": "x"}]}}]}},
        {"include": {"path": "a.yaml", "vars": {"a": 1}}},
    ],
)
def test_the_schema_takes_good_steps(step: object) -> None:
    assert list(validator().iter_errors({"image": "a", "vars": {"v": 1}, "machine": {"memory": "1G"}, "steps": [step]})) == []


@pytest.mark.parametrize(
    "step",
    [
        "suceed",
        {"suceed": "ls"},
        {"reboot": None, "screenshot": "a"},
        {"name": "a"},
        {"wait_for_open_port": "http"},
        {"execute": {"comand": "ls"}},
        {"subtest": {"name": "a", "steps": ["reboo"]}},
        {"reboot": None, "timeuot": 3},
    ],
)
def test_the_schema_refuses_wrong_steps(step: object) -> None:
    assert not validator().is_valid({"image": "a", "steps": [step]})


def test_the_schema_refuses_a_wrong_top() -> None:
    assert not validator().is_valid({"image": "a", "steps": ["reboot"], "machine": {"memry": 1}})
    assert set(MachineOptions.model_fields) == set(script_schema(CATALOGUE)["$defs"]["MachineOptions"]["properties"])


def test_check_loads_nothing_that_only_a_run_needs(tmp_path: Path) -> None:
    path = write(tmp_path, "image: a\nsteps: [record: x]")
    code = (
        "import sys; sys.argv = ['anima-qa', 'check', sys.argv[1]]\n"
        "from qa.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'asyncssh', 'qemu.qmp', 'PIL', 'jinja2', 'pexpect', 'pyte', 'httpx', 'pycdlib', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr
