"""Paths that there cannot be, on the command line, in settings and in scripts: mistakes that are told, never defects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scenario_world import write

from qa.cli.root import root
from qa.config import load_config
from qa.errors import QaError, UsageError
from qa.events import Bus
from qa.operations import CATALOGUE
from qa.operations.calls import Caller
from qa.operations.gate import Door, Gate
from qa.paths import Paths
from qa.report.folder import ResultsFolder
from qa.scenario.opening import open_on
from qa.scenario.problems import ScriptRejected
from qa.scenario.reader import read_script

NOBODY, LONG = "~nobody-of-that-name/x", "a" * 300


def failure(*words: str) -> QaError:
    """The error that ends a command."""
    error = CliRunner().invoke(root, words, standalone_mode=False).exception
    assert isinstance(error, QaError), error
    return error


@pytest.mark.parametrize("path", [NOBODY, LONG])
@pytest.mark.parametrize(
    "words",
    [
        "image info {}",
        "image convert {} new.raw",
        "image convert disk.raw {}",
        "image overlay disk.raw {}",
        "image resize {} 1G",
        "image verify {}",
        "image import {} name",
        "needle check {}",
        "needle new x --from {}",
        "run --resume {}",
        "run --image {}.raw script.yaml",
        "run --image {} script.yaml",
    ],
)
def test_a_path_that_there_cannot_be_ends_a_command_with_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "image: builtin\nmachine: {cpus: 99}\nsteps: [reboot]")  # it has a mistake of its own, and does not run
    result = CliRunner().invoke(root, words.format(path).split(), standalone_mode=False)
    assert result.exception is None or isinstance(result.exception, QaError), result.exception
    assert getattr(result.exception, "exit_code", result.return_value) in {2, 3}


@pytest.mark.parametrize("script", [NOBODY, LONG])
def test_a_script_that_there_cannot_be_is_told_as_such(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "check"):
        result = CliRunner().invoke(root, [command, script], standalone_mode=False)
        assert (result.exception, result.return_value) == (None, 2)
        assert "script" in result.output or "cannot read" in result.output


def test_a_command_with_such_a_path_is_written_down_where_that_is_wished(home: Paths) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text("[audit]\nof = 'all'\n")
    failure("image", "info", NOBODY)
    (line,) = [json.loads(line) for line in home.audit.read_text().splitlines()]
    assert (line["tool"], line["outcome"]) == ("image_info", "error")
    assert "is not known" in line["result"]["error"]


@pytest.mark.parametrize(
    "setting",
    [
        f"snapshots = '{NOBODY}'",
        f"qemu = '{NOBODY}'",
        'out = "a\\u0000"',
        f"[policy]\nallow_paths = ['{NOBODY}']",
        f"[audit]\nfile = '{NOBODY}'",
    ],
)
def test_a_setting_that_is_no_path_is_told_with_its_name(home: Paths, setting: str) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text(setting)
    with pytest.raises(UsageError, match=r"the setting '[a-z_.]+' from .*config\.toml is wrong: .* is no path of this host"):
        load_config(home)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"image: a\nsteps: [{{copy_to: {{source: {NOBODY}, target: /x}}}}]", ["2:28 ~nobody-of-that-name/x is no path"]),
        ('image: a\nsteps: [{copy_to: {source: "a\\0b", target: /x}}]', [r"2:28 a\x00b is no path"]),
        ('image: a\nsteps: [{include: "a\\0b"}]', [r"2:19 it cannot be told what"]),
        (f"image: a\nneedles: [{NOBODY}, {LONG}, none]\nsteps: [reboot]", ["2:11 ~nob", "2:35 aaa", "2:337 there is no folder"]),
        (f"image: a\nmachine: {{disks: [{{path: {NOBODY}}}]}}\nsteps: [reboot]", ["2:18 ~nobody-of-that-name/x is no path"]),
        ('machines: {a: {image: a, disks: [{path: "\\0"}]}}\nsteps: [reboot]', [r"1:33 \x00 is no path"]),
    ],
)
def test_a_path_that_there_cannot_be_is_told_with_its_place_in_the_script(tmp_path: Path, text: str, told: list[str]) -> None:
    with pytest.raises(ScriptRejected) as caught:
        read_script(write(tmp_path, text), CATALOGUE)
    found = [f"{one.place.line}:{one.place.column} {one.message}" for one in caught.value.problems]
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True)), found


def test_disks_are_looked_for_beside_a_script_that_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/person")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "image: a\nmachine: {disks: [{path: d.img}, {path: ~/e.img}]}\nsteps: [reboot]")
    script = read_script(Path("sub/script.yaml"), CATALOGUE)
    assert [disk.path for disk in script.machines[0].options.disks] == [tmp_path / "sub/d.img", Path("/person/e.img")]


@pytest.mark.parametrize("image", [NOBODY, LONG, "a\0b"])
async def test_an_image_that_there_cannot_be_ends_the_run_and_is_written_down(tmp_path: Path, home: Paths, image: str) -> None:
    config = load_config(home).model_copy(update={"film": False})
    gate = Gate.of(home, config.model_copy(update={"audit": config.audit.model_copy(update={"of": "all"})}))
    host: Any = type("Nothing", (), {"owner": type("", (), {"folder": tmp_path})(), "config": config})()
    script = read_script(write(tmp_path, "image: builtin\nsteps: [reboot]"), CATALOGUE)
    opener = open_on(host, Door(gate, Caller("run")))(script, ResultsFolder.create(tmp_path / "out", "x"), Bus())
    plan = script.machines[0]
    with pytest.raises(UsageError, match=r"is no path of this host|cannot be told what"):
        async with opener("machine", image, plan.options, plan.cloud_init):
            pass
    (line,) = [json.loads(line) for line in home.audit.read_text().splitlines()]
    assert (line["tool"], line["outcome"]) == ("boot", "error")
