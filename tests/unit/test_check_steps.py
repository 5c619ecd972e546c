from __future__ import annotations

from pathlib import Path

import pytest
from scenario_world import CATALOGUE, mistakes, read_steps, step_mistakes, write

from qa.operations.operation import Catalogue
from qa.scenario import step_reader
from qa.scenario.script import Call, Group, Record, Script


def call(script: Script, number: int = 0) -> Call:
    action = script.steps[number].action
    assert isinstance(action, Call)
    return action


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("- suceed: true", "1:5 unknown verb 'suceed' -> did you mean 'succeed'?"),
        ("- reboo", "1:5 unknown verb 'reboo' -> did you mean 'reboot'?"),
        ("- run: ls", "1:5 unknown verb 'run' -> use succeed (must end with 0)"),
        ("- shell: ls", "1:5 unknown verb 'shell' -> use succeed"),
        ("- assert_script_run: ls", "1:5 unknown verb 'assert_script_run' -> use succeed"),
        ("- type_string: ls", "1:5 unknown verb 'type_string' -> use send_chars"),
        ("- sleep: 5", "1:5 unknown verb 'sleep' -> wait for what you need instead of a time"),
        ("- mouse_drag: a", "1:5 unknown verb 'mouse_drag' -> use drag"),
        ("- zzzzzz: a", "1:5 unknown verb 'zzzzzz' -> there are: succeed, execute"),
        ("- name: x", "1:5 there is no verb in this step"),
        ("- 3", "1:5 unknown verb '3'"),
        ("- [a]", "1:5 a step is a verb with its argument"),
        ("- succeed uname -r", "1:5 a colon is missing behind the verb -> write succeed: uname -r"),
        ("- succeed: a\n  screenshot: b", "2:5 two verbs in one step: 'succeed' and 'screenshot'"),
        ("- succeed: a\n  timeuot: 3", "2:5 unknown key 'timeuot' beside succeed -> did you mean 'timeout'?"),
        ("- succeed: a\n  stdout: x", "2:5 unknown key 'stdout' beside succeed -> put it under expect"),
        ("- execute: a\n  user: x", "2:5 unknown key 'user' beside execute -> it belongs to the verb"),
        ("- execute: {comand: a}", "1:15 unknown key 'comand' of execute -> did you mean 'command'?"),
        ("- execute:", "1:5 execute needs 'command'"),
        ("- copy_to: {source: a}", "1:5 copy_to needs 'target'"),
        ("- copy_to: a", "1:14 copy_to takes a mapping -> write copy_to: {source: ..., target: ...}"),
        ("- reboot: now", "1:13 reboot takes no argument -> write - reboot"),
        ("- succeed: [a]", "1:14 'command' must be text"),
        ("- wait_for_open_port: http", "1:25 'port' must be a whole number"),
        ("- wait_for_open_port: {port: http}", "1:32 'port' must be a whole number"),
        ("- succeed: a\n  timeout: soon", "2:14 'soon' is not a duration"),
        ("- reboot\n- reboot:\n  timeout: soon", "3:14 'soon' is not a duration"),
        ("- reboot:\n  timeout: 0s", "2:14 'timeout' must be more than 0"),
        ("- succeed: {command: a, timeout: 3}\n  timeout: 4", "2:5 timeout is given twice"),
        ("- succeed: a\n  retry: 0", "2:12 'retry' must be at least 1"),
        ("- succeed: a\n  retry: {tims: 1}", "2:13 unknown key 'tims' of retry -> did you mean 'times'?"),
        ("- succeed: a\n  allow_failure: perhaps", "2:20 'allow_failure' must be true or false"),
        ("- succeed: a\n  on: server", "2:9 there is no machine 'server' -> there are: machine"),
        ("- succeed: a\n  expect: {stdout: '('}", "2:22 '(' is not a regular expression"),
        ("- succeed: a\n  expect: {stdout: 'a{99999999999999}'}", "2:22 'a{99999999999999}' is not a regular expression"),
        ("- succeed: a\n  expect: {exitcode: 1}", "2:14 unknown key 'exitcode' of expect -> did you mean 'exit_code'?"),
        ("- reboot:\n  expect: {stdout: a}", "2:5 reboot has no output to expect anything of"),
        ("- read_console:\n  expect: {exit_code: 0}", "2:5 read_console gives text only"),
        ("- record: note\n  expect: {stdout: a}", "2:5 record has no output"),
        ("- succeed: a\n  when: ${accel} = tcg", "2:11 not a condition"),
        ("- succeed: a\n  when: a ==", "2:11 not a condition: a value is missing at its end"),
        ("- succeed: a\n  when: a b", "2:11 not a condition: 'b' is unexpected here"),
        ("- succeed: a\n  when: == b", "2:11 not a condition: a value is missing before '=='"),
        ("- succeed: ls ${nothing}", "1:17 there is no variable 'nothing' -> define it under vars"),
        ("- succeed: echo ${round}", "1:19 there is no variable 'round' -> it is known only inside a repeat"),
        ("- succeed: a\n  name: ${nothing}", "2:11 there is no variable 'nothing'"),
        ("- subtest: {name: a, steps: []}", "1:31 'steps' must not be empty"),
        ("- subtest: {name: a, steps: [reboo]}", "1:32 unknown verb 'reboo'"),
        ("- repeat: {count: 0, steps: [reboot]}", "1:21 'count' must be at least 1"),
        ("- repeat: {steps: [reboot]}", "1:5 repeat needs 'count'"),
        ("- record: {}", "1:13 record needs either text or command"),
        ("- record: {text: a, command: b}", "1:13 record needs either text or command"),
        ("- include: absent.yaml", "1:14 there is no script"),
    ],
)
def test_a_wrong_step_is_told_with_its_place_and_what_to_write(tmp_path: Path, steps: str, expected: str) -> None:
    found = step_mistakes(tmp_path, steps)
    assert len(found) == 1
    assert expected in found[0]


