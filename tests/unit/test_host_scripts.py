"""The shell scripts at the top of the checkout, with a Python and a package manager that are played."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

PYTHON = """\
#!/bin/bash
# Notes how it was called; fails where its arguments match $FAIL.
echo "${PYTHONPATH-}$(basename "$0") $*${ANIMA_QA_PROGRAM:+ of ${ANIMA_QA_PROGRAM#"$PWD/"}}" >> "$LOG"
if [ -n "${FAIL-}" ] && [[ "$*" == *$FAIL* ]]; then exit 7; fi
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin"
    cp "$PLAYED/python3" "$3/bin/python"
    cp "$PLAYED/python3" "$3/bin/anima-qa"
fi
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts as they are, at a path with a space; its host packages are all there."""
    folder = tmp_path / "a checkout"
    for name in ("try.sh", "test.sh", ".ci/run", "tools/setup.sh", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, folder / name)
    build = 'echo "build_zipapp $*" >> "$LOG"; mkdir -p dist; cp "$PLAYED/python3" dist/anima-qa.pyz'
    play(folder / "build_zipapp.sh", f"#!/bin/bash\n{build}\n")
    play(folder / "tools/host-packages.sh", '#!/bin/bash\necho "host-packages $*" >> "$LOG"\n')
    play(folder / "tools/mcp-clients.sh", '#!/bin/bash\necho "mcp-clients $*" >> "$LOG"\n')
    play(tmp_path / "played/python3", PYTHON)
    return folder


@pytest.fixture
def run(checkout: Path, tmp_path: Path) -> Run:
    """Runs a script of the checkout from elsewhere, as a user would."""

    def run(name: str, *arguments: str, fail: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        played = tmp_path / "played"
        settings = {"PATH": f"{played}:/usr/bin:/bin", "LOG": str(tmp_path / "log"), "PLAYED": str(played), "FAIL": fail}
        return subprocess.run(
            [checkout / name, *arguments], cwd="/", env=settings | environment, capture_output=True, text=True, check=False
        )

    return run


def play(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    path.chmod(0o755)


@pytest.fixture
def said(tmp_path: Path) -> Callable[[], list[str]]:
    """What the played programs were called with since it was last asked."""

    def said() -> list[str]:
        log = tmp_path / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    return said


Said = Callable[[], list[str]]


def test_setup_makes_an_environment_and_installs_into_it(run: Run, said: Said, checkout: Path) -> None:
    result = run("tools/setup.sh")
    assert result.returncode == 0
    assert result.stdout == ""
    assert [line for line in said() if "install" in line or "venv" in line.split()] == [
        f"python3 -m venv {checkout}/.venv",
        f"python -m pip install --progress-bar off --editable {checkout}",
    ]


def test_setup_is_silent_and_installs_nothing_when_nothing_has_changed(run: Run, said: Said) -> None:
    run("tools/setup.sh")
    said()
    result = run("tools/setup.sh")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert said() == ["host-packages run", "python -I -c import qa"]


def test_setup_for_tests_adds_the_linters_and_then_suits_running_too(run: Run, said: Said, checkout: Path) -> None:
    run("tools/setup.sh")
    said()
    run("tools/setup.sh", "test")
    assert f"python -m pip install --progress-bar off --editable {checkout}[dev]" in said()
    run("tools/setup.sh", "run")
    assert said() == ["host-packages run", "python -I -c import qa"]


def test_setup_installs_again_when_the_dependencies_change(run: Run, said: Said, checkout: Path) -> None:
    run("tools/setup.sh")
    said()
    (checkout / "pyproject.toml").write_text("[project]\n")
    run("tools/setup.sh")
    assert any("pip install" in line for line in said())


def test_setup_makes_the_environment_anew_when_its_python_is_gone(run: Run, said: Said, checkout: Path) -> None:
    run("tools/setup.sh")
    said()
    (checkout / ".venv/bin/python").unlink()
    assert run("tools/setup.sh").returncode == 0
    assert f"python3 -m venv {checkout}/.venv" in said()


def test_setup_makes_the_environment_anew_when_the_checkout_was_moved(run: Run, said: Said, checkout: Path) -> None:
    run("tools/setup.sh")
    said()
    stamp = checkout / ".venv/anima-qa.stamp"
    stamp.write_text(stamp.read_text().replace(str(checkout), "/elsewhere"))
    run("tools/setup.sh")
    assert f"python3 -m venv {checkout}/.venv" in said()


def test_setup_shows_what_pip_said_when_it_fails_and_tries_again_next_time(run: Run, said: Said, checkout: Path) -> None:
    play(checkout.parent / "played/python3", PYTHON.replace("exit 7", "echo 'no such package'; exit 7"))
    result = run("tools/setup.sh", fail="pip install")
    assert result.returncode == 1
    assert "setup: this failed: " in result.stderr
    assert "no such package" in result.stderr
    assert not (checkout / ".venv/anima-qa.stamp").exists()
    said()
    assert run("tools/setup.sh").returncode == 0
    assert any("pip install" in line for line in said())


def test_setup_passes_over_a_python_that_is_not_complete(run: Run, said: Said, checkout: Path, tmp_path: Path) -> None:
    play(tmp_path / "played/python3.14", PYTHON)
    play(tmp_path / "broken/python3", "#!/bin/bash\nexit 127\n")
    result = run("tools/setup.sh", PATH=f"{tmp_path}/broken:{tmp_path}/played:/usr/bin:/bin")
    assert result.returncode == 0
    assert f"python3.14 -m venv {checkout}/.venv" in said()


def test_setup_ignores_the_callers_python_settings(run: Run, said: Said) -> None:
    run("tools/setup.sh", PYTHONPATH="/evil", PIP_USER="1")
    assert not any(line.startswith("/evil") for line in said())


def test_setup_stops_when_host_packages_are_missing(run: Run, said: Said, checkout: Path) -> None:
    play(checkout / "tools/host-packages.sh", "#!/bin/bash\necho 'missing: ovmf' >&2\nexit 3\n")
    result = run("tools/setup.sh")
    assert (result.returncode, result.stderr) == (3, "missing: ovmf\n")
    assert said() == []


def test_setup_for_an_unknown_purpose(run: Run) -> None:
    result = run("tools/setup.sh", "nonsense")
    assert (result.returncode, "run or test" in result.stderr) == (2, True)


STAGES = ["ruff format --check .", "ruff check .", "mypy", "pytest"]


def stages(lines: list[str]) -> list[str]:
    calls = [line.removeprefix("python -m ") for line in lines if line.startswith("python -m ")]
    return [call for call in calls if not call.startswith("pip ")]


def test_everything_is_checked_in_order_and_pytest_has_the_last_word(run: Run, said: Said) -> None:
    result = run("test.sh", "-k", "a b")
    assert result.returncode == 0
    assert stages(said()) == [*STAGES[:3], "pytest -k a b"]
    assert result.stdout.splitlines()[-1] == "--- pytest"


@pytest.mark.parametrize(("fail", "name"), [("ruff format", "ruff format"), ("ruff check", "ruff check"), ("mypy", "mypy")])
def test_the_first_stage_that_fails_is_the_last_and_is_named(run: Run, said: Said, fail: str, name: str) -> None:
    run("tools/setup.sh", "test")
    said()
    result = run("test.sh", fail=fail)
    assert result.returncode == 7
    assert result.stderr == f'test.sh: the stage "{name}" failed (status 7), later ones were not run\n'
    assert stages(said())[-1].startswith(fail)


@pytest.mark.parametrize(
    ("arguments", "built"), [((), True), (("tests/surfaces", "-x"), True), (("tests/unit",), False), (("-k", "zip"), False)]
)
def test_the_single_file_is_built_for_the_tests_that_drive_it(
    run: Run, said: Said, arguments: tuple[str, ...], built: bool
) -> None:
    run("test.sh", *arguments)
    lines = said()
    assert ("build_zipapp " in lines) is built
    with_it = [line.endswith(" of dist/anima-qa.pyz") for line in lines if " -m pytest" in line]
    assert with_it == [built] * (1 if arguments else 2)


def test_a_single_file_that_cannot_be_built_stops_the_tests(run: Run, said: Said, checkout: Path) -> None:
    play(checkout / "build_zipapp.sh", "#!/bin/bash\nexit 5\n")
    result = run("test.sh")
    assert result.returncode == 5
    assert stages(said()) == STAGES[:3]


@pytest.mark.parametrize("fails", ["pytest", "pytest --durations=10 tests/surfaces", "pytest --durations=10 tests --ignore"])
def test_pytests_status_is_the_status(run: Run, said: Said, fails: str) -> None:
    run("tools/setup.sh", "test")
    assert run("test.sh", fail=fails).returncode == 7
    assert run("test.sh", "tests/unit", fail="pytest").returncode == 7


def test_what_pytest_says_is_shown_of_both_runs(run: Run, checkout: Path) -> None:
    play(
        checkout.parent / "played/python3", PYTHON.replace("#!/bin/bash", '#!/bin/bash\n[[ "$*" != *pytest* ]] || echo "ran: $*"')
    )
    run("tools/setup.sh", "test")
    output = run("test.sh").stdout.splitlines()
    start = output.index("--- pytest")
    assert output[start + 1 :] == [
        "ran: -m pytest --durations=10 tests --ignore=tests/surfaces",
        "--- pytest, what ran beside",
        "ran: -m pytest --durations=10 tests/surfaces",
    ]


INTERRUPTED = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def note(word):
    with open(os.environ["LOG"], "a") as log:
        print(word, *sys.argv[1:], file=log)
note("begun")
try:
    time.sleep(60)
except KeyboardInterrupt:
    note("cleaned up")
"""


