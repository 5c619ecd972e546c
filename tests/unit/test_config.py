"""Settings: flag before environment before file before default."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa.config import Config, load_config
from qa.deadline import DEFAULT_TCG_FACTOR
from qa.errors import UsageError
from qa.paths import Paths


def write(home: Paths, text: str) -> None:
    home.config.mkdir(parents=True)
    (home.config / "config.toml").write_text(text)


def test_without_anything_the_defaults_hold(home: Paths) -> None:
    config = load_config(home, {})
    assert config == Config()
    assert (config.accel, config.jobs, config.tcg_factor) == ("auto", "auto", DEFAULT_TCG_FACTOR)


def test_each_place_wins_over_those_behind_it(home: Paths) -> None:
    write(home, 'accel = "kvm"\njobs = 2\nout = "from-file"\n')
    environment = {"ANIMA_QA_JOBS": "3", "ANIMA_QA_OUT": "from-environment"}
    config = load_config(home, environment, out=Path("from-flag"), jobs=None)
    assert (config.accel, config.jobs, config.out) == ("kvm", 3, Path("from-flag"))


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("ANIMA_QA_ACCEL", "tcg", "accel", "tcg"),
        ("ANIMA_QA_REQUIRE_KVM", "true", "require_kvm", True),
        ("ANIMA_QA_QEMU", "/opt/qemu", "qemu", Path("/opt/qemu")),
        ("ANIMA_QA_JOBS", "auto", "jobs", "auto"),
        ("ANIMA_QA_JOBS", "12", "jobs", 12),
        ("ANIMA_QA_TCG_FACTOR", "8.5", "tcg_factor", 8.5),
    ],
)
def test_every_setting_is_a_variable(home: Paths, variable: str, value: str, name: str, expected: object) -> None:
    assert getattr(load_config(home, {variable: value}), name) == expected


def test_an_empty_variable_is_none(home: Paths) -> None:
    assert load_config(home, {"ANIMA_QA_ACCEL": ""}).accel == "auto"


@pytest.mark.parametrize(
    ("text", "environment", "flags", "place"),
    [
        ("jobs = 0", {}, {}, "config.toml"),
        ("jobs = true", {}, {}, "config.toml"),
        ("jobs = 1.5", {}, {}, "config.toml"),
        ("", {"ANIMA_QA_JOBS": "many"}, {}, "the environment"),
        ("jobs = 0", {}, {"jobs": "65"}, "the command line"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(
    home: Paths, text: str, environment: dict[str, str], flags: dict[str, str], place: str
) -> None:
    write(home, text)
    with pytest.raises(UsageError, match=f"setting 'jobs' from .*{place} should be auto or a number from 1 to 64, and is"):
        load_config(home, environment, **flags)


def test_an_unknown_setting_is_told_with_the_nearest(home: Paths) -> None:
    write(home, 'acel = "tcg"')
    with pytest.raises(UsageError, match=r"no setting 'acel', which is in .*config\.toml") as caught:
        load_config(home, {})
    assert caught.value.hint == "did you mean 'accel'?"


@pytest.mark.parametrize("content", [b"accel = ", b"\xff\xfe", b'accel = "a"\naccel = "b"'])
def test_a_file_that_cannot_be_read_is_named(home: Paths, content: bytes) -> None:
    write(home, "")
    (home.config / "config.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read .*config\.toml"):
        load_config(home, {})
