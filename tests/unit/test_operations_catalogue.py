"""The catalogue: each operation's name, arguments and help come from its method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from qa.machine import Machine
from qa.operations.catalogue import CATALOGUE
from qa.operations.operation import operation_of
from qa.operations.options import MachineOptions
from qa.sizes import parse_size

NAMES = """
    execute succeed fail wait_until_succeeds wait_until_fails
    wait_for_ready wait_for_unit wait_for_open_port wait_for_closed_port wait_for_file wait_for_console_text wait_for_shutdown
    wait_for_still_screen wait_for_screen assert_screen screenshot read_console send_key send_chars send_console
    click drag scroll move_mouse copy_to copy_from
    wait_for_text read_screen_text
    boot shutdown reboot crash pause resume snapshot restore
"""
VERBS = set(NAMES.split())


def test_these_are_the_verbs() -> None:
    assert set(CATALOGUE) == VERBS


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_operation_explains_itself(name: str) -> None:
    operation = CATALOGUE[name]
    assert operation.name == name
    assert operation.summary.endswith(".")
    assert operation.run is getattr(Machine, name)
    for argument in operation.arguments.model_json_schema().get("properties", {}).values():
        assert argument.get("description"), argument


@pytest.mark.parametrize(
    ("name", "value", "arguments"),
    [
        ("succeed", "true", {"command": "true", "timeout": 60.0}),
        ("succeed", {"command": "true", "timeout": "2m"}, {"command": "true", "timeout": 120.0}),
        ("wait_for_open_port", 80, {"port": 80, "timeout": 60.0}),
        ("screenshot", None, {"name": None}),
        ("screenshot", "login", {"name": "login"}),
        ("copy_to", {"source": "a", "target": "/b"}, {"source": Path("a"), "target": "/b", "timeout": 600.0}),
        ("boot", {"timeout": 5}, {"timeout": 5.0, "wait": True}),
        ("reboot", {"wait": False}, {"timeout": 120.0, "wait": False}),
        ("crash", None, {}),
    ],
)
def test_what_stands_behind_a_verb(name: str, value: Any, arguments: dict[str, Any]) -> None:
    assert CATALOGUE[name].parse(value).model_dump() == arguments


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("succeed", None, "command"),
        ("succeed", "", "command"),
        ("succeed", {"command": "true", "timeuot": 3}, "timeuot"),
        ("succeed", {"command": "true", "timeout": "soon"}, "timeout"),
        ("succeed", {"command": "true", "timeout": -1}, "timeout"),
        ("succeed", ["true"], "command"),
        ("wait_for_open_port", 0, "port"),
        ("wait_for_open_port", 65536, "port"),
        ("copy_to", {"source": "a"}, "target"),
        ("copy_from", {"source": "", "target": "x"}, "source"),
        ("crash", "now", "value"),
        ("send_key", "", "keys"),
        ("read_console", 0, "lines"),
    ],
)
def test_what_does_not_fit_is_an_error_at_its_place(name: str, value: Any, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CATALOGUE[name].parse(value)
    assert caught.value.errors()[0]["loc"] == (place,)


def test_only_what_waits_takes_a_timeout() -> None:
    assert {name for name, operation in CATALOGUE.items() if "timeout" not in operation.arguments.model_fields} == {
        "screenshot", "read_screen_text", "read_console", "send_key", "send_chars", "send_console", "crash", "pause", "resume",
            "snapshot", "restore",
    }  # fmt: skip


async def test_an_operation_calls_its_method_with_its_arguments() -> None:
    class Counter:
        total = 0

        async def add(self, number: int, times: int = 2) -> int:
            """Add a number."""
            self.total += number * times
            return self.total

    operation = operation_of(Counter.add, group="x", bare="number")
    counter = Counter()
    assert await operation(counter, operation.parse(3)) == 6
    assert await operation(counter, operation.parse({"number": 1, "times": 1})) == 7
    assert operation.summary == "Add a number."


def test_a_bare_argument_must_exist() -> None:
    with pytest.raises(ValueError, match="crash has no argument 'how'"):
        operation_of(Machine.crash, group="power", bare="how")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("1G", 1 << 30),
        ("1.5G", 3 << 29),
        ("20 GiB", 20 << 30),
        ("2TB", 2 << 40),
        ("64k", 65536),
        ("100", 100),
        (7, 7),
    ],
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "options",
    [{"memory": "much"}, {"memory": 0}, {"memory": "-1G"}, {"cpus": 0}, {"cpus": 65}, {"network": "bridge"}, {"forward": [0]},
     {"channel": "telnet"}, {"disks": [{"serial": "a b"}]}, {"memroy": "1G"}, {"login": {"user": ""}},
     {"network": "none", "forward": [80]}, {"network": "none", "channel": "ssh"}, {"channel": "serial"}, {"disks": [{}]},
     {"channel": "none", "login": {"user": "root"}}, {"channel": "none", "identity": "renew"},
     {"boot_menu": "soon"}, {"boot_menu": [5]}, {"boot_menu": "66s"}, {"boot_menu": "500ms"}, {"boot_menu": -1}],
)  # fmt: skip
def test_options_that_are_wrong(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MachineOptions.model_validate(options)