def test_both_runs_of_pytest_end_with_the_script_and_clean_up(run: Run, checkout: Path, tmp_path: Path) -> None:
    run("tools/setup.sh", "test")
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    waits = f'[[ "$*" != *pytest* ]] || exec {sys.executable} {tmp_path}/interrupted.py "$@"'
    played, log = tmp_path / "played", tmp_path / "log"
    play(checkout / ".venv/bin/python", PYTHON.replace("#!/bin/bash", f"#!/bin/bash\n{waits}"))
    settings = {"PATH": f"{played}:/usr/bin:/bin", "LOG": str(log), "PLAYED": str(played), "FAIL": ""}
    with subprocess.Popen([checkout / "test.sh"], env=settings, stdout=subprocess.DEVNULL) as script:
        while not log.exists() or log.read_text().count("begun -m pytest") < 2:
            assert script.poll() is None
            time.sleep(0.05)
        script.terminate()
        assert script.wait(30) == 143
    assert log.read_text().count("cleaned up -m pytest") == 2


def test_a_setup_that_fails_is_a_stage_too(run: Run, said: Said, checkout: Path) -> None:
    play(checkout / "tools/host-packages.sh", "#!/bin/bash\nexit 3\n")
    result = run("test.sh")
    assert result.returncode == 3
    assert 'the stage "setup" failed' in result.stderr


