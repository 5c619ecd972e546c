"""What `anima-qa image` says to people: how to get what is not here, and which names are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from qa.cli.image import command
from qa.errors import ImageNotFound, UsageError


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANIMA_QA_HOME", str(tmp_path / "home"))


def raised(*arguments: str) -> BaseException:
    error = CliRunner().invoke(command, arguments).exception
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("name", "hint"), [("builtin", "anima-qa image build builtin"), ("debian-13", "anima-qa image pull debian-13")]
)
def test_info_tells_how_to_get_a_known_image_that_is_not_here(name: str, hint: str) -> None:
    error = raised("info", name)
    assert isinstance(error, ImageNotFound)
    assert hint in str(error.hint)


def test_a_mistyped_name_of_the_catalogue_gets_a_suggestion() -> None:
    error = raised("pull", "debain-13")
    assert isinstance(error, ImageNotFound)
    assert error.hint == "did you mean 'debian-13'?"


def test_no_image_is_imported_under_the_name_of_a_recipe(tmp_path: Path) -> None:
    error = raised("import", str(tmp_path / "some.qcow2"), "builtin")
    assert isinstance(error, UsageError)
    assert "name of a recipe" in error.message


def test_shells_complete_the_names_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", "image pull debian-")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_IMAGE_COMPLETE", "bash_complete")
    shown = CliRunner().invoke(command, prog_name="image").output
    assert shown.split() == ["plain,debian-12", "plain,debian-13"]
