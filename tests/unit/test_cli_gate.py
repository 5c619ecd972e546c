"""Commands that change what this host has pass the gate."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from qa.cli.image import command as image
from qa.cli.template import command as template
from qa.errors import PolicyRefused
from qa.paths import Paths


def rules(home: Paths, text: str) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text(text)


@pytest.mark.parametrize(
    ("group", "arguments"),
    [
        (image, ["pull", "debian-13"]),
        (image, ["build", "builtin"]),
        (image, ["import", "disk.raw"]),
        (image, ["prune", "--all"]),
        (image, ["convert", "disk.raw", "new.qcow2"]),
        (image, ["overlay", "disk.raw", "new.qcow2"]),
        (image, ["resize", "disk.raw", "1G"]),
        (template, ["remove", "--all"]),
        (template, ["prune"]),
    ],
)
def test_what_changes_something_is_refused_where_all_is_read_only(home: Paths, group: click.Group, arguments: list[str]) -> None:
    rules(home, "[policy]\nread_only = true\n[audit]\nof = 'all'\n")
    error = CliRunner().invoke(group, arguments).exception
    assert isinstance(error, PolicyRefused), error
    assert error.rule == "policy.read_only"
    (line,) = [json.loads(line) for line in home.audit.read_text().splitlines()]
    assert (line["surface"], line["outcome"]) == ("cli", "refused")


def test_what_only_looks_is_allowed_then(home: Paths) -> None:
    rules(home, "[policy]\nread_only = true\n")
    assert CliRunner().invoke(image, ["list", "--json"], standalone_mode=False).exception is None
    assert CliRunner().invoke(template, ["list"], standalone_mode=False).exception is None


def test_a_path_that_is_denied_is_denied_to_commands_too(home: Paths, tmp_path: Path) -> None:
    rules(home, f"[policy]\ndeny_paths = ['{tmp_path}/secret']\n")
    for arguments in (["info", f"{tmp_path}/secret/disk.raw"], ["import", f"{tmp_path}/secret/disk.raw"]):
        error = CliRunner().invoke(image, arguments).exception
        assert isinstance(error, PolicyRefused), error


def test_where_nobody_can_be_asked_yes_is_the_next_step(home: Paths, tmp_path: Path) -> None:
    rules(home, "[policy]\nconfirm = 'all'\n")
    error = CliRunner().invoke(image, ["resize", str(tmp_path / "disk.raw"), "1G", "--shrink"]).exception
    assert isinstance(error, PolicyRefused)
    assert "--yes" in (error.hint or "")
    other = CliRunner().invoke(image, ["resize", str(tmp_path / "disk.raw"), "1G", "--shrink", "--yes"]).exception
    assert "there is no file" in str(other)