def test_text_is_taken_as_written_where_yaml_sees_something_else(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- succeed: true\n- execute: {command: 1.10}\n- name: 2024\n  reboot:\n")
    assert call(script).arguments.model_dump()["command"] == "true"
    assert call(script, 1).arguments.model_dump()["command"] == "1.10"
    assert script.steps[2].name == "2024"


def test_the_time_limit_goes_to_the_operation_that_has_one_and_else_to_the_step(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- succeed: a\n  timeout: 1m\n- reboot:\n  timeout: 500ms")
    assert call(script).arguments.model_dump()["timeout"] == 60
    assert script.steps[0].modifiers.timeout is None
    assert script.steps[1].modifiers.timeout == 0.5


def test_steps_are_named_after_what_they_do(tmp_path: Path) -> None:
    steps = "- succeed: |\n    a\n    b\n- reboot\n- succeed: " + "x" * 100
    steps += "\n- subtest: {name: all, steps: [reboot]}\n- wait_for_open_port: 22"
    names = [step.name for step in read_steps(tmp_path, steps).steps]
    assert names == ["succeed: a; b", "reboot", "succeed: " + "x" * 71 + "…", "all", "wait_for_open_port: 22"]


def test_a_step_knows_where_it_is_written(tmp_path: Path) -> None:
    assert read_steps(tmp_path, "- reboot\n- reboot").steps[1].place == f"{tmp_path}/script.yaml:4:5"


def test_files_to_copy_are_looked_for_beside_the_script(tmp_path: Path) -> None:
    script = read_steps(
        tmp_path, "- copy_to: {source: data/a.txt, target: /tmp/}\n- copy_to: {source: /etc/hosts, target: /tmp/}"
    )
    assert call(script).arguments.model_dump()["source"] == tmp_path / "data/a.txt"
    assert call(script, 1).arguments.model_dump()["source"] == Path("/etc/hosts")


def test_the_shell_keeps_its_own_dollars(tmp_path: Path) -> None:
    script = read_steps(tmp_path, r"- succeed: 'echo $x $(id) ${y:-z} $$ $${image} ${image}'")
    assert call(script).arguments.model_dump()["command"] == "echo $x $(id) ${y:-z} $$ ${image} builtin"


def test_a_list_and_a_mapping_can_be_included(tmp_path: Path) -> None:
    write(tmp_path, "- succeed: echo ${who}\n- reboot", "list.yaml")
    write(tmp_path, "vars: {who: nobody, why: none}\nsteps: [{succeed: 'echo ${who} ${why}'}]", "map.yaml")
    script = read_steps(tmp_path, "- include: {path: list.yaml, vars: {who: 1.10}}\n- include: {path: map.yaml, vars: {who: me}}")
    commands = [step.action.steps[0].name for step in script.steps if isinstance(step.action, Group)]
    assert commands == ["succeed: echo 1.10", "succeed: echo me none"]


def test_paths_in_an_included_file_are_meant_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, "- copy_to: {source: a.txt, target: /}\n- include: b.yaml", "sub/a.yaml")
    write(tmp_path, "- reboot", "sub/b.yaml")
    group = read_steps(tmp_path, "- include: sub/a.yaml").steps[0].action
    assert isinstance(group, Group)
    assert isinstance(group.steps[0].action, Call)
    assert group.steps[0].action.arguments.model_dump()["source"] == tmp_path / "sub/a.txt"


def test_mistakes_in_an_included_file_are_told_with_their_place_in_it(tmp_path: Path) -> None:
    write(tmp_path, "- reboo\n- include: ${where}", "part.yaml")
    assert step_mistakes(tmp_path, "- include: part.yaml")[0].endswith("did you mean 'reboot'?")
    assert [line.partition(" ->")[0] for line in mistakes(tmp_path, "image: a\nsteps: [include: part.yaml]")] == [
        "1:3 unknown verb 'reboo'",
        "2:12 there is no variable 'where'",
    ]


@pytest.mark.parametrize("text", ["a: 1\na: 2", "3", "stps: []", "steps: [reboot]\nvars: {accel: 1}", "[", "steps: reboot"])
def test_an_included_file_must_be_steps(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "part.yaml")
    assert step_mistakes(tmp_path, "- include: part.yaml")


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "- include: b.yaml", "a.yaml")
    write(tmp_path, "- include: a.yaml", "b.yaml")
    (found,) = step_mistakes(tmp_path, "- include: a.yaml")
    assert "in a circle: a.yaml -> b.yaml -> a.yaml" in found


