"""The options of ``run`` about moments of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from scenario_world import CommandResult, World, write
from test_scenario_run_command import Command, command, worlds

from qa.cli import run
from qa.errors import SnapshotNotFound, UsageError
from qa.report.folder import ResultsFolder
from qa.scenario.resume import KeptRun

__all__ = ["command", "worlds"]  # fixtures


@pytest.fixture
def failed(command: Command, worlds: dict[str, World], tmp_path: Path) -> Path:
    """The results of a run whose second step has failed."""
    path = write(tmp_path, "name: it\nimage: a\nsteps: [succeed: a, succeed: bad, succeed: c]")
    worlds["it"] = World(ResultsFolder.create(tmp_path / "unused", "x"), answers={"bad": CommandResult("bad", 1)})
    assert command(path).return_value == 1
    return (tmp_path / "results" / "latest").resolve()


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept is in the store."""
    monkeypatch.setattr(KeptRun, "check", lambda self, look: None)


def test_a_failed_run_says_how_to_go_on(failed: Path, command: Command, tmp_path: Path) -> None:
    result = command(tmp_path / "script.yaml")
    assert f"anima-qa run --resume results/{(tmp_path / 'results/latest').resolve().name}" in result.stderr


@pytest.mark.usefixtures("present")
def test_resume_goes_on_with_the_mended_script(failed: Path, command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    write(tmp_path, "name: it\nimage: a\nsteps: [succeed: a, succeed: good, succeed: c]")
    result = command("--resume", failed, "--json")
    (one,) = json.loads(result.stdout)["runs"]
    assert [step["outcome"] for step in one["steps"]] == ["skipped", "passed", "passed"]
    assert (result.return_value, one["resumed_from"]) == (0, str(failed))
    assert worlds["it"].forks[-1].memory == ("a", "bad", "good", "c")


@pytest.mark.usefixtures("present")
def test_resume_takes_another_script_and_variables(failed: Path, command: Command, tmp_path: Path) -> None:
    other = write(tmp_path, "name: it\nimage: a\nsteps: [reboot, succeed: '${v}']", "other.yaml")
    result = command("--resume", failed, other, "--var", "v=bad")
    assert result.return_value == 1
    assert "step 2 (succeed: bad)" in result.stderr


@pytest.mark.usefixtures("present")
def test_resume_may_be_repeated_from_the_same_moment(failed: Path, command: Command, worlds: dict[str, World]) -> None:
    result = command("--resume", failed, "--repeat", 3, "--jobs", 1)
    assert result.return_value == 1
    assert [fork.memory for fork in worlds["it"].forks] == [("a", "bad", "bad")] * 3


@pytest.mark.usefixtures("present")
def test_a_script_that_is_wrong_now_is_told_with_its_places(failed: Path, command: Command, tmp_path: Path) -> None:
    write(tmp_path, "name: it\nimage: a\nsteps: [succeed: a, suceed: good]")
    result = command("--resume", failed)
    assert result.return_value == 2
    assert "script.yaml:3:21: unknown verb 'suceed'" in result.stderr
    (tmp_path / "script.yaml").unlink()
    assert command("--resume", failed).return_value == 2


def test_what_is_gone_is_told_before_anything_runs(failed: Path, command: Command, tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFound, match="was removed to make room") as raised:
        command("--resume", failed)
    assert raised.value.hint == f"run the script again: anima-qa run {tmp_path / 'script.yaml'}"
    assert len(list((tmp_path / "results").iterdir())) == 2  # the run before, and the link


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shell"], "--shell needs --resume"),
        (["--console"], "--console needs --resume"),
        (["--on", "m"], "--on needs --resume"),
        (["--resume", "R", "--checkpoint"], "--checkpoint has no effect with --resume"),
        (["--resume", "R", "--image", "x"], "--image has no effect with --resume"),
        (["--resume", "R", "--start", "cold"], "--start has no effect with --resume"),
        (["--resume", "R", "a.yaml", "b.yaml"], "--resume goes on with one script"),
        (["--resume", "R", "--shell", "--console"], "--shell and --console are two things"),
        (["--resume", "R", "--on", "m"], "--on needs --shell or --console"),
        (["--resume", "R", "--shell"], "--shell needs a terminal to type at"),
        (["--resume", "R", "--console"], "--console needs a terminal to type at"),
        (["--resume", "R"], "there is no results folder R"),
        ([], "no script was given"),
    ],
)
def test_what_does_not_go_together_is_told(command: Command, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        command(*arguments)
    assert raised.value.hint


def test_failed_machines_are_kept_unless_nobody_wants_them(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    path = write(tmp_path, "name: it\nimage: a\nsteps: [succeed: bad]")
    worlds["it"] = World(ResultsFolder.create(tmp_path / "unused", "x"), answers={"bad": CommandResult("bad", 1)})
    command(path, "--no-keep-failed")
    assert worlds["it"].cellar.states == {}
    command(path)
    assert len(worlds["it"].cellar.states) == 1


def test_checkpoints_are_kept_where_they_are_wanted(command: Command, worlds: dict[str, World], tmp_path: Path) -> None:
    path = write(tmp_path, "name: it\nimage: a\nsteps: [succeed: a, succeed: b]")
    command(path)
    assert worlds["it"].cellar.states == {}
    command("--checkpoint", path)
    result = command("--checkpoint", path)
    assert "unchanged since step 1 of it in results/it-" in result.stderr


def test_help_names_the_options() -> None:
    result: Result = CliRunner().invoke(run.command, ["--help"])
    for option in ("--resume RESULTS", "--shell", "--console", "--on MACHINE", "--checkpoint", "--no-keep-failed"):
        assert option in result.output
