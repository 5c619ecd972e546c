"""What to write instead of words that people bring along from other tools, or that this version does not have yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from qa.scenario.problems import did_you_mean

_BY_MEANING: Mapping[str, str] = MappingProxyType({
    "use succeed (must end with 0), fail (must not) or execute (any, with expect)":
        "run shell sh bash cmd command exec exec_command script ssh assert assert_script_run",
    "use execute: its exit status is data, checked with expect: {exit_code: 0}": "script_run",
    "use execute with expect: {stdout: 'regular expression'}, or record to put the output into the report":
        "script_output validate_script_output",
    "wait for what you need instead of a time: wait_until_succeeds with a command, wait_for_unit, wait_for_file":
        "sleep wait delay",
    "use wait_until_succeeds with a command, or wait_for_unit, wait_for_file, wait_for_open_port":
        "wait_for_command wait_until retry_until until",
    "use wait_for_console_text": "wait_until_tty_matches wait_serial wait_for_console wait_for_output",
    "use wait_for_ready; a script's machines are ready when its steps begin":
        "wait_for_ssh wait_for_boot wait_until_ready wait_boot",
    "use send_chars for the screen, send_console for the serial console":
        "type_string type type_text write enter_cmd keyboard",
    "use send_key for keys such as ret or ctrl-alt-f2, send_chars for text": "key press press_key keys hotkey",
    "use read_screen_text": "get_screen_text ocr screen_text",
    "use assert_screen or wait_for_screen with a needle": "check_screen assert_needle wait_for_needle match_screen",
    "use wait_for_text": "wait_for_ocr wait_screen_text see expect_text",
    "use wait_for_still_screen": "wait_still_screen wait_screen_change wait_idle",
    "use click with a needle, text: or at: [x, y]": "assert_and_click click_lastmatch mouse_click tap",
    "use click with double: true": "assert_and_dclick mouse_dclick double_click dclick",
    "use click with button: right": "assert_and_rclick mouse_rclick right_click",
    "use move_mouse": "mouse_set mouse_hide mouse_move",
    "use drag": "mouse_drag drag_and_drop",
    "use screenshot": "save_screenshot screendump capture",
    "use copy_to: {source: ..., target: ...}": "upload put copy_from_host copy_in push",
    "use copy_from: {source: ..., target: ...}": "download get copy_from_vm copy_out fetch pull upload_logs upload_asset",
    "use boot; a script's machines are on when its steps begin": "start start_vm poweron power_on",
    "use shutdown (asks the guest) or crash (pulls the plug)": "stop poweroff power_off halt",
    "use reboot": "reset restart",
    "use crash (pulls the plug) or shutdown (asks the guest)": "kill destroy",
    "use wait_for_unit, or succeed: systemctl ...": "require_unit_state systemctl wait_for_service service start_job",
    "use subtest: {name: ..., steps: [...]}": "group section block test",
    "use repeat: {count: ..., steps: [...]}": "loop for times",
    "use branches: {name: [...], name: [...]}": "parallel split",
    "use fork: {count: ..., steps: [...]}": "clone forks",
    "use snapshot: name": "save_snapshot savevm checkpoint save",
    "use restore: name": "load_snapshot loadvm revert rollback",
    "use include: other.yaml": "import source require",
    "use record: text": "log echo print comment note record_info diag",
})  # fmt: skip
ELSEWHERE: Mapping[str, str] = MappingProxyType({word: hint for hint, words in _BY_MEANING.items() for word in words.split()})
"""A word of another tool to what does its work here."""

KEYS_ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "ignore_errors": "use allow_failure: true",
    "continue_on_error": "use allow_failure: true",
    "if": "use when: ${variable} == value",
    "retries": "use retry: 3",
    "host": "use on: machine",
    "vm": "use on: machine",
    "node": "use on: machine",
    "description": "use name",
    "title": "use name",
    **dict.fromkeys(
        ("stdout", "stderr", "exit_code", "returncode", "rc"), "put it under expect: {exit_code: ..., stdout: ..., stderr: ...}"
    ),
})  # fmt: skip
"""A key beside a verb that belongs somewhere else."""


def unknown_verb(word: str, verbs: Iterable[str], keys: Iterable[str]) -> tuple[str, str]:
    """What to say of a word that stands where a verb should: message and hint."""
    hint = ELSEWHERE.get(word) or KEYS_ELSEWHERE.get(word) or did_you_mean(word, [*verbs, *keys])
    return f"unknown verb {word!r}", hint or f"there are: {', '.join(verbs)}"


def unknown_key(word: str, verb: str, arguments: Iterable[str], modifiers: Iterable[str]) -> tuple[str, str]:
    """What to say of a key beside a verb that is no modifier: message and hint."""
    if word in arguments:
        hint = f"it belongs to the verb: write {verb}: {{..., {word}: ...}}"
    else:
        hint = KEYS_ELSEWHERE.get(word) or did_you_mean(word, modifiers) or f"beside a verb there may be: {', '.join(modifiers)}"
    return f"unknown key {word!r} beside {verb}", hint