def test_a_few_files_that_stand_for_millions_of_steps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_reader, "MAX_STEPS", 100)
    write(tmp_path, "- reboot\n" * 20, "0.yaml")
    write(tmp_path, "- include: 0.yaml\n" * 10, "1.yaml")
    (found,) = step_mistakes(tmp_path, "- include: 1.yaml")
    assert "more than 100 steps" in found


def test_variables_passed_to_an_included_file_must_be_variables(tmp_path: Path) -> None:
    write(tmp_path, "- reboot", "part.yaml")
    found = step_mistakes(tmp_path, "- include: {path: part.yaml, vars: {accel: x, a-b: y, c: [z]}}")
    assert [line.partition(" ->")[0] for line in found] == [
        "1:39 'accel' is built in (kvm or tcg)",
        "1:49 'a-b' cannot be the name of a variable",
        "1:60 the variable 'c' must be text or a number",
    ]


def test_notes_and_outputs_can_be_recorded(tmp_path: Path) -> None:
    script = read_steps(tmp_path, "- record: a note\n- record: {name: kernel, command: uname -r}\n  expect: {stdout: '6'}")
    assert script.steps[0].action == Record("a note", None)
    assert script.steps[1].action == Record(None, "uname -r")


def test_an_operation_without_a_lone_argument_can_be_called_by_name_alone(tmp_path: Path) -> None:
    assert read_steps(tmp_path, "- screenshot").steps[0].verb == "screenshot"
    assert Catalogue([CATALOGUE["reboot"]])["reboot"].bare is None