def test_ci_runs_the_tests_and_nothing_else(run: Run, said: Said) -> None:
    result = run(".ci/run", CI="true")
    assert result.returncode == 0
    lines = said()
    calls = stages(lines)
    assert calls[:3] == STAGES[:3]
    assert sorted(calls[3:]) == [
        "pytest --durations=10 tests --ignore=tests/surfaces of dist/anima-qa.pyz",
        "pytest --durations=10 tests/surfaces of dist/anima-qa.pyz",
    ]
    assert sorted(line.partition(" of ")[0] for line in lines if "image build" in line) == [
        "anima-qa image build builtin",
        "anima-qa.pyz image build debian",
        "anima-qa.pyz image build desktop",
    ]


def test_a_guest_that_cannot_be_built_stops_the_tests(run: Run, said: Said) -> None:
    result = run("test.sh", fail="image build debian")
    assert result.returncode == 7
    assert 'the stage "the guest images" failed' in result.stderr
    assert stages(said()) == STAGES[:3]


def test_try_runs_the_example_with_the_callers_arguments(run: Run, said: Said, checkout: Path) -> None:
    result = run("try.sh", "--out", "my results")
    assert result.returncode == 0
    assert said()[-1] == f"anima-qa run {checkout}/examples/hello.yaml --out my results"


