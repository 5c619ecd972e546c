"""``anima-qa doctor``: what it prints, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from qa.cli.doctor import command
from qa.config import Config
from qa.doctor.report import Check, Report
from qa.paths import Paths

FINE = Report((Check("QEMU", "ok", "10.0.2", needed=True), Check("ffmpeg", "missing", "for videos", "install it")), "tcg")
FAST = Report((Check("QEMU", "ok", "10.0.2", needed=True),), "kvm")
BAD = Report((Check("QEMU", "missing", "QEMU is not installed", "apt-get install " + "qemu " * 50, needed=True),), None)


class Asked:
    """What the examination was asked for."""

    config: Config
    boot: bool


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command on a host whose examination ends with the report given."""

    def run(report: Report, *arguments: str) -> int:
        async def examine(paths: Paths, config: Config, make_boot: object, *, boot: bool) -> Report:
            Asked.config, Asked.boot = config, boot
            return report

        monkeypatch.setattr("qa.doctor.examine.examine", examine)
        status: int = command.main(list(arguments), standalone_mode=False)
        return status

    return run


def test_a_host_that_can_run_scripts(doctor: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(FINE) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split() for line in output] == [
        ["ok", "QEMU", "10.0.2"],
        ["--", "ffmpeg", "for", "videos"],
        ["->", "install", "it"],
        ["Scripts", "can", "run", "on", "this", "host,", "in", "software", "emulation."],
    ]


def test_a_host_with_kvm(doctor: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(FAST) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Scripts can run on this host."


def test_a_host_that_cannot_run_scripts_ends_with_status_3(
    doctor: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(BAD) == 3
    output = capsys.readouterr().out.splitlines()
    assert output[0].split()[:2] == ["no", "QEMU"]
    assert output[-1].startswith("Scripts cannot run on this host")


def test_a_command_to_copy_is_not_cut_into_lines(doctor: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    doctor(BAD)
    assert ("qemu " * 50).strip() in capsys.readouterr().out


@pytest.mark.parametrize(("report", "status"), [(FINE, 0), (BAD, 3)])
def test_json_alone_on_stdout(
    doctor: Callable[..., int], capsys: pytest.CaptureFixture[str], report: Report, status: int
) -> None:
    assert doctor(report, "--json") == status
    assert json.loads(capsys.readouterr().out) == report.as_json()


def test_flags_reach_the_examination(doctor: Callable[..., int]) -> None:
    doctor(FINE, "--boot", "--accel", "kvm", "--require-kvm", "--qemu", "/opt/qemu")
    assert Asked.boot is True
    assert (Asked.config.accel, Asked.config.require_kvm, str(Asked.config.qemu)) == ("kvm", True, "/opt/qemu")


def test_without_flags_the_settings_hold(doctor: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMA_QA_ACCEL", "tcg")
    doctor(FINE)
    assert Asked.boot is False
    assert (Asked.config.accel, Asked.config.require_kvm) == ("tcg", False)