def test_the_scripts_are_executable() -> None:
    names = ("try.sh", "test.sh", ".ci/run", "build_zipapp.sh", "tools/setup.sh", "tools/host-packages.sh", "tools/bare-hosts.sh")
    assert [name for name in names if not os.access(TOP / name, os.X_OK)] == []


DPKG_QUERY = """\
#!/bin/bash
# Every package is installed but those in $MISSING.
for name; do
    case $name in -*|\\$*) continue ;; esac
    [[ " $MISSING " == *" $name "* ]] || echo "$name installed 1:10.0"
done
"""


@pytest.fixture
def packages(tmp_path: Path) -> Run:
    """Runs host-packages.sh as somebody who is not root, with the packages in ``missing`` not installed."""
    played = tmp_path / "played"
    play(played / "dpkg-query", DPKG_QUERY)
    play(played / "apt-get", "#!/bin/bash\necho apt-get was called >&2\nexit 9\n")
    play(played / "id", "#!/bin/bash\necho 1000\n")

    def run(*arguments: str, missing: str = "") -> subprocess.CompletedProcess[str]:
        settings = {"PATH": f"{played}:/usr/bin:/bin", "MISSING": missing}
        script = TOP / "tools/host-packages.sh"
        return subprocess.run([script, *arguments], env=settings, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("purpose", ["run", "test"])
def test_nothing_is_done_when_all_packages_are_there(packages: Run, purpose: str) -> None:
    result = packages(purpose)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_user_is_told_what_is_missing_and_what_to_run_as_root(packages: Run) -> None:
    result = packages(missing="ovmf mtools")
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        "host-packages: missing: ovmf mtools",
        f"Run this once as root: {TOP}/tools/host-packages.sh run",
    ]


def test_what_only_the_debian_guest_needs_does_not_stop_a_user(packages: Run) -> None:
    result = packages(missing="gdisk mmdebstrap")
    assert (result.returncode, result.stderr) == (
        0,
        "host-packages: without mmdebstrap gdisk the Debian guest cannot be built; everything else works\n",
    )
    assert packages("test", missing="gdisk").returncode == 3


def test_an_unknown_purpose_of_packages(packages: Run) -> None:
    assert packages("nonsense").returncode == 2


@pytest.mark.parametrize(
    ("have", "status", "said"),
    [
        (["qemu-system-x86_64", "qemu-img", "python3"], 0, ""),
        (["qemu-img"], 3, "QEMU 7.2 or newer for x86_64,Python 3.11 or newer"),
    ],
)
def test_a_host_without_apt_is_told_what_to_install(tmp_path: Path, have: list[str], status: int, said: str) -> None:
    for name in have:
        play(tmp_path / "bin" / name, "#!/bin/sh\n")
    (tmp_path / "bin/bash").symlink_to("/bin/bash")
    script = TOP / "tools/host-packages.sh"
    result = subprocess.run([script], env={"PATH": f"{tmp_path}/bin"}, capture_output=True, text=True, check=False)
    assert result.returncode == status
    assert said in result.stderr
